"""The records that every room shares, and the legend of shapes. No torch here.

Shapes: B rows, G completions a prompt (B = prompts * G), T decisions of an action, V vocabulary.
An MLP's action is one decision (T = 1); a language model's is its completion y_1..y_T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from llmpolicy.episode import Dialogue, Turn

Prompt = str | Sequence[Mapping[str, Any]]
"""A plain prompt, or a list of chat messages ``{"role", "content"}``."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy did in B states, with the log-probability of every decision.

    ``value`` is indexable by row: a (B, ...) tensor, or a list of B lists of token ids.
    ``log_prob`` and ``mask`` are (B, T); ``terminated`` is (B,): the action ended by itself (a stop
    id), not by a limit. ``turns`` are the same B actions as records, from a policy that keeps them
    so.
    """

    value: Any
    log_prob: Any
    mask: Any
    terminated: Any
    turns: Sequence["Turn"] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """What a reward function says of one completion.

    ``value`` is None when the completion cannot be judged; that is not the same as 0.0, judged
    wrong.
    """

    value: float | None
    parsed: str | None = None
    why: str = ""

    def __float__(self) -> float:
        """The value, so that one reward can call another; raises TypeError where the completion was
        not judged.
        """
        if self.value is None:
            raise TypeError(
                f"a completion that was not judged has no value ({self.why or 'no reason given'})"
            )
        return float(self.value)


Fault = Literal["error", "timeout", "infrastructure"]
"""Why a reward could not judge, where that is ours and never the model's."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reward said of one completion, the seconds it took, and whose fault it is when it
    could not judge.

    A ``fault`` is ours, never the model's: the reward raised, waited too long for something, or its
    worker was lost.
    """

    score: Score
    seconds: float = 0.0
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class RowScore:
    """One row's reward, None when something that decides it could not be judged; what the rewards
    said, the seconds they took.

    ``terms`` are the values of the outermost sum's terms after gates and conditions, and of gates,
    by name (None: not known); a term of other tasks is not among them. ``nodes`` are the values of
    min, product and sum. ``judged`` has a verdict for each reward that was asked.
    """

    value: float | None
    parts: Mapping[str, Score] = field(default_factory=dict)
    seconds: float = 0.0
    terms: Mapping[str, float | None] = field(default_factory=dict)
    nodes: Mapping[str, float | None] = field(default_factory=dict)
    judged: Mapping[str, Judged] = field(default_factory=dict)

    @property
    def number(self) -> float:
        """The value, NaN where it is not known."""
        return nan if self.value is None else float(self.value)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion as the rewards see it: the text, the columns of its row, and what a reward may
    ask for by name.

    ``raw`` is all that was written, special tokens included; None where it is the text itself. Of a
    ``dialogue``, the completion is what was said last, and the messages are all of it.
    """

    completion: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    messages: Sequence[Mapping[str, Any]] | None = None
    completion_ids: Sequence[int] = ()
    truncated: bool = False
    step: int = 0
    row: int = 0
    task: str = ""
    raw: str | None = None
    dialogue: "Dialogue | None" = None


@dataclass(frozen=True, slots=True)
class TrainerSnapshot:
    """What a reward of TRL's style sees of its trainer, as it was when the completions were
    written.

    The names are those of ``transformers.TrainerState``; outside of training it is at step 0 of 1.
    """

    global_step: int = 0
    max_steps: int = 1
    epoch: float = 0.0
    num_train_epochs: int = 1
    log_history: Sequence[Mapping[str, Any]] = ()
    is_world_process_zero: bool = True

    @classmethod
    def of(cls, state: Any, last: int = 20) -> "TrainerSnapshot":
        """Of a trainer's state, with the last lines of its log."""
        return cls(
            global_step=int(state.global_step),
            max_steps=int(state.max_steps),
            epoch=float(state.epoch or 0.0),
            num_train_epochs=int(state.num_train_epochs or 0),
            log_history=[dict(line) for line in state.log_history[-last:]],
            is_world_process_zero=bool(state.is_world_process_zero),
        )
