"""How much disk the completions of a run may take: a part of them is kept, evenly, before all of it
is used.
"""

import logging
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmpolicy.run.disk import size_of

if TYPE_CHECKING:
    from llmpolicy.run.directory import Run

MOST_BYTES = 10 * 10**9
"""What rollouts/ may take where the recipe does not say (`record: {rollouts: 10GB}`)."""

FEWEST = 2**20
"""One of so many generations is kept where there is no room at all."""

_LOG = logging.getLogger("llmpolicy")


@dataclass
class Bound:
    """While half of the room is free every generation is kept, then every 4th until a quarter is
    free, every 16th until an eighth is, and so on: each part lasts twice as long as the one before
    it, so that a run of any length stays below the bound, and its end is in what is kept.
    """

    most: int = MOST_BYTES
    used: int = 0
    largest: int = 0
    every: int = 1
    seen: Counter[str] = field(default_factory=Counter)
    is_measured: bool = False

    def takes(self, mode: str) -> bool:
        """Count a generation; whether it is kept."""
        free = max(self.most - self.used, 0) / self.most
        self.every = min(4 ** math.floor(-math.log2(free)), FEWEST) if free > 0 else FEWEST
        self.seen[mode] += 1
        return self.seen[mode] % self.every == 0 and self.used + self.largest <= self.most

    def add(self, size: int) -> None:
        """Count the bytes of a generation that was kept."""
        self.used, self.largest = self.used + size, max(self.largest, size)


def takes_rollouts(run: "Run", step: int, mode: str = "train") -> bool:
    """Whether a run keeps the completions of a generation; from where on only some are kept is said
    and noted in its manifest.
    """
    if not run.bound.is_measured:
        most = (run.recipe.get("record") or {}).get("rollouts") or MOST_BYTES
        run.bound = Bound(most, size_of(run.path / "rollouts"), is_measured=True)
    before, is_kept = run.bound.every, run.bound.takes(mode)
    if run.bound.every != before:
        every, noted = run.bound.every, run.manifest.get("rollouts_kept") or []
        run.update_manifest(rollouts_kept=[*noted, {"from_step": step, "one_of": every}])
        _LOG.warning(
            "rollouts/ takes %.3g of %.3g bytes (record.rollouts): from step %d on the completions"
            " of one in %d generations are kept",
            run.bound.used,
            run.bound.most,
            step,
            every,
        )
    return is_kept
