"""The recipe calculator_tool_cpu on three seeds, evaluated before and after, and on one of them
without its calculator.

A run that this very code has finished is not trained again, so the whole can be measured in parts.
"""

import os
import shutil
import subprocess
import sys
from typing import Any

from llmpolicy.run import Run, git_revision
from scripts.receipts._sources import ROOT, RUNS, TRAINING

SOURCES = [
    "recipes/calculator_tool_cpu.yaml",
    "scripts/get_smollm2.py",
    "scripts/receipts/calculator_tool.py",
    "llmpolicy/tools/calculator.py",
    "llmpolicy/environments/[cdop]*.py",
    *TRAINING,
    "reward_fns/numeric.py",
]
SEEDS = (0, 1, 2)
COMMAND = ["llmpolicy", "train", "calculator_tool_cpu", "model.dtype=bfloat16", "grpo.bf16=true"]
WITHOUT = ["environment=null", "grpo.max_completion_length=24"]
"""The same recipe with the tool taken out, and the same length of one answer."""


def measure() -> dict[str, Any]:
    """By seed the evaluation, reward and seconds of every step, with the tool and, on the first
    seed, without; raises CalledProcessError if a run does not end well.
    """
    asked = {f"seed {seed}": [f"seed={seed}"] for seed in SEEDS}
    asked["without the tool"] = [*WITHOUT, f"seed={SEEDS[0]}"]
    figures: dict[str, Any] = {
        "command": " ".join([*COMMAND, "seed=SEED"]),
        "without the tool also": " ".join(WITHOUT),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    for name, changes in asked.items():
        run = _finished([*COMMAND, *changes], name.replace(" ", "_"))
        steps = run.metrics("train")
        figures[name] = {
            "seconds_a_step": [round(line["step_time"], 1) for line in steps],
            "reward": [round(line["reward"], 3) for line in steps],
            "evaluation": run.evaluation(),
        }
    return figures


def _finished(command: list[str], name: str) -> Run:
    """A run that is trained now, unless this code has done it already."""
    folder = RUNS / "calculator_tool" / name
    revision = git_revision(ROOT) or ""
    # Of a tree with changes nobody knows which they were.
    if (folder / "evaluation.json").exists() and not revision.endswith("+changes"):
        run = Run.open(folder)
        if run.manifest["git"] == revision:
            return run
    shutil.rmtree(folder, ignore_errors=True)
    train = [sys.executable, "-m", *command, "--out", str(folder), "--yes"]
    subprocess.run(train, cwd=ROOT, check=True)
    return Run.open(folder)
