"""The demo's promises: the bundled model learns, seeds apart, without a connection to anywhere."""

import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2, 3, 4)

NO_NETWORK = textwrap.dedent("""
    import ipaddress, socket, sys
    real = socket.socket.connect
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            print("CONNECTED TO", address, file=sys.stderr, flush=True)
            raise OSError(f"no connection is allowed: {address}")
        return real(self, address)
    socket.socket.connect = socket.socket.connect_ex = connect
    def lookup(host, *rest, **named):
        if host not in (None, "localhost", "127.0.0.1", "::1", socket.gethostname()):
            print("LOOKED UP", host, file=sys.stderr, flush=True)
            raise OSError(f"no name is looked up: {host}")
        return found(host, *rest, **named)
    found, socket.getaddrinfo = socket.getaddrinfo, lookup
    from llmpolicy.cli import run
    run()
""")


def llmpolicy(folder: Path, *arguments: str, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """The command with every way out closed, in an empty HOME."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, "-c", NO_NETWORK, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def result(folder: Path, seed: int) -> dict[str, Any]:
    """The evaluation of one run of the quickstart."""
    done = llmpolicy(folder, "train", "quickstart", f"seed={seed}", "--out", f"seed{seed}")
    assert done.returncode == 0, done.stderr[-3000:]
    evaluation: dict[str, Any] = json.loads((folder / f"seed{seed}" / "evaluation.json").read_text())
    return evaluation


@pytest.mark.slow
def test_the_demo_opens_no_connection_and_shows_what_it_promises(tmp_path: Path) -> None:
    done = llmpolicy(tmp_path, "demo", threads=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "CONNECTED TO" not in done.stderr
    assert "LOOKED UP" not in done.stderr
    for words in (
        "greedy accuracy",
        "sampled accuracy",
        "best constant answer",
        "before",
        "after",
        "plot.png",
        "runs/demo",
    ):
        assert words in done.stdout, words
    evaluation = json.loads((tmp_path / "runs" / "demo" / "evaluation.json").read_text())
    assert evaluation["paired_difference"]["value"] >= 0.40
    assert llmpolicy(tmp_path, "evaluate", "runs/demo").returncode == 0


@pytest.mark.slow
def test_four_of_five_seeds_reach_the_bar(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda seed: result(tmp_path, seed), SEEDS))
    greedy = [one["paired_difference"] for one in found]
    sampled = [one["paired_difference_sampled"]["value"] for one in found]
    good = [a["value"] >= 0.40 and a["low"] > 0.30 and b >= 0.25 for a, b in zip(greedy, sampled, strict=True)]
    assert sum(good) >= 4, (greedy, sampled)
