"""Nothing that a reward started outlives its worker, and no worker its trainer, however they end
and however it hid.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from llmpolicy.rewards import Rewards, RewardSpec, Sample
from llmpolicy.rewards.workers import pool as firewall
from llmpolicy.sandbox import Job, Limits, unsafe

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere an orphan cannot be followed"
)
SECONDS = 2.0
MARK = "LLMPOLICY_TEST_FAMILY"

FAMILY = '''
import ctypes, os, signal, subprocess, sys, threading, time

def forked(then):
    """A process that does something and stays."""
    if os.fork() == 0:
        try:
            then()
            while True:
                time.sleep(60)
        finally:
            os._exit(0)

def apart():
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

def daemon():
    """The grandchild of a process that is gone."""
    def twice():
        apart()
        forked(lambda: os.setpgid(0, 0))
        os._exit(0)
    forked(twice)

def patron():
    """One that adopts orphans itself."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    apart()
    daemon()

def start_family(ready):
    forked(lambda: None)
    forked(apart)
    daemon()
    forked(patron)
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & sleep 600"], start_new_session=True)
    threading.Thread(target=time.sleep, args=(600,)).start()
    time.sleep(0.4)
    open(ready, "w").close()
'''

REWARD = """
def starts(completion, ready):
    import os
    import time

    if completion != "c1" or os.path.exists(ready):
        return 1.0
    start_family(ready)
    {then}
"""

TRAINER = """
import os, sys
from pathlib import Path
from llmpolicy.rewards import Rewards, RewardSpec, Sample
rewards = Rewards([RewardSpec("starts.py:starts", args={"ready": sys.argv[2]}, timeout=60)], Path(sys.argv[1]))
rewards.score([Sample("c1"), Sample("c2")])
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A word in the environment of whatever a test starts; all of it is gone afterwards."""
    word = uuid.uuid4().hex
    monkeypatch.setenv(MARK, word)
    yield word
    for process in family(word):
        process.kill()


def family(word: str) -> list[psutil.Process]:
    """The living processes with a mark, but this one; a zombie has no environment any more."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == word:
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def wait_until_gone(word: str, since: float, but: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    while living := [process for process in family(word) if process.pid not in but]:
        assert time.monotonic() - since < SECONDS, f"still there: {living}"
        time.sleep(0.02)


def written(folder: Path, then: str) -> Path:
    (folder / "starts.py").write_text(FAMILY + REWARD.format(then=then))
    return folder / "ready"


def wait_for(ready: Path, word: str, least: int) -> None:
    until = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert len(family(word)) >= least


@pytest.mark.parametrize(
    ("then", "end"),
    [("while True: pass", signal.SIGKILL), ("time.sleep(600)", signal.SIGTERM)],
    ids=["kill", "term"],
)
def test_what_rewards_started_ends_with_its_trainer(
    tmp_path: Path, mark: str, then: str, end: signal.Signals
) -> None:
    ready = written(tmp_path, then)
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path), str(ready)], stderr=subprocess.DEVNULL
    )
    wait_for(ready, mark, least=9)
    trainer.send_signal(end)
    since = time.monotonic()
    trainer.wait(10)
    wait_until_gone(mark, since)


@pytest.mark.parametrize(
    "then",
    ["time.sleep(600)", "os._exit(3)", "os.killpg(0, 9)"],
    ids=["late", "exit", "kill its group"],
)
def test_what_a_reward_started_ends_with_its_worker(tmp_path: Path, mark: str, then: str) -> None:
    ready = written(tmp_path, then)
    others = {process.pid for process in family(mark)}
    rewards = Rewards(
        [RewardSpec("starts.py:starts", args={"ready": str(ready)}, timeout=2)], tmp_path
    )
    scored = rewards.score([Sample("c1"), Sample("c2")])
    since = time.monotonic()
    assert ready.exists() and scored[1].value == 1.0
    mine = {one for worker in firewall.pool().workers() for one in (worker.pid, worker.process.pid)}
    wait_until_gone(mark, since, others | mine)


def test_a_worker_that_stopped_its_keeper_is_ended_all_the_same(tmp_path: Path, mark: str) -> None:
    ready = written(tmp_path, "os.kill(os.getppid(), 19); time.sleep(600)")
    rewards = Rewards(
        [RewardSpec("starts.py:starts", args={"ready": str(ready)}, timeout=1)], tmp_path
    )
    rewards.score([Sample("c1"), Sample("c2")])
    mine = {one for worker in firewall.pool().workers() for one in (worker.pid, worker.process.pid)}
    wait_until_gone(mark, time.monotonic(), mine)


def test_code_without_a_sandbox_leaves_nothing_behind_its_job(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    pool = unsafe.pool()
    try:
        ended = pool.run(
            Job(FAMILY + f"\nstart_family({str(ready)!r})\nos._exit(0)"), Limits(cpu=10)
        )
        assert ready.exists(), ended
        (keeper,) = [slot._keeper for slot in pool._slots if slot._keeper is not None]
        left = psutil.Process(keeper.pid).children(recursive=True)
        # The family stays until it is ended; what the keeper spawns to use up numbers goes by itself.
        assert psutil.wait_procs(left, timeout=10)[1] == []
    finally:
        pool.close()


def test_how_a_worker_ended_is_still_told(tmp_path: Path) -> None:
    def ends(completion: str) -> float:
        if completion == "c1":
            os.kill(os.getpid(), signal.SIGSEGV)
        if completion == "c2":
            os._exit(7)
        return 1.0

    rewards = Rewards([RewardSpec(ends, name="r")])
    rewards.score([Sample(f"c{i}", row=i) for i in range(4)])
    assert {
        record["why"].partition("(")[2].partition(")")[0] for record in rewards.take_faults()
    } == {
        "SIGSEGV",
        "exit code 7",
    }


COPIED = """
import os

def comes_back(completion):
    if int(completion) % 7 == 0 and os.fork() == 0:
        {child}
    return float(int(completion) % 2)

async def waits(completion):
    return comes_back(completion)
"""


@pytest.mark.parametrize(
    "child", ["return 7.0", "os.execvp('no-such-checker', ['x'])", "raise SystemExit"]
)
@pytest.mark.parametrize("function", ["comes_back", "waits"])
@pytest.mark.parametrize("isolate", [True, False])
def test_a_copy_that_a_reward_forked_answers_nothing(
    tmp_path: Path, function: str, child: str, isolate: bool
) -> None:
    (tmp_path / "copied.py").write_text(COPIED.format(child=child))
    rewards = Rewards([RewardSpec(f"copied.py:{function}")], tmp_path, isolate=isolate)
    for first in range(3):
        asked = range(first, first + 64)
        scores = rewards.score([Sample(str(number)) for number in asked])
        assert [row.value for row in scores] == [float(number % 2) for number in asked]
