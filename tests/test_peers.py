"""Processes that train together: what one says when another one has ended by an error, and how long
they wait.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BEGIN = """
import os, pathlib, sys, time, torch, torch.distributed as dist
from llmpolicy.errors import RunError
from llmpolicy.grpo.peers import PeerError, among_peers, meet
rank = os.environ["RANK"]
meet({"use_cpu": True, "ddp_timeout": 3})
try:
    with among_peers():
        dist.barrier()
"""
END = """
except (PeerError, RunError) as error:
    pathlib.Path(__file__).with_name(rank).write_text(f"{type(error).__name__}: {error}")
    time.sleep(1)  # the launcher would end the other one at once
"""
FAILS = """
        if rank == "1":
            raise RunError("its disk is full")
        dist.all_reduce(torch.ones(1))
"""
SLEEPS = """
        if rank == "1":
            time.sleep(12)
        dist.all_reduce(torch.ones(1))
"""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (FAILS, r": rank 1 on \S+ ended with: its disk is full"),
        pytest.param(
            SLEEPS,
            r"nothing came for 3 s \(grpo.ddp_timeout\): rank 1 on \S+ does not answer",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["fails", "sleeps"],
)
def test_the_one_that_waits_says_what_became_of_the_other(
    body: str, sentence: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(BEGIN + body + END)
    words = ["--standalone", "--nproc_per_node", "2", str(script)]
    here = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    subprocess.run(command, capture_output=True, env={**os.environ, **here}, timeout=120)
    said = (tmp_path / "0").read_text()
    assert said.startswith("PeerError: rank 0 on ")

    assert re.search(sentence, said), said
