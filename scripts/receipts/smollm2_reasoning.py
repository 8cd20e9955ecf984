"""The recipe smollm2_reasoning_cpu on three seeds, evaluated before and after; seed 0 is stopped by
SIGTERM in step 11 and resumed.

A seed that this very code has finished is not trained again, so the whole can be measured in parts.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from llmpolicy.run import Run, git_revision
from scripts.receipts._sources import ROOT, RUNS, TRAINING

SOURCES = [
    "recipes/smollm2_reasoning_cpu.yaml",
    "scripts/get_smollm2.py",
    "scripts/receipts/smollm2_reasoning.py",
    *TRAINING,
    "reward_fns/exact.py",
]
SEEDS, STOP_AFTER = (0, 1, 2), 10
COMMAND = ["llmpolicy", "train", "smollm2_reasoning_cpu"]
IN_16_BITS = ["model.dtype=bfloat16", "grpo.bf16=true"]
"""What the recipe advises where products of bfloat16 are faster."""


def measure() -> dict[str, Any]:
    """By seed the evaluation, reward and seconds of every step; raises CalledProcessError if a run
    does not end well.
    """
    rates = _matrix_gflops()
    command = list(COMMAND)
    if rates["torch.bfloat16"] > rates["torch.float32"]:
        command += IN_16_BITS
    figures: dict[str, Any] = {
        "command": " ".join([*command, "seed=SEED"]),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    figures["matrix_gflops"] = rates
    for seed in SEEDS:
        run = _finished(command, seed)
        steps = run.metrics("train")
        figures[f"seed {seed}"] = {
            "steps": len(steps),
            "seconds_of_steps": round(sum(line["step_time"] for line in steps)),
            "seconds_a_step": [round(line["step_time"], 1) for line in steps],
            "reward": [round(line["reward"], 3) for line in steps],
            "evaluation": run.evaluation(),
        }
    return figures


def _matrix_gflops() -> dict[str, float]:
    """The machine's matrix rate today, as the bench measures it."""
    import torch

    from scripts.bench import matrix_rate

    return {str(dtype): round(matrix_rate(dtype)) for dtype in (torch.float32, torch.bfloat16)}


def _finished(command: list[str], seed: int) -> Run:
    """The run of a seed, trained now unless this code has done it already."""
    folder = RUNS / "smollm2_reasoning" / "_".join([str(seed), *command[len(COMMAND) :]])
    revision = git_revision(ROOT) or ""
    # Of a tree with changes nobody knows which they were.
    if (folder / "evaluation.json").exists() and not revision.endswith("+changes"):
        run = Run.open(folder)
        if run.manifest["git"] == revision:
            return run
    shutil.rmtree(folder, ignore_errors=True)
    train = [sys.executable, "-m", *command, f"seed={seed}", "--out", str(folder)]
    if seed == 0 and _is_stopped(train, folder):
        train.append("--resume")
    subprocess.run(train, cwd=ROOT, check=True)
    return Run.open(folder)


def _is_stopped(train: list[str], folder: Path) -> bool:
    """Start the run, send SIGTERM when it has logged STOP_AFTER steps, and see that it says so with
    its exit code.
    """
    process = subprocess.Popen(train, cwd=ROOT)
    while process.poll() is None:
        logged = (folder / "metrics.jsonl").exists()
        if logged and len(Run.open(folder).metrics("train")) >= STOP_AFTER:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(1)
    code = process.wait()
    if code != 128 + signal.SIGTERM:
        raise subprocess.CalledProcessError(code, train)
    return True
