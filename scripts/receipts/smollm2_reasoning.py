"""The recipe smollm2_reasoning_cpu end to end: stopped by SIGTERM in step 11, resumed, evaluated before and after."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from llmpolicy.run import Run

ROOT = Path(__file__).parent.parent.parent
RUN = ROOT / "runs" / "receipts" / "smollm2_reasoning"
SOURCES = [
    "recipes/smollm2_reasoning_cpu.yaml",
    "scripts/get_smollm2.py",
    "scripts/receipts/smollm2_reasoning.py",
    "llmpolicy/grpo/*.py",
    "llmpolicy/policies/causal_lm/*.py",
    "llmpolicy/evaluation/*.py",
    "llmpolicy/tasks/*.py",
    "reward_fns/exact.py",
]
STOP_AFTER = 10
COMMAND = ["llmpolicy", "train", "smollm2_reasoning_cpu"]
TRAIN = [sys.executable, "-m", *COMMAND, "--out", str(RUN)]


def measure() -> dict[str, Any]:
    """Exit codes, steps, the evaluation and the files of the run; raises CalledProcessError if it does not go on."""
    shutil.rmtree(RUN, ignore_errors=True)
    stopped = _stopped_after(STOP_AFTER)
    subprocess.run([*TRAIN, "--resume"], cwd=ROOT, check=True)
    run = Run.open(RUN)
    steps = run.metrics("train")
    return {
        "command": " ".join(COMMAND),
        "exit_code_of_the_stopped_run": stopped,
        "steps": [line["step"] for line in steps],
        "seconds_a_step": [round(line["step_time"], 1) for line in steps],
        "reward": [round(line["reward"], 3) for line in steps],
        "evaluation": run.evaluation(),
        "files": sorted({str(path.relative_to(RUN).parts[0]) for path in RUN.rglob("*") if path.is_file()}),
    }


def _stopped_after(step: int) -> int:
    """Start the run, send SIGTERM when it has logged ``step``, and give its exit code."""
    process = subprocess.Popen(TRAIN, cwd=ROOT)
    while process.poll() is None:
        if (RUN / "metrics.jsonl").exists() and len(Run.open(RUN).metrics("train")) >= step:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(1)
    return process.wait()
