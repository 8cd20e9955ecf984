"""A tiny run from the changes that make it what it is, through the public API."""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.doctor_bench.tasks import LENGTHS, MODELS

STEPS = 32
GAMES = {"guess": (0, 9), "guess_high": (20, 28)}
"""The numbers of each game."""
DEMONSTRATIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "": ("hasty", {}),
    "endless": ("endless", {}),
    "zero": ("fixed", {"reply": "0", "share": 0.5}),
    "seven": ("fixed", {"reply": "7", "share": 0.97}),
}
"""What teaches a base, by what stands before its task's name: the function and its arguments."""
Changes = Mapping[str, Any]
Fault = Callable[[], AbstractContextManager[Any]]


def recipe(task: str, seed: int, changes: Changes) -> dict[str, Any]:
    """The recipe of a run: that of a sound one with some of its blocks changed."""
    is_long = LENGTHS.get(task, 0) > 10
    data: dict[str, Any] = {
        "seed": seed,
        "model": {"path": str(base(task))},
        "task": source(task, seed=seed),
        "rewards": [f"scripts.doctor_bench.rewards:{'graded' if is_long else 'right'}"],
        "evaluate": {"correct": "scripts.doctor_bench.rewards:right", "n": 64, "samples": 1},
    }
    grpo = {
        "learning_rate": 2e-4 if task == "sums" else 1.5e-4,
        "lr_scheduler_type": "constant",
        "max_steps": STEPS,
        "per_device_train_batch_size": 32 if is_long else 64,
        "num_generations": 8,
        "max_completion_length": LENGTHS.get(task, 4),
    }
    data["grpo"] = grpo | dict(changes.get("grpo") or {})
    for key, value in changes.items():
        if key != "grpo":
            is_source = key == "task" and value is not None and "generator" in value
            is_block = isinstance(value, Mapping) and not is_source and key in data
            data[key] = _merged(data[key], value) if is_block else value
    return {key: value for key, value in data.items() if value is not None}


def _merged(block: Changes, changes: Changes) -> dict[str, Any]:
    both = block.keys() & changes.keys() & {"args"}
    return {**block, **changes, **{key: {**block[key], **changes[key]} for key in both}}


def source(task: str, **args: Any) -> dict[str, Any]:
    """The block of a task."""
    return {
        "generator": "scripts.doctor_bench.tasks:rows",
        "args": {"task": task, **args},
        "prompt": "{question}",
    }


def base(name: str) -> Path | str:
    """Where a base lies; that of sums is the bundled model."""
    return "bundled" if name == "sums" else MODELS / name


def played(task: str, seed: int, changes: Changes, fault: Fault = nullcontext) -> Any:
    """Train a run under a fault and return its evidence; one that ended by itself before its last
    step has left what it has left. No plot is drawn.
    """
    from llmpolicy import train
    from llmpolicy.diagnosis import evidence_at
    from llmpolicy.errors import LLMPolicyError

    here = patch.dict(os.environ, LLMPOLICY_REWARD_WORKERS="0")
    folder, ended = Path(tempfile.mkdtemp(prefix="doctor")), None
    try:
        try:
            with here, fault(), patch("llmpolicy.report.plot.plot_run"):
                train(recipe(task, seed, changes), out=folder / "run", say=_nothing, yes=True)
        except (LLMPolicyError, RuntimeError, ValueError) as error:
            ended = error
        if ended is not None and not (folder / "run" / "metrics.jsonl").exists():
            raise ended
        return evidence_at(folder / "run")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def teach(name: str, demonstrations: Mapping[str, Any], steps: int = 200) -> None:
    """A base: the bundled model, taught by demonstrations."""
    from llmpolicy.recipe import make_recipe
    from llmpolicy.session import train_stages

    folder = Path(tempfile.mkdtemp(prefix="doctor"))
    sft = {"learning_rate": 2e-3, "max_steps": steps, "per_device_train_batch_size": 64}
    data = {"model": "bundled", "demonstrations": dict(demonstrations), "sft": sft}
    try:
        train_stages(make_recipe(data), folder / "run", say=_nothing)
        MODELS.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "run" / "warm_start", MODELS / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def teach_preferences() -> None:
    """The policy and the reward model of the bundled recipe of RLHF."""
    from llmpolicy.recipe import load_recipe
    from llmpolicy.session import train_stages

    folder = Path(tempfile.mkdtemp(prefix="doctor"))
    try:
        train_stages(load_recipe("rlhf_tiny"), folder / "run", until="reward_model", say=_nothing)
        MODELS.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "run" / "reward_model", MODELS / "reward_model")
        shutil.move(folder / "run" / "warm_start", MODELS / "hasty")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _nothing(line: str) -> None:
    """What a run says is read by nobody."""


def teach_all(names: Collection[str]) -> None:
    """Every base that runs of these tasks begin from, once."""
    for name in sorted(names):
        if (MODELS / name).exists() or name == "sums":
            continue
        print(f"base {name}", flush=True)
        if name in GAMES:
            low, high = GAMES[name]
            args = {"low": low, "high": high}
            teach(name, {"generator": "llmpolicy.environments.guess:games", "args": args})
        elif name == "hasty":
            teach_preferences()
        else:
            how, _, task = name.rpartition("-")
            function, args = DEMONSTRATIONS[how]
            generator = f"scripts.doctor_bench.tasks:{function}"
            demonstrations = {"generator": generator, "args": {"task": task, **args}}
            teach(name, demonstrations | {"prompt": "{question}"})
