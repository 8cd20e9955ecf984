"""Turn and Episode: the one record of what a policy did. It is played, judged, weighed, trained on,
written to the run and shown.

    ===========  =================================  ==========================================
    word         CartPole                           language model
    ===========  =================================  ==========================================
    turn         one push of the cart               one completion
    state        4 floats                           token ids of all that was said until then
    action       a number, T = 1 decision           token ids of the completion, T decisions
    episode      up to 500 turns                    one turn; in a dialogue as many as it has
    rewards      1 a turn                           the score, earned by the last turn
    ===========  =================================  ==========================================
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmpolicy.errors import PolicyError
from llmpolicy.messages import Message
from llmpolicy.types import RowScore

NOT_JUDGED = RowScore(None)

BY_ITSELF = ("done", "answered", "faults")
"""How a dialogue ends by its own rules: the environment says so, the model calls no tool where
nobody else answers, or it calls them wrongly too often.
"""
LIMITS = ("turns", "tokens", "seconds")
"""What else may end it: it is then truncated."""
FAILED = "failed"
"""How it ends where the environment failed: nothing is known of it."""


@dataclass(slots=True)
class Turn:
    """What a policy saw, what it chose there, and how that ended, which who plays it fills in.

    ``log_probs`` has one number a decision of the ``action``, None where nobody noted them.
    Terminated: over by its own rules (a stop token, a fallen pole). Truncated: cut off by a limit.
    Where the episode goes on with another turn, neither holds. ``version`` counts the updates of
    the policy that chose. Of a language model, ``prompt``, ``text`` and ``raw`` are its state, its
    action, and all that it wrote, special tokens included, as text.
    """

    state: Any
    action: Any
    log_probs: Sequence[float | None] | None = None
    terminated: bool = True
    truncated: bool = False
    version: int = 0
    prompt: str = ""
    text: str = ""
    raw: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether another turn follows."""
        return not (self.terminated or self.truncated)


@dataclass(frozen=True, slots=True)
class Dialogue(Sequence[int]):
    """The state of a language model in a dialogue: the token ids that it sees, as which the state
    counts; who wrote each; and the same as ``messages``, of which the first ``begun`` were there
    before it spoke. ``room`` is how many tokens may follow, ``most`` of them in the next turn.

    ``earned`` is what each of its turns earned, ``paid`` what the environment said of the whole
    (None: nothing). Once it is over, ``ended`` is of `BY_ITSELF` or `LIMITS`, or `FAILED`, and
    ``why`` says more. ``faults`` counts the model's, ``seconds`` are the environment's;
    ``by_turn``: that said of a turn what it earned.
    """

    token_ids: Sequence[int]
    own: Sequence[bool]
    messages: Sequence[Message]
    begun: int
    room: int
    most: int
    earned: Sequence[float] = ()
    paid: float | None = None
    ended: str = ""
    why: str = ""
    faults: int = 0
    seconds: float = 0.0
    by_turn: bool = False

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, place: Any) -> Any:
        return self.token_ids[place]

    @property
    def turns(self) -> int:
        """How often the model has spoken."""
        return len(self.earned)

    @property
    def said(self) -> Sequence[Message]:
        """The messages since it first spoke, its own and the others'."""
        return self.messages[self.begun :]

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Every call that the model made, in order."""
        calls: list[dict[str, Any]] = []
        for message in self.said:
            calls += [call["function"] for call in message.get("tool_calls", ())]
        return calls

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of the environment's, so that nothing is known of it."""
        return self.ended == FAILED

    def over(self, ended: str, why: str = "") -> "Dialogue":
        """The same, ended."""
        return replace(self, ended=ended, why=why)


@dataclass(frozen=True, slots=True)
class Episode:
    """From a beginning to an end: one turn or more, what each earned, and how much each weighs.

    Episodes of one ``group`` began in the same state, that of the ``row`` of a task. ``rewards``
    are the turns', NaN where they could not be judged, ``score`` is what they come from where a
    recipe's rewards judged. ``weights`` are the turns' too: how much better than expected it went
    on. ``final`` is the state behind the last turn, which is worth something if that was truncated.
    """

    turns: Sequence[Turn]
    group: int = 0
    row: int = 0
    rewards: Sequence[float] = ()
    score: RowScore = NOT_JUDGED
    weights: Sequence[float] = ()
    final: Any = None

    @property
    def total(self) -> float:
        """The undiscounted return."""
        return sum(self.rewards)

    @property
    def terminated(self) -> bool:
        """Whether it ended by its own rules."""
        return self.turns[-1].terminated

    @property
    def truncated(self) -> bool:
        """Whether it was cut off by a limit."""
        return self.turns[-1].truncated

    @property
    def text(self) -> str:
        """What a language model said in the end: the text of its last turn."""
        return self.turns[-1].text

    @property
    def dialogue(self) -> Dialogue | None:
        """The dialogue that it was, None where it was none."""
        return self.final if isinstance(self.final, Dialogue) else None

    def judged(self, score: RowScore, share: float = 0.0) -> "Episode":
        """With its score, which the last turn earns, but for a ``share`` of what an environment
        paid for those before; without one where the environment failed.
        """
        before = [0.0] * (len(self.turns) - 1)
        if self.dialogue is not None:
            before = [share * reward for reward in self.dialogue.earned[:-1]]
            if self.dialogue.failed:
                score = replace(score, value=None)
        return replace(self, score=score, rewards=(*before, score.number - sum(before)))

    def weighed(self, weight: float) -> "Episode":
        """With one weight for all turns."""
        return replace(self, weights=(weight,) * len(self.turns))

    def tokens(self) -> tuple[list[int], list[bool]]:
        """A language model's tokens behind the first state, and which of them it chose; the others
        are the environment's, said between two turns.

        Raises PolicyError where a turn saw something else than what lay behind it.
        """
        if len(self.turns) == 1:  # most of them, and all of a generation are asked
            return list(self.turns[0].action), [True] * len(self.turns[0].action)
        start = len(self.turns[0].state)
        ids, chosen = list(self.turns[0].state), [False] * start
        for number, turn in enumerate(self.turns):
            if list(turn.state[: len(ids)]) != ids:
                raise PolicyError(
                    f"turn {number} of an episode saw other tokens than those before it; expected"
                    " a state that goes on from them"
                )
            between = turn.state[len(ids) :]
            ids += [*between, *turn.action]
            chosen += [False] * len(between) + [True] * len(turn.action)
        return ids[start:], chosen[start:]

    @property
    def ids(self) -> Sequence[int]:
        """The ids of `tokens`."""
        return self.turns[0].action if len(self.turns) == 1 else self.tokens()[0]

    def log_probs(self) -> Sequence[float | None] | None:
        """One number for each of `tokens`, None where the environment spoke; None altogether where
        nobody noted them.
        """
        if len(self.turns) == 1:
            return self.turns[0].log_probs
        noted: list[float | None] = []
        for turn in self.turns:
            if turn.log_probs is None:
                return None
            noted += turn.log_probs
        numbers = iter(noted)
        return [next(numbers) if mine else None for mine in self.tokens()[1]]


def turns_of(episodes: Sequence[Episode]) -> list[Turn]:
    """The turns of all episodes, one episode after the other."""
    return [turn for episode in episodes for turn in episode.turns]
