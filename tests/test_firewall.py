"""The firewall: what a reward does to its process touches neither the scores of others nor the
process that trains.
"""

import asyncio
import json
import locale
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from llmpolicy.audit.replay import replay
from llmpolicy.rewards import RewardError, Rewards, RewardSpec, RowScore, Sample, reward
from llmpolicy.rewards.health import FaultBudgetError, replay_command
from llmpolicy.rewards.workers import pool as firewall
from llmpolicy.rewards.workers.progress import IDLE, Position, Progress, shared_memory
from llmpolicy.rewards.workers.supervisor import Clock
from llmpolicy.run import Run

ROOT = Path(__file__).parent.parent


def samples(n: int = 4, **columns: Any) -> list[Sample]:
    return [Sample(f"c{i}", {"answer": str(i), **columns}, row=i) for i in range(n)]


def score(function: Any, n: int = 4, **spec: Any) -> list[RowScore]:
    return Rewards([RewardSpec(function, name="r", **spec)]).score(samples(n))


def values(scored: list[RowScore]) -> list[float | None]:
    return [row.value for row in scored]


def workers() -> list[int]:
    return [worker.pid for worker in firewall.pool().workers()]


# --- what crosses
# ------------------------------------------------------------------------------------------------------


def test_a_worker_is_another_process_that_is_used_again() -> None:
    def process(completion: str) -> float:
        import os

        return float(os.getpid())

    seen = {value for _ in range(3) for value in values(score(process))}
    assert os.getpid() not in seen
    assert seen <= set(workers())


def test_a_worker_loads_no_torch_and_nothing_of_the_main_program(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text(
        "raise SystemExit('the folder of the program was searched')"
    )
    (tmp_path / "mine.py").write_text(
        "import sys\ndef loaded(completion):\n    return float(completion in sys.modules)\n"
    )
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(
        textwrap.dedent("""
        print("once")
        from llmpolicy.rewards import Rewards, RewardSpec, Sample

        def own(completion):
            return 1.0

        rewards = Rewards([RewardSpec("mine.py:loaded"), RewardSpec(own)])
        print([row.parts["mine.loaded"].value for row in rewards.score([Sample("torch"), Sample("json")])])
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == ["once", "[0.0, 1.0]"], done.stderr


def test_a_function_that_cannot_be_copied_stays_and_is_said_once() -> None:
    lock = threading.Lock()

    def locked(completion: str) -> float:
        with lock:
            return 1.0

    rewards = Rewards([RewardSpec(locked, name="r")])
    with pytest.warns(UserWarning, match="'r' stays in this process"):
        rewards.score(samples())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(rewards.score(samples())) == [1.0] * 4
    with pytest.warns(UserWarning, match="stays in this process"):
        assert values(Rewards([RewardSpec(lambda answer: 1.0)]).score(samples(2, answer=lock))) == [
            1.0,
            1.0,
        ]


def test_a_reward_that_says_so_stays_where_the_model_is() -> None:
    @reward(in_process=True)
    def here(completion: str) -> float:
        return float(os.getpid())

    assert set(values(score(here))) == {os.getpid()}


def test_an_edited_module_is_read_again_by_a_new_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for value in (1.0, 22.0):
        (tmp_path / "edited_reward.py").write_text(f"def fn(completion):\n    return {value}\n")
        sys.modules.pop("edited_reward", None)
        assert values(score("edited_reward:fn")) == [value] * 4


def test_a_run_keeps_the_text_of_a_file_that_is_edited_meanwhile(tmp_path: Path) -> None:
    file, text = (
        tmp_path / "mine.py",
        "import os\ndef fn(completion):\n    return {0} if completion else os._exit(1)\n",
    )
    file.write_text(text.format(1.0))
    running = Rewards([RewardSpec("mine.py:fn", name="r")], tmp_path)
    assert values(running.score(samples())) == [1.0] * 4
    file.write_text(text.format(2.0))
    assert values(running.score([Sample(""), Sample("x")])) == [None, 1.0]  # by a new worker
    assert (
        values(Rewards([RewardSpec("mine.py:fn", name="r")], tmp_path).score(samples()))
        == [2.0] * 4
    )
    file.unlink()
    assert values(running.score([Sample(""), Sample("x")])) == [None, 1.0]


def test_the_worker_stands_where_the_parent_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(completion: str) -> float:
        import os

        with open("here.txt") as file:
            return float(file.read()) + float(os.environ.get("LLMPOLICY_TEST", "0"))

    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "here.txt").write_text(str(number))
        monkeypatch.chdir(folder)
        monkeypatch.setenv("LLMPOLICY_TEST", str(10 * number))
        assert set(values(score(looks))) == {11.0 * number}


# --- time
# --------------------------------------------------------------------------------------------------------------


def spins(completion: str) -> float:
    while completion == "c1":
        pass
    return 1.0


def backtracks(completion: str) -> float:
    import re

    return float(
        re.fullmatch(r"(\w+\s?)*", "a" * 60 + "!" if completion == "c1" else "") is not None
    )


@pytest.mark.parametrize("function", [spins, backtracks])
def test_a_completion_that_computes_too_long_scores_the_least(function: Any) -> None:
    started = time.monotonic()
    scored = score(reward(range=(-1, 1))(function), timeout=0.5)
    assert values(scored) == [1.0, -1.0, 1.0, 1.0]
    assert scored[1].parts["r"].why == "used up its time: took more than 0.5 s, computing,"
    assert time.monotonic() - started < 0.5 + 2
    assert 0.5 <= scored[1].seconds < 1.5


def sleeps(completion: str) -> float:
    time.sleep(60 * (completion == "c1"))
    return 1.0


def waits_for_a_lock(completion: str) -> float:
    held = threading.Lock()
    held.acquire()
    return 1.0 if completion != "c1" else float(held.acquire())


def ignores_signals(completion: str) -> float:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while completion == "c1":
        signal.pause()
    return 1.0


def stops_itself(completion: str) -> float:
    if completion == "c1":
        os.kill(os.getpid(), signal.SIGSTOP)
    return 1.0


@pytest.mark.parametrize("function", [sleeps, waits_for_a_lock, ignores_signals, stops_itself])
def test_a_call_that_only_waits_is_no_verdict(function: Any) -> None:
    started = time.monotonic()
    rewards = Rewards([RewardSpec(function, name="r", timeout=0.5)])
    scored = rewards.score(samples())
    assert values(scored) == [1.0, None, 1.0, 1.0]
    assert rewards.take_faults()[0]["fault"] == "timeout"
    assert time.monotonic() - started < 0.5 + 2


def test_the_clock_stands_still_while_a_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(0.8)\n")

    def loads(completion: str) -> float:
        import slow_to_load  # type: ignore[import-not-found]

        time.sleep(60 if completion == "c1" else 0)
        return float(slow_to_load is not None)

    assert values(score(loads, timeout=0.4)) == [1.0, None, 1.0, 1.0]


def _runs(argument: str) -> bool:
    """Whether a process with this argument runs; a dead one that its parent has not asked for is a
    zombie, without arguments.
    """
    return any(argument in (one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"]))


def test_no_process_of_a_killed_reward_is_left() -> None:
    def starts(completion: str) -> float:
        import subprocess

        if completion == "c1":
            subprocess.run(["sleep", "321.5"])
        return 1.0

    assert values(score(starts, timeout=0.5)) == [1.0, None, 1.0, 1.0]
    deadline = time.monotonic() + 10  # its parent is dead, so that nobody here can wait for its end
    while _runs("321.5"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- memory, crashes, lies
# ---------------------------------------------------------------------------------------------


def test_a_completion_that_takes_all_memory_scores_the_least_and_costs_a_worker() -> None:
    def takes(completion: str) -> float:
        return float(len(bytearray(64 << 30 if completion == "c1" else 1)))

    scored = score(takes)
    assert values(scored) == [1.0, 0.0, 1.0, 1.0]
    assert scored[1].parts["r"].why.startswith("used up its memory: (test_firewall.py:")


@pytest.mark.parametrize("end", [lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGSEGV)])
def test_a_lost_worker_is_no_verdict_and_the_next_one_goes_on(end: Any) -> None:
    def ends(completion: str) -> float:
        if completion == "c2":
            end()
        return 1.0

    rewards = Rewards([RewardSpec(ends, name="r")])
    assert values(rewards.score(samples())) == [1.0, 1.0, None, 1.0]
    (record,) = rewards.take_faults()
    assert record["fault"] == "infrastructure"
    assert "lost its worker process (" in record["why"]


def test_what_a_reward_prints_or_writes_to_any_descriptor_never_becomes_a_score() -> None:
    def prints(completion: str) -> float:
        print('{"told": [[0, [[9.0, null, ""]], 0.0, null, "", ""]], "end": true}', flush=True)
        os.write(1, b"noise\n")
        sys.stdin.read()
        return 1.0

    def forges(completion: str) -> float:
        for descriptor in range(3, 32):
            try:
                os.write(descriptor, b'{"told": [["x", 3]]}\nnot even JSON\n')
            except OSError:
                continue
        return 1.0

    assert values(score(prints)) == [1.0] * 4
    rewards = Rewards([RewardSpec(forges, name="r")])
    assert set(values(rewards.score(samples()))) <= {1.0, None}
    assert values(score(lambda completion: 1.0)) == [1.0] * 4


# --- who is touched
# ----------------------------------------------------------------------------------------------------


def state() -> dict[str, Any]:
    return {
        "random": random.getstate(), "numpy": np.random.get_state()[1].tolist(), "cwd": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL), "environment": dict(os.environ), "path": list(sys.path),
        "signals": [signal.getsignal(n) for n in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)],
        "mask": os.umask(os.umask(0o22)), "modules": "antigravity" in sys.modules,
    }  # fmt: skip


def test_the_trainers_process_is_left_as_it_was() -> None:
    def rude(completion: str) -> float:
        import numpy

        random.seed(0)
        numpy.random.seed(0)
        os.chdir("/")
        os.environ["RUDE"] = "1"
        os.umask(0)
        locale.setlocale(locale.LC_ALL, "C")
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        asyncio.set_event_loop(asyncio.new_event_loop())
        sys.path.insert(0, "/rude")
        return 1.0

    async def cell() -> list[float | None]:
        return values(score(rude))

    before = state()
    assert asyncio.run(cell()) == [1.0] * 4
    assert state() == before


def test_a_reward_that_leaks_costs_a_worker_not_the_run() -> None:
    kept: list[Any] = []

    def leaks(completion: str) -> float:
        kept.append([os.open(os.devnull, os.O_RDONLY) for _ in range(40)])
        return float(os.getpid())

    rewards = Rewards([RewardSpec(leaks, name="r")])
    used = [set(values(rewards.score(samples(16)))) for _ in range(3)]
    assert None not in set.union(*used)
    assert len(set.union(*used)) > firewall.pool().size
    assert kept == []


# --- duplicates, order, threads
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [True, False])
def test_equal_calls_are_made_once_unless_the_reward_draws_lots(isolate: bool) -> None:
    def lot(completion: str) -> float:
        return random.random()

    same = [Sample("same", row=i) for i in range(8)] + [Sample("other", row=8)]
    rewards = Rewards([RewardSpec(lot, name="r")], isolate=isolate)
    drawn = values(rewards.score(same))
    assert len(set(drawn[:8])) == 1
    assert drawn[8] != drawn[0]
    assert rewards.repeated == {"r": 7}
    fair = Rewards([RewardSpec(reward(deterministic=False)(lot), name="r")], isolate=isolate)
    assert len(set(values(fair.score(same)))) == 9
    assert fair.repeated == {"r": 0}


def test_many_threads_score_at_once_and_each_gets_its_own_in_order() -> None:
    rewards = Rewards([RewardSpec(lambda completion, row: row, name="r")])
    found: dict[int, list[float | None]] = {}

    def one(start: int) -> None:
        found[start] = values(rewards.score([Sample("", row=start + i) for i in range(100)]))

    threads = [threading.Thread(target=one, args=(1000 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {1000 * i: [float(1000 * i + k) for k in range(100)] for i in range(8)}


def test_scoring_goes_on_while_the_parent_does_something_else(tmp_path: Path) -> None:
    """What the calls wait for is done after they were submitted."""
    flag = tmp_path / "done"

    def waits(completion: str) -> float:
        while not flag.exists():
            time.sleep(0.01)
        return 1.0

    future = Rewards([RewardSpec(waits, timeout=60)]).submit(samples(4))
    assert not future.done()
    flag.touch()
    assert values(future.result(60)) == [1.0] * 4


def test_calls_of_one_reward_are_shared_among_workers(tmp_path: Path) -> None:
    """No call ends before each worker has begun one, however slowly it starts."""
    size = firewall.pool().size
    assert size >= 2

    def waits(completion: str) -> float:
        (tmp_path / str(os.getpid())).touch()
        while len(list(tmp_path.iterdir())) < size:
            time.sleep(0.01)
        return float(os.getpid())

    assert len(set(values(score(waits, 16, timeout=60)))) == size


# --- async
# -------------------------------------------------------------------------------------------------------------


def test_async_calls_wait_together_and_one_that_waits_too_long_is_no_verdict() -> None:
    async def judge(completion: str) -> float:
        await asyncio.sleep(60 if completion == "c1" else 0.2)
        return 1.0

    started = time.monotonic()
    rewards = Rewards([RewardSpec(judge, name="r", timeout=0.6)])
    assert values(rewards.score(samples(64))) == [1.0, None, *[1.0] * 62]
    assert time.monotonic() - started < 3
    assert rewards.take_faults()[0]["fault"] == "timeout"


def test_an_async_call_that_blocks_the_loop_is_killed_alone() -> None:
    async def blocks(completion: str) -> float:
        await asyncio.sleep(0)
        while completion == "c1":
            pass
        return 1.0

    async def stubborn(completion: str) -> float:
        while completion == "c1":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        return 1.0

    scored = score(blocks, timeout=0.5)
    assert values(scored) == [1.0, 0.0, 1.0, 1.0]
    assert values(score(stubborn, timeout=0.5)) == [1.0, None, 1.0, 1.0]


# --- faults
# ------------------------------------------------------------------------------------------------------------


def test_all_of_a_first_batch_is_too_much() -> None:
    def fails(completion: str) -> float:
        raise ValueError(completion)

    assert values(score(fails, 7)) == [None] * 7
    with pytest.raises(FaultBudgetError) as caught:
        score(fails, 8)
    assert str(caught.value).startswith(
        "Reward 'r' failed on all 8 completions of the first batch. The first: Reward 'r'"
        " (test_firewall.py:"
    )
    assert "raised ValueError: c0 on row 0, completion 'c0'." in str(caught.value)


def test_a_tenth_of_the_last_200_is_too_much_and_less_is_not() -> None:
    fails = RewardSpec(lambda row: 1 / (row % 10), name="r")
    some = Rewards([fails])
    for _ in range(3):
        assert sum(value is None for value in values(some.score(samples(100)))) == 10
    with pytest.raises(
        FaultBudgetError, match=r"21 of the last 200 completions \(1.%; at most 10% may\)"
    ):
        some.score([Sample("", row=0), Sample("", row=10)])


def test_completions_that_all_run_out_of_time_stop_the_run_too() -> None:
    def late(completion: str) -> float:
        while True:
            pass

    with pytest.raises(
        FaultBudgetError, match="ran out of time or memory on all 8 .* raise its timeout of 0.2 s"
    ):
        score(late, 8, timeout=0.2)


def test_a_recorded_call_can_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def picky(completion, answer, scale=1):\n    return scale / len(completion.strip('c1'))\n"
        "def all_at_once(prompts, completions, **rest):\n    return [1 / 0 for _ in completions]\n"
    )
    specs = [
        RewardSpec("mine.py:picky", args={"scale": 3}), RewardSpec("mine.py:all_at_once", style="trl", weight=0),
        RewardSpec(lambda completion: 1 / 0, name="own", weight=0),
    ]  # fmt: skip
    rewards = Rewards(specs, tmp_path)
    assert values(rewards.score(samples())) == [3.0, None, 3.0, 3.0]
    run = Run.create(tmp_path / "run", {"name": "r"})
    records = rewards.take_faults()
    places = run.log_faults(records)
    assert places[0] == f"{run.path}/faults.jsonl:1"
    assert (
        replay_command(records[0], places[0])
        == f"llmpolicy check-reward mine.py:picky --replay {places[0]}"
    )
    told = replay(run.path / "faults.jsonl", 1)
    assert "mine.picky (mine.py:picky), row 1 at step 0" in told
    assert (
        "now        failed after" in told and "ZeroDivisionError: division by zero\n" in told + "\n"
    )
    assert "in all_at_once" in replay(run.path / "faults.jsonl", 2)
    with pytest.raises(RewardError, match="'own' was a function of a Python session"):
        replay(run.path / "faults.jsonl", 3)
    for line in (0, 99):
        with pytest.raises(RewardError, match="holds no recorded call"):
            replay(run.path / "faults.jsonl", line)
    (tmp_path / "mine.py").write_text("def picky(completion, answer, scale=1):\n    return 0.5\n")
    assert "now        0.5 in " in replay(run.path / "faults.jsonl", 1)
    assert [
        json.loads(line)["schema"] for line in (run.path / "faults.jsonl").read_text().splitlines()
    ] == [1] * 6


# --- the end
# -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys, time
from llmpolicy.rewards import Rewards, RewardSpec, Sample
from llmpolicy.rewards.workers import pool as firewall

def spins(completion):
    while completion == "spin":
        pass
    return 1.0

rewards = Rewards([RewardSpec(spins, timeout=60)])
rewards.score([Sample("x")])
future = rewards.submit([Sample("spin")])
time.sleep(0.3)
print(*[worker.pid for worker in firewall.pool().workers()], flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("sys.exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGINT); rewards.score([Sample('spin')])", -signal.SIGINT),
        ("signal.setitimer(signal.ITIMER_REAL, 0.3); signal.signal(signal.SIGALRM, signal.default_int_handler); "
         "rewards.score([Sample('spin')])", -signal.SIGINT),
        ("pid = os.fork(); pid or time.sleep(3); os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)  # fmt: skip
def test_workers_end_with_their_parent_however_that_ends(end: str, code: int) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == code
    pid, *_ = [int(word) for word in done.stdout.split()]
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - started < 20
        time.sleep(0.05)


def test_a_fork_has_workers_of_its_own() -> None:
    mine = values(score(lambda completion: float(os.getpid()), 1))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            theirs = values(score(lambda completion: float(os.getpid()), 1))
            os.write(write, json.dumps(theirs).encode())
            firewall.pool().close()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        theirs = json.loads(told.read())
    os.waitpid(child, 0)
    assert theirs and theirs != mine
    assert values(score(lambda completion: float(os.getpid()), 1)) != theirs


def test_ctrl_c_frees_the_worker_for_what_comes_next() -> None:
    rewards = Rewards([RewardSpec(sleeps, name="r", timeout=60)])
    threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        rewards.score([Sample("c1")])
    assert values(rewards.score([Sample("c0")] * 2)) == [1.0, 1.0]
    assert time.monotonic() - started < 4


# --- slow: what many calls leave behind, what a call costs
# ---------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_calls_leave_nothing_behind() -> None:
    def sometimes(completion: str, row: int) -> float:
        if row % 2500 == 7:
            time.sleep(60)
        if row % 1000 == 5:
            raise ValueError
        return 1.0

    def seen() -> tuple[set[int], int, int, float]:
        me = psutil.Process()
        return (
            {child.pid for child in me.children(recursive=True)},
            me.num_threads(),
            me.num_fds(),
            me.memory_info().rss / 2**20,
        )

    rewards = Rewards([RewardSpec(sometimes, name="r", timeout=0.5), RewardSpec("exact:match")])
    rewards.score([Sample(f"warm {i}", {"answer": ""}, row=i) for i in range(500)])
    before = seen()
    for start in range(500, 10_500, 500):
        rewards.score([Sample(f"c{i}", {"answer": ""}, row=i) for i in range(start, start + 500)])
    after = seen()
    late = 2 * firewall.pool().size  # a late worker, and its keeper, give their places to others
    assert len(after[0] - before[0]) <= late and len(after[0]) <= max(len(before[0]), late)
    assert (
        after[1] <= before[1] + firewall.pool().size
        and after[2] <= before[2] + 3 * firewall.pool().size
    )
    assert after[3] < before[3] + 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "function", [lambda completion, answer: 1.0, "exact:match", "formats:boxed", "numeric:equal"]
)
def test_isolation_costs_at_most_ten_calls_and_a_tenth_of_a_millisecond_a_sample(
    function: Any,
) -> None:
    batch = [Sample(f"{i} is \\boxed{{{i}}}", {"answer": str(i)}, row=i) for i in range(512)]
    apart = Rewards([RewardSpec(function, name="r")])
    (component,) = apart.components
    arguments = [
        {
            "completion": one.completion,
            **({"answer": one.columns["answer"]} if "answer" in component.columns else {}),
        }
        for one in batch
    ]
    apart.score(batch)

    def seconds(work: Callable[[], Any]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    def here() -> None:
        for one in arguments:
            component.function(**one)

    pairs = [(seconds(here), seconds(lambda: apart.score(batch))) for _ in range(15)]
    direct, isolated = (sorted(times)[7] for times in zip(*pairs, strict=True))
    print(
        f"{function}: {1e6 * direct / 512:.1f} us the call itself, {1e6 * isolated / 512:.1f} us in"
        " a worker"
    )
    assert isolated <= 10 * direct + 512 * 1e-4


def test_a_record_is_never_read_half_written() -> None:
    """A torn read once took a call for hours old: index and clock must come from the same write."""
    descriptor = shared_memory()
    progress = Progress(descriptor)
    code = (
        "import itertools, sys; from llmpolicy.rewards.workers.progress import Progress; write ="
        " Progress(int(sys.argv[1])).write\nfor n in itertools.count(1): write(n, started=float(n),"
        " importing=float(n)), sum(range(50))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(descriptor)], pass_fds=[descriptor], cwd=ROOT
    )
    try:
        while progress.read().index == 0:
            assert writer.poll() is None
        read: list[Any] = []
        until = time.monotonic() + 300  # where other work has the cores
        while len({one.index for one in read}) <= 1_000 and time.monotonic() < until:
            found = [progress.read() for _ in range(10_000)]
            read += [
                one for one in found if one.importing
            ]  # 0: the writer was too quick to be read: it is not late
    finally:
        writer.kill()
        writer.wait()
        os.close(descriptor)
    assert len({one.index for one in read}) > 1_000
    # A writer that lost the processor within a write shows the call before; what it never shows is
    # a clock at 0.
    assert all(
        abs(one.index - one.started) <= 1 and abs(one.index - one.importing) <= 1 for one in read
    )


def test_a_worker_that_has_long_been_idle_is_not_late() -> None:
    worker = SimpleNamespace(
        progress=SimpleNamespace(read=lambda: Position(IDLE, 0.0, 0.0)), demand=lambda: 0.0
    )
    seconds, _ = Clock(worker).seconds(lambda index: 5.0)
    assert seconds < 1.0
