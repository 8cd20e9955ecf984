"""What a case of the bench is, and the tasks on which thresholds are chosen and judged."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from scripts.doctor_bench.build import Fault

SETS = ("choose", "judge")
SEEDS: Mapping[str, Sequence[int]] = {
    "choose": tuple(range(301, 311)),
    "judge": (401, 402, 403, 404, 405),
}
SHORT = {"choose": ("sums", "largest", "sorted"), "judge": ("differences", "smallest", "reversed")}
"""The tasks of each set, which a case's seeds take in turn."""
FEW = {"choose": ("largest",), "judge": ("smallest",)}
"""Tasks of ten answers."""
MANY = {"choose": ("sums", "sorted"), "judge": ("differences", "reversed")}
LONG = {"choose": ("upwards",), "judge": ("downwards",)}
HERE = "scripts.doctor_bench"


@dataclass(frozen=True)
class Case:
    """A kind of run: how it is made of a task, and which findings name what is wrong with it; a
    sound one has none.
    """

    name: str
    change: Callable[[str], Mapping[str, Any]]
    expects: Sequence[str] = ()
    tasks: Mapping[str, Sequence[str]] | None = None
    fault: Fault = nullcontext

    def key(self, of: str, task: str, seed: int) -> str:
        """What a run of it is called."""
        return f"{of}-{self.name}-{task}-{seed}"

    def runs(self, of: str) -> list[tuple[str, int]]:
        """The task and the seed of each run of a set."""
        tasks = (self.tasks or SHORT)[of]
        return [(tasks[n % len(tasks)], seed) for n, seed in enumerate(SEEDS[of])]


def paid(name: str, **more: Any) -> dict[str, Any]:
    """An entry of ``rewards:``."""
    return {"fn": f"{HERE}.rewards:{name}", **more}


def plain(**changes: Any) -> Callable[[str], Mapping[str, Any]]:
    """The same changes for every task."""
    return lambda task: changes
