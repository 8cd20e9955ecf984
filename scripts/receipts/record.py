"""What the record of a run costs: the rows of its completions, the figures of its rewards, its log
and the checks while it goes on, as shares of the processor seconds of a step without them.

The quickstart has the smallest steps that there are; dialogues have rows with turns; SmolLM2, where
its files are there, is a model of the smallest size that is of use. First every
step is recorded and each part timed in its thread. Then steps are recorded and not, in turn, in one
process: the difference has in it what the parts cost elsewhere (caches, locks), but not the checks.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from scripts.receipts._sources import QUICKSTART, ROOT

SOURCES = [
    "scripts/receipts/record.py",
    "llmpolicy/run/*.py",
    "llmpolicy/diagnosis/*.py",
    "llmpolicy/rewards/compose/statistics.py",
    "recipes/guess_number_cpu.yaml",
    "recipes/smollm2_reasoning_cpu.yaml",
    *QUICKSTART,
]
RECIPES = {
    "quickstart": ["evaluate=null"],
    "guess_number_cpu": ["evaluate=null", "grpo.max_steps=50"],
}
SMOLLM2 = "smollm2_reasoning_cpu"
if (ROOT / "models" / "SmolLM2-135M-Instruct").is_dir():
    quick = ["model.dtype=bfloat16", "grpo.bf16=true", "grpo.save_steps=1000"]
    RECIPES[SMOLLM2] = ["evaluate=null", "grpo.max_steps=30", *quick]
FIRST = 6
"""Steps before those that count."""
Work = Callable[..., Any]
Figures = dict[str, Any]


class Meter:
    """Processor seconds of steps, and of what recording does in them."""

    def __init__(self, *, alternates: bool) -> None:
        self.alternates = alternates
        self.parts: dict[str, list[float]] = defaultdict(list)
        self.steps: list[float] = []
        self.begun = self.apart = 0.0

    def records(self, step: int) -> bool:
        """Whether a step, the current one is the number of those behind it, is recorded."""
        return not self.alternates or step % 2 == 0

    def stepping(self, generation: Work) -> Work:
        """Each generation begins a step, when nothing is left to write of the one before it."""

        def begin(trainer: Any, *arguments: Any) -> Any:
            trainer.run.beside.settle()
            now = time.process_time()
            if self.begun:
                self.steps.append(now - self.begun - self.apart)
            self.begun, self.apart = time.process_time(), 0.0
            return generation(trainer, *arguments)

        return begin

    def timed(self, part: str, work: Work) -> Work:
        """Work that is timed in its thread, and left out of a step that is not recorded."""

        def meter(*arguments: Any, **named: Any) -> Any:
            if not self.begun:  # a stage before this one
                return work(*arguments, **named)
            if not self.records(len(self.steps)):
                return None
            begun = time.thread_time()
            done = work(*arguments, **named)
            self.parts[part].append(time.thread_time() - begun)
            return done

        return meter

    def looking(self, look: Work) -> Work:
        """The checks, whose seconds, those of threads that read for them too, are no step's."""

        def meter(live: Any, step: int) -> Any:
            live.run.beside.settle()
            begun = time.process_time()
            found = look(live, step)
            self.parts["checks"].append(time.process_time() - begun)
            self.apart += self.parts["checks"][-1]
            return found

        return meter


def trained(recipe: str, meter: Meter) -> None:
    """Train a recipe with its record on a meter."""
    from llmpolicy.diagnosis.live import Live
    from llmpolicy.grpo import step
    from llmpolicy.run import Run
    from llmpolicy.session import train_recipe

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for owner, name, how in (
            (step, "generation", meter.stepping),
            (step, "keep", lambda work: meter.timed("figures", work)),
            (step, "_write", lambda work: meter.timed("rows", work)),
            (Run, "log", lambda work: meter.timed("log", work)),
            (Live, "look", meter.looking),
        ):
            stack.enter_context(patch.object(owner, name, how(getattr(owner, name))))
        train_recipe(recipe, RECIPES[recipe], out=Path(folder) / "run", say=lambda _: None)


def of_recipe(recipe: str) -> Figures:
    """Milliseconds and shares of what is recorded, part by part and as a difference."""
    whole, half = Meter(alternates=False), Meter(alternates=True)
    trained(recipe, whole)
    trained(recipe, half)
    bare = median(half.steps[FIRST + 1 :: 2])
    pairs = zip(half.steps[FIRST::2], half.steps[FIRST + 1 :: 2], strict=False)
    differences = sorted((recorded - without) / bare for recorded, without in pairs)
    steps, middle = len(whole.steps) + 1, len(differences) / 2
    off = 0.98 * len(differences) ** 0.5  # the 95 % interval of a median (binomial)
    parts = {part: sum(seconds) / steps / bare for part, seconds in whole.parts.items()}
    return {
        "steps": steps,
        "milliseconds_of_a_step": round(1000 * bare, 2),
        "shares": {part: round(share, 5) for part, share in parts.items()},
        "share_of_all_parts": round(sum(parts.values()), 5),
        "difference_without_checks": {
            "median": round(median(differences), 5),
            "low": round(differences[int(middle - off)], 5),
            "high": round(differences[int(middle + off)], 5),
        },
    }


def measure() -> Figures:
    """The cost of the record of each recipe."""
    return {recipe: of_recipe(recipe) for recipe in RECIPES}
