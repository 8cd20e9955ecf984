"""What a program can learn beside its own input: nothing of what is expected of it, by any way that
leads into the sandbox.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blind import CHANNELS, FORGERS, SECRETS
from programs import CHEATS, HIDDEN

from llmpolicy.rewards import RewardError, Rewards, RewardSpec, Sample
from llmpolicy.sandbox import MECHANISMS, Execution, Job, Limits, Pool, probe, unsafe
from reward_fns.code_tests import passes

ROOT = Path(__file__).parent.parent
CALLS = [{"function": "f", "args": [x], "expected": y} for x, y in HIDDEN]
PROGRAMS = [{"stdin": f"{x}\n", "stdout": f"{y}\n"} for x, y in HIDDEN]


@pytest.fixture(scope="module", params=MECHANISMS)
def box(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """One keeper of each mechanism of this machine, so that all tests of a row come one after
    another in it.
    """
    pool = probe(request.param, 1)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    yield pool
    pool.close()


class Recorded:
    """A pool that keeps the outcomes."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.outcomes = pool, []

    def each(self, jobs: list[Job], limits: Limits) -> Iterator[Execution]:
        for job in jobs:
            self.outcomes.append(self.pool.run(job, limits))
            yield self.outcomes[-1]


EVERYTHING = r"""
import gc, os, sys

def plain(value, depth=0):
    if type(value) is str:
        return value if not (len(value) == 32 and not value.strip("0123456789abcdef")) else "a nonce"
    if value is None or type(value) in (bool, int, bytes):
        return value
    if type(value) in (list, tuple) and depth < 6:
        return [plain(one, depth + 1) for one in value]
    if type(value) is dict and depth < 6:
        return [[plain(key, depth + 1), plain(one, depth + 1)] for key, one in value.items()]
    return type(value).__name__

def attempt(what, *arguments):
    try:
        return plain(what(*arguments))
    except BaseException as error:
        return type(error).__name__

def limits():
    import resource
    return {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")}

def descriptor(fd):
    stat = os.fstat(fd)
    return [stat.st_mode, stat.st_size, stat.st_nlink, stat.st_uid, stat.st_blocks]

def writable(fd):
    # How far a file may grow, found by trying.
    low, high = 0, 2**40
    while low < high:
        middle = (low + high + 1) // 2
        try:
            os.ftruncate(fd, middle); low = middle
        except (OSError, ValueError):
            high = middle - 1
    os.ftruncate(fd, 0)
    return low

def frames():
    seen, frame = [], sys._getframe()
    while frame:
        seen.append([frame.f_code.co_name, plain({k: v for k, v in frame.f_locals.items() if k not in ("frame", "seen")})])
        frame = frame.f_back
    return seen[2:]

def records():
    names = ("output", "memory", "job", "nonce", "call", "args", "most", "expected", "room", "listed")
    return sorted({repr(plain(one)) for one in gc.get_objects() if type(one) is dict and len(one) < 40 and any(n in one for n in names)})

def f(x):
    return [
        attempt(limits), [attempt(descriptor, fd) for fd in range(16)], [attempt(writable, fd) for fd in range(16)],
        attempt(frames), attempt(records), plain(dict(os.environ)), plain(sys.argv), plain(sys.path), attempt(os.getcwd),
        sorted(sys.modules), attempt(os.listdir, "/tmp"), attempt(os.listdir, "."), attempt(os.listdir, "/dev/shm"),
        [attempt(open, f"/proc/{name}") for name in ("self/mem", "self/maps", "self/environ", "self/cmdline", "self/limits", "1/stat", "locks", "loadavg")],
        attempt(lambda: list(os.sched_getaffinity(0))), hash("x"),
        attempt(lambda: os.umask(0)), attempt(lambda: os.getpriority(0, 0)),
    ]
"""
"""Tells all that a function can find out about where it runs, but for clocks, process numbers and
addresses.
"""

EXPECTATIONS: list[Any] = [
    True,
    False,
    None,
    "yes",
    "no",
    3,
    10**40,
    "y" * 5000,
    list(range(3000)),
    {"a": [1.5] * 900},
]


def test_all_that_can_be_seen_is_the_same_whatever_is_expected(
    box: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    for expected in EXPECTATIONS if box.name != "wasm" else EXPECTATIONS[:7:2]:
        recorded = Recorded(box)
        monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_, recorded=recorded: recorded)
        score = passes(EVERYTHING, tests=[{"function": "f", "args": [1], "expected": expected}])
        assert score.value == 0.0 and [one.ended for one in recorded.outcomes] == ["returned"], (
            recorded.outcomes
        )
        seen[json.dumps(expected)] = recorded.outcomes[0].value
    assert len(json.dumps(seen["true"])) > 2000
    for expected, value in seen.items():
        assert value == seen["true"], expected
    for text in (
        "assert sorted(f(1)) == [1]",
        "assert f(1)",
        "assert not f(1)",
        "assert f(1) != 2",
        "assert len(f(1)) == 2",
        "assert max(f(1)) == 9",
    ):
        recorded = Recorded(box)
        monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_, recorded=recorded: recorded)
        passes(EVERYTHING, tests=text)
        assert recorded.outcomes[0].value == seen["true"], text


def test_a_program_sees_the_same_whatever_it_should_print(
    box: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = set()
    for expected in ("yes", "no", "maybe", "0", "n" * 100_000, "1\n" * 30_000):
        recorded = Recorded(box)
        monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_, recorded=recorded: recorded)
        # What a program's own frames and files show, without the file that it prints to.
        program = (
            EVERYTHING.replace("for fd in range(16)", "for fd in (0, 2, *range(3, 16))")
            + "\nprint(f(1))"
        )
        assert passes(program, tests=[{"stdin": "4", "stdout": expected}]).value == 0.0
        assert recorded.outcomes[0].ended == "finished", recorded.outcomes
        outputs.add(recorded.outcomes[0].stdout)
    assert len(outputs) == 1


BEFORE = [
    "pass",
    "import os; os._exit(77)",
    "raise SystemExit(3)",
    "print('x' * 9999)",
    "while True: pass",
    "import time; time.sleep(0.1)",
]


def test_nothing_is_left_of_an_earlier_test(box: Pool) -> None:
    limits, seen = Limits(cpu=0.2 if box.name != "wasm" else 0.8), []
    for before in BEFORE if box.name != "wasm" else BEFORE[:3]:
        box.run(Job(before), limits)
        outcome = box.run(Job(EVERYTHING, "f", (1,)), Limits())
        assert outcome.ended == "returned", outcome
        seen.append(outcome.value)
    assert seen == seen[:1] * len(seen)


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_expected_is_nowhere_in_the_process(
    box: Pool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, secret, shown = f"MARK{os.urandom(2).hex()}", os.urandom(8).hex(), os.urandom(8).hex()
    tests = [
        {
            "function": "f",
            "args": [mark.encode().hex(), *[f"{mark}{shown}"] * again],
            "expected": [f"{mark}{secret}"] * 9,
        }
        for again in (0, 1, 0)
    ]
    recorded = Recorded(box)
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: recorded)
    code = SECRETS[name].replace("def f(x)", "def f(x, *shown)")
    assert passes(code, tests=tests, partial=True).value == 0.0
    values = json.dumps([outcome.value for outcome in recorded.outcomes])
    if name == "the memory of the process" and box.name == "wasm":
        assert [outcome.ended for outcome in recorded.outcomes] == [
            "raised"
        ] * 3  # there is no ctypes
    else:
        assert [outcome.ended for outcome in recorded.outcomes] == ["returned"] * 3, (
            recorded.outcomes
        )
        # It does find what it may: its own argument.
        assert (f"{mark}{shown}".encode().hex()[:48] in values) is (
            name != "every descriptor and file"
        )
    assert f"{mark}{secret}".encode().hex()[:40] not in values


PATTERNS = (
    [True, False, True, True, False, True, False, False],
    [False, False, True, False, True, True, True, False],
    [True, True, False, True, False, False, False, True],
)
"""What eight tests expect. A program that guesses is right about all eight once in 256 times, so it
is paid only if it is right about every pattern."""


def told(code: str, shape: Callable[[int, bool], dict[str, Any]]) -> bool:
    """Whether a program is paid whatever its tests expect."""
    return all(
        passes(code, tests=[shape(*test) for test in enumerate(expected)], seconds=1.5).value
        for expected in PATTERNS
    )


@pytest.mark.slow
def test_a_program_that_reads_a_number_and_computes_nothing_is_not_paid(
    box: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if box.name == "wasm":
        pytest.skip(
            "a program in WebAssembly sees a clock and random numbers; all else is the same in"
            " every test"
        )
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: box)

    def call(number: int, expected: bool) -> dict[str, Any]:
        return {"function": "f", "args": [number], "expected": expected}

    def program(number: int, expected: bool) -> dict[str, Any]:
        return {"stdin": "1", "stdout": "yes" if expected else "no"}

    for name, code in CHANNELS.items():
        for flip in ("0", "1"):
            for shape in (call, program):
                assert not told(code.replace("FLIP", flip), shape), name


def test_the_room_of_its_result_tells_no_program_what_is_right(
    box: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if box.name == "wasm":
        pytest.skip("a program in WebAssembly cannot grow a file")
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: box)
    read = (
        "import os\ndef grown():\n    low, high = 0, 2**40\n    while low < high:\n        middle ="
        " (low + high + 1) // 2\n        try: os.ftruncate(1, middle); low = middle\n        except"
        " OSError: high = middle - 1\n    os.ftruncate(1, 0)\n    return low - 2**20\n"
    )
    for right in ("yes", "no"):
        code = read + "os.write(1, b'yes' if grown() == 2 * 5 + 64 else b'no')"
        assert passes(code, tests=[{"stdin": "", "stdout": right}]).value == float(right == "no")
    if box.name != "wasm":
        code = (
            "import resource\ndef f(x): return resource.getrlimit(resource.RLIMIT_FSIZE)[0] - 2**20"
            " == 72"
        )
        for right in (True, False):
            assert passes(
                code, tests=[{"function": "f", "args": [1], "expected": right}]
            ).value == float(right is False)


@pytest.mark.parametrize("name", FORGERS)
def test_a_forged_result_is_not_paid(name: str) -> None:
    for tests in (CALLS, PROGRAMS):
        score = passes(FORGERS[name], tests=tests, seconds=0.4)
        assert score.value == 0.0, score


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != "bubblewrap"])
def test_no_cheat_is_paid_in_another_sandbox(
    mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = probe(mechanism, 3)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: pool)
    programs = {**CHEATS, **FORGERS}
    if mechanism == "wasm":  # those that reach for what is its own there: how a result is written
        programs = {
            name: code
            for name, code in FORGERS.items()
            if "fd" in code or "frame" in code or "stdout" in code
        }
    try:
        for name, code in programs.items():
            for tests in (CALLS, PROGRAMS) if mechanism != "wasm" else (CALLS[1:], PROGRAMS[1:]):
                assert (
                    passes(code, tests=tests, seconds=0.5 if mechanism == "wasm" else 0.1).value
                    == 0.0
                ), name
    finally:
        pool.close()


def test_the_number_of_a_test_says_nothing_of_it(
    box: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reward_fns.code_tests.sandbox", lambda *_: box)
    if box.name == "wasm":
        pytest.skip("a program in WebAssembly has no number")
    expected = [True, False] * 8
    tests = [{"function": "f", "args": [i * i], "expected": one} for i, one in enumerate(expected)]
    for parity in (0, 1):
        code = f"import os\ndef f(x): return os.getpid() % 2 == {parity}"
        assert 0 < passes(code, tests=tests, partial=True).value < 1
        code = f"import os\ndef f(x): return os.getpid() // 2 % 2 == {parity}"
        assert 0 < passes(code, tests=tests, partial=True).value < 1


def test_what_is_expected_is_larger_than_a_program_may_write() -> None:
    score = passes(
        "print(1)", tests=[{"stdin": "", "stdout": "1"}, {"stdin": "", "stdout": "x" * 2**25}]
    )
    assert score.value is None and "test 1 expects up to" in score.why
    many = {"stdin": "", "stdout": "x" * 3 * 10**6}
    assert passes("import sys\nsys.stdout.write('x' * 3 * 10**6)", tests=[many]).value == 1.0
    assert (
        passes(
            "import sys\nsys.stdout.write('x' * 3 * 10**6)", tests=[{"stdin": "", "stdout": "x"}]
        ).value
        == 0.0
    )


# --- the sandbox is turned off by the command line alone
# ---------------------------------------------------------------


def where(completion: str) -> float:
    """1.0 where a reward's code would run without a sandbox."""
    from llmpolicy.sandbox import sandbox

    return float(sandbox().name == "unsafe")


def in_a_worker() -> float | None:
    return Rewards([RewardSpec(where, name="where")]).score([Sample("x", {}, row=0)])[0].value


@pytest.mark.parametrize("value", ["1", "true", "$$", "0", str(os.getppid())])
def test_no_variable_turns_the_sandbox_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLMPOLICY_UNSAFE_LOCAL_EXEC", "LLMPOLICY_UNSAFE", "UNSAFE_LOCAL_EXEC"):
        monkeypatch.setenv(name, value.replace("$$", str(os.getpid())))
    assert not unsafe.was_allowed() and where("") == 0.0 and in_a_worker() == 0.0


def test_the_permit_reaches_workers_and_nobody_else() -> None:
    unsafe.allow(True)
    try:
        assert where("") == 1.0 and in_a_worker() == 1.0
        code = (
            "import os; from llmpolicy.sandbox import sandbox; print(sandbox().name, any('UNSAFE'"
            " in name for name in os.environ))"
        )
        child = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
        assert child.stdout.split() in [[name, "False"] for name in MECHANISMS], child.stderr
    finally:
        unsafe.allow(False)
    assert where("") == 0.0 and in_a_worker() == 0.0


def test_no_recipe_and_no_row_turns_the_sandbox_off() -> None:
    with pytest.raises(RewardError, match="takes no argument 'unsafe_local_exec'"):
        Rewards([RewardSpec("code_tests:passes", args={"unsafe_local_exec": True}, name="code")])
    rows = [
        Sample(
            "import os\nprint(os.path.exists('/etc/passwd') and open('/etc/passwd').read(4))",
            {"answer": "root", "unsafe_local_exec": True},
            row=0,
        )
    ]
    assert Rewards([RewardSpec("code_tests:passes", name="code")]).score(rows)[0].value == 0.0
