"""Two hosts train as one process does, and when one of them dies, stands still or is cut off, all
processes end, in words, within a stated time.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from llmpolicy.run import Run
from tests.test_two_processes import updates
from tests.two_hosts import ROOT, Host, family, two_hosts

TIMEOUT = 12
"""Seconds of grpo.ddp_timeout: more than a busy machine keeps one of two processes waiting."""
LEFT = TIMEOUT + 30
"""Seconds after which none of the processes may live that can still run."""
BRIEF = ["grpo.per_device_train_batch_size=32", "evaluate.n=20", "evaluate.samples=2"]
ENDLESS = ["grpo.max_steps=100000", "grpo.save_steps=1", f"grpo.ddp_timeout={TIMEOUT}"]


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    try:
        made = two_hosts()
        both = made.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system lets nobody make network namespaces: {error}")
    yield both
    made.__exit__(None, None, None)


def started(hosts: tuple[Host, Host], folder: Path, *words: str) -> list[subprocess.Popen[bytes]]:
    """Both shares of a training."""
    return [host.torchrun(*words, log=folder / f"said{host.rank}") for host in hosts]


def said(folder: Path, rank: int) -> str:
    return (folder / f"said{rank}").read_text()


@pytest.mark.slow
def test_two_hosts_make_the_update_of_one_process(hosts: Any, tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    script = [str(ROOT / "tests/two_processes.py"), str(together), "dapo"]
    shares = started(hosts, tmp_path, *script)
    assert [share.wait(timeout=120) for share in shares] == [0, 0], said(tmp_path, 0)
    two = torch.load(together / "updates.pt")
    one = updates(tmp_path / "alone", 1, words=["dapo"])
    assert (one["dapo"]["world_size"], two["dapo"]["world_size"]) == (1, 2)
    alone, moved = one["dapo"]["moved"], two["dapo"]["moved"]
    assert float((alone - moved).norm() / alone.norm()) < 1e-5


def training(hosts: tuple[Host, Host], folder: Path) -> list[subprocess.Popen[bytes]]:
    """A training of both hosts, through the public way, that has saved a checkpoint."""
    words = [str(ROOT / "scripts/train_grpo.py"), "quickstart", *BRIEF, *ENDLESS]
    shares = started(hosts, folder, *words, "--out", str(folder / "run"))
    until = time.monotonic() + 120
    while not list((folder / "run/checkpoints").glob("checkpoint-*")):
        assert time.monotonic() < until and shares[0].poll() is None, said(folder, 0)
        time.sleep(0.1)
    return shares


def gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that live after so many seconds."""
    return list(psutil.wait_procs(processes, timeout=seconds)[1])


def ended(processes: list[psutil.Process], seconds: float) -> None:
    """All end by themselves; whatever does not is killed."""
    living = gone(processes, seconds)
    for process in living:
        process.kill()
    assert not living


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_when_a_host_dies_the_other_says_so_and_ends(hosts: Any, tmp_path: Path, lost: int) -> None:
    shares = training(hosts, tmp_path)
    dying, other = family(shares[lost]), family(shares[1 - lost])
    for process in dying:
        process.kill()
    ended([*dying, *other], LEFT)
    assert [dying[0].returncode, other[0].returncode] == [-9, 1]
    sentence = (
        "error: rank 1 on west waited for the others' part of",
        "error: rank 0 on east waited for the others' part of",
    )[lost]
    who = ("the host 10.77.0.1, where all processes meet", "rank 1 on west")[lost]
    assert sentence in said(tmp_path, 1 - lost)
    assert f"and the connection was closed: {who}" in said(tmp_path, 1 - lost)
    assert "does not answer" in said(tmp_path, 1 - lost)
    if lost == 1:
        run = Run.open(tmp_path / "run")
        assert run.manifest["status"] == "failed" and "rank 1 on west" in run.manifest["reason"]
        on = "go on with: torchrun --nnodes 2 --master_addr 10.77.0.1 --master_port 29577"
        assert f"{on} --node_rank 0 --nproc_per_node 1 -m llmpolicy train" in said(tmp_path, 0)


@pytest.mark.slow
def test_when_a_host_stands_still_the_other_waits_no_longer_than_it_was_told(
    hosts: Any, tmp_path: Path
) -> None:
    shares = training(hosts, tmp_path)
    still, other = family(shares[1]), family(shares[0])
    for process in still:
        process.suspend()
    ended(other, LEFT)
    for process in still:
        process.resume()  # awake, it finds nobody
    ended(still, LEFT)
    assert f"nothing came for {TIMEOUT} s (grpo.ddp_timeout): rank 1 on west" in said(tmp_path, 0)
    assert "error: rank 1 on west waited for" in said(tmp_path, 1)


@pytest.mark.slow
def test_when_the_cable_is_cut_both_end_by_themselves(hosts: Any, tmp_path: Path) -> None:
    shares = training(hosts, tmp_path)
    everyone = [*family(shares[0]), *family(shares[1])]
    hosts[1].cut()
    try:
        ended(everyone, LEFT + 15)
    finally:
        hosts[1].do("ip", "link", "set", "cable1", "up")
    waited = f"nothing came for {TIMEOUT} s (grpo.ddp_timeout)"
    assert f"{waited}: rank 1 on west does not answer" in said(tmp_path, 0)
    assert f"{waited}: the host 10.77.0.1, where all processes meet" in said(tmp_path, 1)


@pytest.mark.slow
def test_two_processes_that_share_out_the_weights_do_what_one_does(tmp_path: Path) -> None:
    """FSDP2 (accelerate, torch, gloo) on CPUs: generation, updates, saving and going on."""
    one = updates(tmp_path / "one", 1, "sharded.py", ())
    two = updates(tmp_path / "two", 2, "sharded.py", ())
    assert {part["sharded"] for part in two.values()} == {True}
    assert {part["sharded"] for part in one.values()} == {False}
    assert two["greedy"]["tokens"] == one["greedy"]["tokens"][: len(two["greedy"]["tokens"])]
    start, alone, shared = (
        part["weights"] for part in (two["start"], one["straight"], two["straight"])
    )
    for name, weight in alone.items():
        moved = float((weight - start[name]).norm())
        assert moved > 0
        assert float((weight - shared[name]).norm()) < 1e-4 * moved
        torch.testing.assert_close(two["resumed"]["weights"][name], shared[name], atol=0, rtol=0)
        torch.testing.assert_close(two["straight"]["saved"][name], shared[name], atol=0, rtol=0)
