"""Uniform sampling against refilled groups, the memory and both, for one number of generated
completion tokens.

Two tasks of the bundled model, five seeds each: two-digit sums as in the quickstart, and sums of 0
to 49, of which it knows some and most not at all, so that few groups have a signal at first. The
learning rate is constant, for the ways take other numbers of steps. A refilled step has more live
groups than a uniform one, so a control samples uniformly as many tokens a step as refilling takes.
A cell that was measured on the same sources is not measured again.
"""

import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from scripts.receipts._sources import QUICKSTART, RUNS, fingerprint

PARTS = RUNS / "dynamic_sampling"
SOURCES = ["scripts/receipts/dynamic_sampling.py", *QUICKSTART]
TOKENS = 200_000
"""Completion tokens that a run generates, the dropped ones included; it ends with the step that
reaches them.
"""

SEEDS = (1, 2, 3, 4, 5)
TASKS = {"two_digits": [], "mixed": ["task.args={low: 0, high: 49}"]}
REFILL = {"refill": True, "max_tokens": 5120}
ARMS: dict[str, Any] = {
    "uniform": None,
    "refill": REFILL,
    "memory": {"memory": True},
    "both": {**REFILL, "memory": True},
    "larger": None,
}
LARGER = {"two_digits": 512, "mixed": 768}
"""Completions a step of the control, where the others have 256."""

T_FOUR = 2.776
"""The 97.5 % point of Student's t with four degrees of freedom: five seeds."""

Figures = dict[str, Any]


def measure() -> Figures:
    """Per task: every cell, and by how much the ways differ from uniform sampling and its control,
    seed by seed.
    """
    tasks = {task: one_task(task) for task in TASKS}
    seconds = 0.0
    for figures in tasks.values():
        for cells in figures["cells"].values():
            seconds += sum(cell["seconds"] for cell in cells)
    return {"tokens": TOKENS, "seconds_of_training_in_all": round(seconds), "tasks": tasks}


def one_task(task: str) -> Figures:
    """All cells of a task; seeds outermost, so that the ways take turns on a machine whose load
    changes.
    """
    cells: dict[str, list[Figures]] = {arm: [] for arm in ARMS}
    for seed in SEEDS:
        for arm in ARMS:
            cells[arm].append(kept(task, arm, seed))
    against = {}
    for base, arm in itertools.product(("uniform", "larger"), ARMS):
        if arm not in ("uniform", base):
            against[f"{arm} - {base}"] = differences(cells[arm], cells[base])
    return {"cells": cells, "differences": against}


def differences(ours: list[Figures], theirs: list[Figures]) -> Figures:
    """The mean over seeds of ours − theirs with its 95 % interval, by Student's t."""
    intervals = {}
    for name in ("greedy_half", "greedy", "seconds"):
        pairs = zip(ours, theirs, strict=True)
        values = [our_cell[name] - their_cell[name] for our_cell, their_cell in pairs]
        mean = statistics.fmean(values)
        half = T_FOUR * statistics.stdev(values) / math.sqrt(len(values))
        intervals[name] = {
            "mean": round(mean, 4),
            "low": round(mean - half, 4),
            "high": round(mean + half, 4),
            "seeds_above": sum(value > 0 for value in values),
        }
    return intervals


def kept(task: str, arm: str, seed: int) -> Figures:
    """One cell, read where it was measured already."""
    path = PARTS / f"{stamp(task, arm)}-{task}-{arm}-{seed}.json"
    if not path.exists():
        figures = one_cell(task, arm, seed)
        PARTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures), encoding="utf-8")
        print(f"{task} {arm} {seed}: {figures}", flush=True)
    cell: Figures = read_json(path)
    return cell


def stamp(task: str, arm: str) -> str:
    """A short hash of what a cell depends on: the sources, this file among them, and its
    settings.
    """
    return fingerprint(SOURCES, TOKENS, TASKS[task], ARMS[arm], completions(task, arm))[:12]


def completions(task: str, arm: str) -> int:
    """Completions a step, before anything is refilled."""
    return LARGER[task] if arm == "larger" else 256


def one_cell(task: str, arm: str, seed: int) -> Figures:
    """Train one way on one task until the tokens are spent; held-out greedy accuracy half way and
    at the end.
    """
    from llmpolicy.evaluation import greedy_accuracy
    from llmpolicy.grpo.config import grpo_config
    from llmpolicy.grpo.trainer import PolicyTrainer
    from llmpolicy.plan import plan_recipe
    from llmpolicy.recipe import SamplingBlock, load_recipe
    from llmpolicy.stages.policy import build_policy
    from llmpolicy.stages.process import use_threads
    from llmpolicy.stages.trainers import drop_printers
    from llmpolicy.terminal import quiet

    quiet()
    recipe = load_recipe(
        "quickstart", [f"seed={seed}", "grpo.lr_scheduler_type=constant", *TASKS[task]]
    )
    plan, policy = plan_recipe(recipe), build_policy(recipe)
    use_threads(policy.model)
    correct, sampling = plan.correct, ARMS[arm] and SamplingBlock(**ARMS[arm])
    assert correct is not None

    def accuracy() -> float:
        return greedy_accuracy(policy, plan.held_out, correct, batch_size=256, max_new_tokens=5)

    spending = _spending(accuracy)
    with tempfile.TemporaryDirectory() as folder:
        shape = {
            "per_device_train_batch_size": completions(task, arm),
            "max_steps": 10_000,
            "save_strategy": "no",
        }
        settings = {**(recipe.grpo or {}), **shape}
        args = grpo_config(settings, output_dir=Path(folder), seed=seed, reward_weights=[1.0])
        trainer = PolicyTrainer(
            policy,
            plan.rewards,
            plan.train_rows,
            args,
            callbacks=[spending],
            sampling=sampling or None,
        )
        drop_printers(trainer)
        trainer.train()
    return {"seed": seed, "greedy": accuracy()} | spending.figures()


def _spending(accuracy: Callable[[], float]) -> Any:
    """The callback that counts tokens; its class is in a function, for the receipts are listed
    without transformers.
    """
    from transformers import TrainerCallback

    class Spending(TrainerCallback):
        """Count what is generated, look once half way, and end the run when the tokens are
        spent.
        """

        def __init__(self) -> None:
            self.half: float | None = None
            self.tokens, self.dead, self.seconds, self.steps = 0.0, 0.0, 0.0, 0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds += time.monotonic() - self.began

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "reward" not in logs:
                return
            rows = args.per_device_train_batch_size
            self.tokens += logs.get("sampling/tokens", rows * logs["completions/mean_length"])
            self.dead += logs["frac_reward_zero_std"]
            self.steps = state.global_step
            if self.half is None and self.tokens >= TOKENS / 2:
                self.half = accuracy()
            control.should_training_stop = self.tokens >= TOKENS

        def figures(self) -> Figures:
            return {
                "greedy_half": self.half,
                "steps": self.steps,
                "tokens": round(self.tokens),
                "dead_groups_trained_on": round(self.dead / self.steps, 3),
                "seconds": round(self.seconds, 1),
            }

    return Spending()
