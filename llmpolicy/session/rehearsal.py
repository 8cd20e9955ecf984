"""A few steps of a recipe, really trained in a folder that is thrown away and in a process of their
own: their seconds, their tokens and the memory that they take.
"""

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.errors import LLMPolicyError, RunError, one_line
from llmpolicy.plan import Plan
from llmpolicy.recipe import Grpo, Recipe, Reinforce, load_recipe, stages_of
from llmpolicy.run import Run

STEPS, SECONDS = 12, 45.0
"""How many steps are rehearsed, or fewer where the time is up before."""
WARM = 2
"""The first steps start workers and fill caches: they are left out where there are more."""
HELD_OUT = 32
"""Held-out prompts that are asked for their memory; seconds of an evaluation are not measured."""
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
    from llmpolicy.stages.folders import held
    from llmpolicy.stages.request import Request

    recipe = _shortened(recipe).within(folder)
    request = Request(recipe, folder, _say)
    several = len(stages_of(recipe)) > 1
    with held(request) if several else nullcontext():
        loaded = _loaded(recipe, request)
        with loaded.run() as run:
            assert run is not None
            before = _processor()
            _train(recipe, loaded, run)
            spent = _processor() - before
            _evaluate(loaded, run)
        plan = loaded.plan
        found = _figures(plan, Run.open(folder), spent)
        del loaded
        gc.collect()
        return _with_worst(found, plan, request)


def _say(line: str) -> None:
    logging.getLogger("llmpolicy").info("%s", line)


def _shortened(recipe: Recipe) -> Recipe:
    """The recipe with few steps, that tells no tracker of itself and looks at no held-out prompt on
    its way.
    """
    changes: dict[str, Any] = {"time_limit": SECONDS}
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


def _evaluate(loaded: Any, run: Run) -> None:
    """Ask a few held-out prompts as the end of a run does: it may load a second policy."""
    from llmpolicy.stages.evaluation import evaluate_run

    few = replace(loaded.plan, held_out=loaded.plan.held_out[:HELD_OUT])
    if few.held_out:
        evaluate_run(few, loaded.policy, run, loaded.start, _say)


def _figures(plan: Plan, run: Run, spent: float) -> Rehearsed:
    lines = [line for line in run.metrics("train") if "loss" in line]
    cycle, read = 1, [0.0]
    if plan.explanation is not None:
        cycle = round(plan.explanation.arithmetic.optimiser_steps_per_generation)
        seconds = [float(line["step_time"]) for line in lines]
        read = [float(line["num_tokens"]) for line in lines]
    else:
        times = [float(line["time"]) for line in lines]
        seconds = [after - before for before, after in pairwise(times)]
    return Rehearsed(
        steps=len(lines),
        seconds=typical(seconds, cycle),
        processor=spent / len(lines),
        tokens=read[-1] / len(read),
        peak=peak_memory(),
        device=_device_memory(),
    )


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


def _processor() -> float:
    times = os.times()
    return times.user + times.system


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
