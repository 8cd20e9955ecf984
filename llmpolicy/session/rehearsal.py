"""A few steps of a recipe, really trained in a folder that is thrown away and in a process of their
own: their seconds, their tokens and the memory that they take.
"""

import gc
import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.errors import LLMPolicyError, RunError, one_line
from llmpolicy.plan import Plan, evaluated_length
from llmpolicy.recipe import Grpo, Recipe, Reinforce, load_recipe, stages_of
from llmpolicy.run import Run

STEPS, SECONDS = 30, 20.0
"""How many steps are rehearsed, or fewer where the time is up before."""
WARM = 2
"""The first steps start workers and fill caches: they are left out where there are more."""
LOOKS = 4
"""What an evaluation comes to in batches: two policies, greedy and sampled."""
TOLD = "rehearsal.json"


@dataclass(frozen=True, slots=True)
class Worst:
    """One step in which no completion ends by itself, every group has a signal and the prompts are
    the longest; ``peak`` is of the rehearsal with it.
    """

    seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What steps took: ``seconds`` of a typical one (the median), ``processor`` seconds of all
    threads a step, ``tokens`` read and written a step, ``peak`` bytes of the process, ``device``
    bytes of an accelerator; ``worst`` is None where it could not be carried out, ``why`` says so.
    """

    steps: int
    seconds: float
    processor: float
    tokens: float
    peak: int
    device: int
    worst: Worst | None = None
    why: str = ""


def rehearse(name: str, overrides: Sequence[str], folder: Path) -> Rehearsed:
    """Carry out some steps of a recipe in ``folder``, where its earlier stages lie; RunError in one
    sentence where they fail.
    """
    asked = json.dumps({"name": name, "overrides": list(overrides), "folder": str(folder)})
    command = [sys.executable, "-m", __name__, asked]
    log = folder.parent / "rehearsal.log"
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    told = folder.parent / TOLD
    if not told.is_file():
        raise RunError(_why(done.returncode, log))
    figures = read_json(told)
    if "error" in figures:
        raise RunError(f"a step could not be rehearsed: {figures['error']}")
    worst = figures.pop("worst")
    return Rehearsed(**figures, worst=None if worst is None else Worst(**worst))


def _why(code: int, log: Path) -> str:
    """Why a process ended without a word."""
    if code == -9:
        return "a step could not be rehearsed: it was killed, as when memory runs out"
    last = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
    return f"a step could not be rehearsed (exit code {code}): {last[:200]}"


def main(asked: str) -> None:
    """What the process does: rehearse and write down what was found."""
    from llmpolicy.tuning import keep_memory, spin_less

    given = json.loads(asked)
    folder = Path(given["folder"])
    spin_less()
    keep_memory()
    try:
        found = asdict(_rehearsed(load_recipe(given["name"], given["overrides"]), folder))
    except (LLMPolicyError, MemoryError) as error:
        found = {"error": one_line(error) or type(error).__name__}
    (folder.parent / TOLD).write_text(json.dumps(found), encoding="utf-8")


def _rehearsed(recipe: Recipe, folder: Path) -> Rehearsed:
    from llmpolicy.report.plot import plot_run
    from llmpolicy.stages.folders import held
    from llmpolicy.stages.process import drawn
    from llmpolicy.stages.request import Request

    recipe = _shortened(recipe).within(folder)
    request = Request(recipe, folder, _say)
    several = len(stages_of(recipe)) > 1
    with held(request) if several else nullcontext():
        loaded = _loaded(recipe, request)
        with loaded.run() as run:
            assert run is not None
            watched = _Watched(run.path)
            _train(recipe, loaded, watched)
            found = _figures(loaded.plan, watched)
            _evaluate(loaded, watched, found.tokens / found.seconds)
            drawn("plot", lambda: plot_run(watched), _say)
        plan, found = loaded.plan, replace(found, peak=peak_memory(), device=_device_memory())
        del loaded
        gc.collect()
        return _with_worst(found, plan, request)


def _say(line: str) -> None:
    logging.getLogger("llmpolicy").info("%s", line)


def _shortened(recipe: Recipe) -> Recipe:
    """The recipe with few steps, that tells no tracker of itself and looks at no held-out prompt on
    its way.
    """
    changes: dict[str, Any] = {"time_limit": SECONDS, "truth": None}
    if recipe.evaluate is not None:
        changes["evaluate"] = recipe.evaluate.model_copy(update={"every": None, "curve": False})
    if recipe.grpo is not None:
        few = {"max_steps": STEPS, "report_to": "none", "logging_steps": 1, "save_strategy": "no"}
        changes["grpo"] = {**recipe.grpo, **few}
    if recipe.reinforce is not None:
        changes["reinforce"] = recipe.reinforce.model_copy(update={"updates": STEPS})
    return recipe.model_copy(update=changes)


def _loaded(recipe: Recipe, request: Any) -> Any:
    """The policy of a recipe about to be trained, by the stage that trains it."""
    from llmpolicy.stages import grpo, reinforce

    last = stages_of(recipe)[-1]
    stage: Any = grpo.check(last, request) if isinstance(last, Grpo) else None
    if isinstance(last, Reinforce):
        stage = reinforce.check(last, request)
    return stage.checked.load()


def _train(recipe: Recipe, loaded: Any, run: Run) -> None:
    from llmpolicy.stages import grpo, reinforce

    last = stages_of(recipe)[-1]
    if isinstance(last, Grpo):
        grpo.train(loaded, run)
    elif isinstance(last, Reinforce):
        settings = reinforce.check_settings(last, None, recipe.base_dir)
        reinforce.train(last, settings, loaded, run)


def _evaluate(loaded: Any, run: Run, rate: float) -> None:
    """Ask as many held-out prompts as the end of a run asks at once, by a second policy too; where
    ``rate`` tokens a second leave no time for that, fewer.
    """
    from llmpolicy.evaluation.answers import TOKENS_AT_ONCE
    from llmpolicy.stages.evaluation import evaluate_run

    plan, settings = loaded.plan, loaded.plan.recipe.evaluate
    if not plan.held_out or settings is None:
        return
    rows = sorted(plan.held_out, key=lambda row: -len(str(row.prompt)))
    begun = [row.prompt for row in rows[:1] if row.prompt]
    longest = sum(map(len, loaded.policy.encode(begun))) + evaluated_length(plan.recipe)
    most = min(TOKENS_AT_ONCE, int(rate * SECONDS / LOOKS))
    asked = most // (longest * max(settings.samples, 1)) + 1
    evaluate_run(replace(plan, held_out=rows[:asked]), loaded.policy, run, loaded.start, _say)


class _Watched(Run):
    """A run that notes when it logs a step, and the processor seconds of the process by then."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.noted: list[tuple[float, float]] = []

    def log(self, step: int, metrics: Mapping[str, Any], mode: str = "train") -> None:
        """Append one line to metrics.jsonl."""
        super().log(step, metrics, mode)
        if mode == "train" and "loss" in metrics:
            self.noted.append((time.perf_counter(), time.process_time()))


def _figures(plan: Plan, run: _Watched) -> Rehearsed:
    lines = [line for line in run.metrics("train") if "loss" in line]
    cycle, read = 1, 0.0
    wall, processor = map(_between, zip(*run.noted, strict=True))
    if plan.explanation is not None:
        cycle = round(plan.explanation.arithmetic.optimiser_steps_per_generation)
        wall = [float(line["step_time"]) for line in lines]
        read = max(float(line.get("num_tokens", 0.0)) for line in lines)
    return Rehearsed(
        steps=len(lines),
        seconds=typical(wall, cycle),
        processor=typical(processor, cycle),
        tokens=(read or _written(run)) / len(lines),
        peak=peak_memory(),
        device=_device_memory(),
    )


def _written(run: Run) -> int:
    """Tokens that were written, where no log counts those that were read too."""
    return sum(len(row["token_ids"]) for row in run.rollouts("train"))


def _between(times: Sequence[float]) -> list[float]:
    """Seconds of each step after the first; of the first alone nothing is known."""
    return [after - before for before, after in pairwise(times)] or [0.0]


def typical(seconds: Sequence[float], cycle: int = 1) -> float:
    """The median second of a step without the first ones; where a generation serves several steps,
    of their means.
    """
    cycle = max(cycle, 1)
    warm = -(-WARM // cycle) * cycle
    rest = seconds[warm:] if len(seconds) >= warm + cycle else seconds[-cycle:]
    whole = [fmean(rest[at : at + cycle]) for at in range(0, len(rest) - cycle + 1, cycle)]
    return median(whole) if whole else fmean(rest)


def _with_worst(found: Rehearsed, plan: Any, request: Any) -> Rehearsed:
    """One worst-case step on top of what was found, where it can be forced."""
    if plan.recipe.grpo is None:
        return replace(found, why="the loop of reinforce was rehearsed with typical steps alone")
    if plan.recipe.environment is not None:
        return replace(found, why="an environment decides how long a dialogue becomes")
    from llmpolicy.grpo.rehearsal import worst_step
    from llmpolicy.stages.policy import build_policy

    policy = build_policy(plan.recipe)
    seconds = worst_step(plan, policy, request.out / "checkpoints")
    return replace(found, worst=Worst(seconds, peak_memory()))


def peak_memory() -> int:
    """The most bytes that this process held: VmHWM of Linux, as ru_maxrss begins with its
    parent's.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").split("\n"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _device_memory() -> int:
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


if __name__ == "__main__":
    main(sys.argv[1])
