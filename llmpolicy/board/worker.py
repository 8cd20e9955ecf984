"""The process in which a row meets a problem: it trains, and writes down what its stopwatch saw.

Started by `run.run_row`, in the environment that the row names.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llmpolicy.board.problems import Problem, problem
from llmpolicy.board.rows import load_row
from llmpolicy.reference import named
from llmpolicy.tuning import keep_memory, spin_less

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "unsloth-zoo", "unsloth")


def main(row_name: str, problem_name: str, seed: str, out: str) -> None:
    """Train and write one result; the words are those of the command line."""
    spin_less()
    keep_memory()
    begun = time.perf_counter()
    row, asked = load_row(row_name), problem(problem_name)
    trainer = named("trainer", row.trainer, row.base_dir)
    from llmpolicy.board.stopwatch import Stopwatch
    from llmpolicy.board.trainers import Task
    from llmpolicy.plan import plan_recipe
    from llmpolicy.recipe import load_recipe

    with tempfile.TemporaryDirectory(prefix="board") as folder:
        changes = [f"seed={seed}", *asked.changes]
        changes += warm_started(asked.recipe, changes, Path(folder) / "base")
        plan = plan_recipe(load_recipe(asked.recipe, changes))
        watch = Stopwatch(asked, accuracy_of(plan, asked))
        load = os.getloadavg()[0]
        with heard(watch):
            settings = row.settings_of(asked.name)
            trainer(Task(asked, plan, changes, settings, Path(folder), watch))
    whole = time.perf_counter() - begun
    Path(out).write_text(json.dumps(facts(asked, watch, whole, load), indent=1) + "\n")


def warm_started(recipe_name: str, changes: list[str], folder: Path) -> list[str]:
    """The recipe's supervised warm start belongs to its base: it is carried out in a folder, and
    these changes begin from there. None for a recipe without one.
    """
    from llmpolicy.recipe import load_recipe
    from llmpolicy.session import train_stages

    recipe = load_recipe(recipe_name, changes)
    if recipe.demonstrations is None:
        return []
    train_stages(recipe, folder, until="sft", say=print)
    (path,) = {file.parent for file in folder.rglob("config.json")}
    return [f"model={{path: {path}}}", "demonstrations=null", "sft=null"]


def accuracy_of(plan: Any, asked: Problem) -> Callable[[Any], float]:
    """What measures a model: the share of right greedy answers on the problem's held-out prompts,
    given by a copy of it, so that training is not touched.
    """
    from llmpolicy.evaluation.measure import greedy_accuracy
    from llmpolicy.plan import evaluated_length
    from llmpolicy.stages.partner import talking
    from llmpolicy.stages.policy import build_policy

    settings, correct = plan.judged_by
    copied = build_policy(plan.recipe)
    rows, length = plan.held_out[: asked.prompts], evaluated_length(plan.recipe)
    partner = talking(plan.recipe, copied, tokens=length)
    how: dict[str, Any] = {"threshold": settings.threshold, "max_new_tokens": length}

    def accuracy(model: Any) -> float:
        copied.model.load_state_dict(model.state_dict())
        return greedy_accuracy(copied, rows, correct, partner=partner, **how)

    return accuracy


@contextmanager
def heard(watch: Any) -> Iterator[None]:
    """Every trainer of transformers that is made meanwhile tells the stopwatch of its steps."""
    from transformers import trainer

    trainer.DEFAULT_CALLBACKS.append(watch)
    try:
        yield
    finally:
        trainer.DEFAULT_CALLBACKS.remove(watch)


def facts(asked: Problem, watch: Any, whole: float, load: float) -> dict[str, Any]:
    """A result as it is written: what was seen, and on what."""
    import torch

    return {
        "schema": 1,
        "problem": asked.model_dump(),
        "reached": watch.reached,
        "flops_a_step": watch.flops_a_step,
        "looks": [look.model_dump() for look in watch.looks],
        "whole_seconds": whole,
        "load": load,
        "threads": torch.get_num_threads(),
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in ("llmpolicy", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The processor as Linux names it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main(*sys.argv[1:])
