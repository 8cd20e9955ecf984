"""One turn of the model's and what comes of it: what is asked of the environment because of it, and
what an answer does to a dialogue.
"""

from dataclasses import dataclass, field, replace

from llmpolicy.environments.asks import Ask, Told
from llmpolicy.episode import FAILED, Dialogue
from llmpolicy.messages import Message


@dataclass(slots=True)
class Exchange:
    """A dialogue with a turn of the model's, which ``ended`` by its stop token, and what is said to
    it and asked for that.

    ``said`` has a message where the model is at fault, and None for each of the ``asks``, in order;
    ``told`` are the answers to these that are there.
    """

    dialogue: Dialogue
    ended: bool
    asks: list[Ask] = field(default_factory=list)
    said: list[Message | None] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def ask(self, ask: Ask) -> None:
        """Something is to be asked, and its answer said."""
        self.asks.append(ask)
        self.said.append(None)

    @property
    def is_pay(self) -> bool:
        """Whether it was asked what a dialogue that is over has earned."""
        return self.asks[-1:] != [] and self.asks[-1].what == "reward"

    @property
    def is_answered(self) -> bool:
        """Whether all answers are there."""
        return len(self.told) == len(self.asks)


def taken(dialogue: Dialogue, told: Told) -> Dialogue:
    """The dialogue after one answer of the environment's."""
    dialogue = replace(
        dialogue,
        seconds=dialogue.seconds + told.seconds,
        faults=dialogue.faults + told.misused,
    )
    if told.fault is not None:
        return dialogue.over(FAILED, told.why)
    if told.reward is not None:
        dialogue = _earned(dialogue, told.reward, all_of_it=told.over)
    return dialogue.over("done", told.why) if told.over else dialogue


def paid_by(dialogue: Dialogue, told: Told) -> Dialogue:
    """The dialogue with what the environment says that it earned in all, its last answer."""
    dialogue = replace(dialogue, seconds=dialogue.seconds + told.seconds)
    if told.fault is not None:
        return dialogue.over(FAILED, told.why)
    return dialogue if told.reward is None else _earned(dialogue, told.reward, all_of_it=True)


def _earned(dialogue: Dialogue, reward: float, *, all_of_it: bool) -> Dialogue:
    """The dialogue whose last turn has earned so much more; ``all_of_it`` is known then."""
    earned = [*dialogue.earned[:-1], dialogue.earned[-1] + reward]
    if all_of_it:
        return replace(dialogue, earned=earned, paid=sum(earned))
    return replace(dialogue, earned=earned, by_turn=True)
