"""The recipe gsm8k_smollm2_cpu on the real questions: reward, evaluation, adapter and card,
whatever it reaches.
"""

import os
import shutil
import subprocess
import sys
from typing import Any

from llmpolicy.run import Run
from scripts.receipts._sources import ROOT, RUNS, TRAINING

RUN = RUNS / "gsm8k_smollm2"
SOURCES = [
    "recipes/gsm8k_smollm2_cpu.yaml",
    "scripts/get_smollm2.py",
    "scripts/receipts/gsm8k_smollm2.py",
    *TRAINING,
    "reward_fns/math_answer.py",
]
COMMAND = ["llmpolicy", "train", "gsm8k_smollm2_cpu"]


def measure() -> dict[str, Any]:
    """The evaluation before and after, the reward of each step, and the files that publishing would
    send.

    GSM8K is read from the folder that the environment variable GSM8K names, or from the Hub.
    """
    python = [sys.executable, "-m"]
    shutil.rmtree(RUN, ignore_errors=True)
    subprocess.run([*python, *COMMAND, "--out", str(RUN), *_local()], cwd=ROOT, check=True)
    publish = [*python, "llmpolicy", "publish", str(RUN), "--repo", "user/name", "--dry-run"]
    published = subprocess.run(publish, cwd=ROOT, check=True, capture_output=True, text=True)
    run = Run.open(RUN)
    return {
        "command": " ".join(COMMAND),
        "seconds_a_step": [round(line["step_time"], 1) for line in run.metrics("train")],
        "reward": [round(line["reward"], 4) for line in run.metrics("train")],
        "evaluation": run.evaluation(),
        "publish": published.stdout.splitlines(),
    }


def _local() -> list[str]:
    folder = os.environ.get("GSM8K")
    if folder is None:
        return []
    return [f"task.file={folder}/train.jsonl", f"evaluate.task.file={folder}/test.jsonl"]
