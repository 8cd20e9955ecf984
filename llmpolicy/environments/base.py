"""What every environment is to a rollout: B episodes side by side, begun together and ended one by
one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from llmpolicy.episode import Episode
from llmpolicy.types import Action, RowScore


@dataclass(frozen=True, slots=True)
class Outcome:
    """What b episodes answered to one action each; all have length b.

    ``rows`` are the b episodes, in ascending order; None: those that were asked. Others still wait
    for their answer, which a later `step` brings.
    ``states`` are the next states, of ended episodes too. Terminated: the episode is over by its
    own rules, nothing can be earned any more. Truncated: it was only cut off (a time limit), and
    would have gone on earning. ``scores`` are what the rewards of a recipe said, where they judged.
    """

    states: Sequence[Any]
    rewards: Sequence[float]
    terminated: Sequence[bool]
    truncated: Sequence[bool]
    scores: Sequence[RowScore] = ()
    rows: Sequence[int] | None = None


@runtime_checkable
class Judging(Protocol):
    """An environment that looks at all episodes when they have ended."""

    def judged(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes with what was to be said of them."""
        ...


class Environment(Protocol):
    """B episodes side by side. All that is random in them follows from the seed of ``reset``."""

    @property
    def groups(self) -> Sequence[int]:
        """For each of the B episodes the number of its group; episodes of one group begin in the
        same state.
        """
        ...

    def reset(self, seed: int) -> Sequence[Any]:
        """Begin B episodes and return their states."""
        ...

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """Carry out one action in each of the episodes ``rows``, which still run. Where others wait
        for their answer there may be none: then something is waited for.
        """
        ...
