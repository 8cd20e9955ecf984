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
from llmpolicy.types import RowScore

NOT_JUDGED = RowScore(None)


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

    def judged(self, score: RowScore) -> "Episode":
        """With its score, which the last turn earns."""
        before = [0.0] * (len(self.turns) - 1)
        return replace(self, score=score, rewards=(*before, score.number))

    def weighed(self, weight: float) -> "Episode":
        """With one weight for all turns."""
        return replace(self, weights=(weight,) * len(self.turns))

    def tokens(self) -> tuple[list[int], list[bool]]:
        """A language model's tokens behind the first state, and which of them it chose; the others
        are the environment's, said between two turns.

        Raises PolicyError where a turn saw something else than what lay behind it.
        """
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

    def log_probs(self) -> list[float | None] | None:
        """One number for each of `tokens`, None where the environment spoke; None altogether where
        nobody noted them.
        """
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
