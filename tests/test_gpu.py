"""The command for machines with an accelerator: here it says that there is none, and its laws hold on
the device that there is.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch

from scripts.gpu import LIMIT, NONE, commands, law_facts, ran

ROOT = Path(__file__).parent.parent


def test_without_an_accelerator_one_sentence_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.gpu", "--out", str(tmp_path / "out")]
    here = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (2, NONE)
    assert not (tmp_path / "out").exists()


def test_its_laws_hold_on_the_processor() -> None:
    facts = law_facts(torch.device("cpu"))
    assert facts["ok"], facts
    assert len(facts["laws"]) == 3


def test_all_together_ends_within_half_an_hour(tmp_path: Path) -> None:
    assert sum(most for _, most in commands(tmp_path).values()) <= LIMIT < 30 * 60


def test_a_part_that_is_late_is_ended_and_said_to_be(tmp_path: Path) -> None:
    late = ran(["-c", "import time; time.sleep(60)"], 1.0, tmp_path / "log")
    assert (late["ok"], late["exit_code"]) == (False, None)
