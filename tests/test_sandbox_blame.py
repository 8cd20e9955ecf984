"""Who is to blame when a program comes to no result: whatever it does itself is its own failure,
never the machine's.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from llmpolicy.sandbox import MECHANISMS, Job, Limits, Pool, SandboxFault, probe
from llmpolicy.sandbox.inside.values import encode
from llmpolicy.sandbox.starved import starved
from reward_fns._code.values import Expected, Tolerance, agrees, same_output
from reward_fns.code_tests import passes

LIMITS = Limits(cpu=0.4)
LINUX = sys.platform == "linux"


@pytest.fixture(scope="module", params=MECHANISMS)
def box(request: pytest.FixtureRequest) -> Iterator[Pool]:
    pool = probe(request.param, 1)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    yield pool
    pool.close()


@contextlib.contextmanager
def crowd(pool: Pool, others: int) -> Iterator[None]:
    """Other processes that compute on the one processor that the keeper has, each in a session,
    which share it alike.
    """
    pool.run(Job("pass"), Limits())
    keeper = pool._slots[0]._number
    here = min(os.sched_getaffinity(0))
    spin = [
        sys.executable,
        "-S",
        "-c",
        f"import os\nos.sched_setaffinity(0, {{{here}}})\nwhile True: pass",
    ]
    busy = [subprocess.Popen(spin, start_new_session=True) for _ in range(others)]
    before = os.sched_getaffinity(keeper)
    try:
        os.sched_setaffinity(keeper, {here})
        time.sleep(0.2)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
        os.sched_setaffinity(keeper, before)


def napper(nap: float, spin: float) -> str:
    return (
        f"import time\nwhile True:\n    time.sleep({nap})\n    end = time.process_time() + {spin}\n"
        "    while time.process_time() < end: pass"
    )


NAPPERS = {
    "short naps": napper(1e-4, 0), "naps and spins": napper(1e-3, 1e-3), "one in twenty": napper(0.05, 2e-3), "long turns": napper(0.2, 0.01),
    "short turns": napper(0.01, 4e-4),
    "spins first": "end = __import__('time').process_time() + 0.3\nwhile __import__('time').process_time() < end: pass\n" + napper(0.01, 1e-3),
    "yields": "import os, time\nwhile True:\n    try: os.sched_yield()\n    except OSError: time.sleep(0)",
    "threads that nap": "import threading, time\ndef nap():\n    while True: time.sleep(0.001)\nfor _ in range(3): threading.Thread(target=nap, daemon=True).start()\nnap()",
    "threads that wait for one another": "import threading\na, b = threading.Semaphore(1), threading.Semaphore(0)\ndef turn(mine, other):\n    while True: mine.acquire(); sum(range(20000)); other.release()\nthreading.Thread(target=turn, args=(a, b), daemon=True).start()\nturn(b, a)",
    "one big sleep": "import time; time.sleep(1000)",
    "waits for an alarm": "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: sum(range(1000)))\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\nwhile True: signal.pause()",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="who waits for whom is told by Linux")
def test_naps_are_never_a_busy_machine() -> None:
    pool = probe("landlock", 1)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    try:
        with crowd(pool, 3):
            ended = {name: pool.run(Job(code), Limits(cpu=0.25)) for name, code in NAPPERS.items()}
    finally:
        pool.close()
    assert {outcome.ended for outcome in ended.values()} <= {"waited", "processor"}, ended


@pytest.mark.skipif(not LINUX, reason="who waits for whom is told by Linux")
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_a_machine_that_is_busy_is_no_failure_of_the_program(name: str) -> None:
    pool = probe(name, 1)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    computes = Job("import time\nwhile time.process_time() < 0.25: pass\nprint('done')")
    try:
        with crowd(pool, 2):
            outcome = pool.run(computes, LIMITS)
            assert outcome.stdout == "done\n" and outcome.alone < outcome.cpu + 0.4, outcome
        with crowd(pool, 24):
            with pytest.raises(SandboxFault, match="too busy"):
                pool.run(computes, Limits(cpu=0.2))
            assert pool.run(Job("import time; time.sleep(9)"), Limits(cpu=0.2)).ended == "waited"
    finally:
        pool.close()


def test_how_long_others_ran_is_told_while_a_job_runs(box: Pool) -> None:
    outcome = box.run(Job("import time; time.sleep(0.3); print(1)"), Limits())
    assert outcome.stdout == "1\n" and 0.3 < outcome.alone < 5
    assert starved(2**22 + 1) is None


@pytest.mark.skipif(not LINUX, reason="who waits for whom is told by Linux")
def test_a_job_may_end_while_it_is_looked_at() -> None:
    for _ in range(300):
        job = subprocess.Popen(["/bin/true"])
        looked = threading.Thread(target=job.wait)
        looked.start()
        while looked.is_alive():
            starved(os.getpid())
        looked.join()


OWN = {
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "stops a thread": "import os, signal, threading; threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGTSTP)).start()",
    "pauses": "import signal; signal.pause()",
    "waits for itself": "import threading; threading.Thread(target=threading.main_thread().join).start()",
    "waits for a pipe": "import os; os.read(os.pipe()[0], 1)",
    "fills a pipe": "import os\na, b = os.pipe()\nwhile True: os.write(b, b'x' * 65536)",
    "polls forever": "import select; select.select([], [], [])",
    "kills itself": "import os; os.kill(os.getpid(), 9)",
    "a signal of its own": "import os; os.kill(os.getpid(), 40)",
    "a huge exit code": "import sys; sys.exit(10**400)",
    "a negative exit code": "import os; os._exit(-9)",
    "an exit code that is a class": "class A(int):\n    def __int__(self): raise ValueError\nraise SystemExit(A(3))",
    "an exit code that cannot be told": "class A:\n    def __str__(self): raise RuntimeError\nraise SystemExit(A())",
    "an error that cannot be told": "class A(Exception):\n    def __str__(self): raise A\nraise A",
    "an error whose name is odd": "raise type('\\ud800\\n\\0', (Exception,), {})",
    "an error without a name": "class M(type):\n    __name__ = property(lambda self: 1 / 0)\nclass A(BaseException, metaclass=M): pass\nraise A",
    "closes everything": "import os; os.closerange(0, 1024); print(1)",
    "closes and opens": "import os\nos.closerange(0, 64)\nos.open('/dev/null', 0)\nos.write(0, b'x')",
    "writes to everything": "import os\nfor fd in range(64):\n    try: os.write(fd, b'confined\\xff\\0{}')\n    except OSError: pass\nos._exit(3)",
    "bytes that are no text": "import os; os.write(1, bytes(range(256)))",
    "half a surrogate": "print('\\ud800')",
    "truncates its output": "import os\nprint('x' * 999, flush=True)\nos.ftruncate(1, 0)",
    "an output with a hole": "import os; os.lseek(1, 2**24, 0); os.write(1, b'x')",
    "memory": "x = []\nwhile True: x.append(bytearray(2**20))",
    "memory without end": "x = []\nwhile True:\n    try: x.append(' ' * 10**6)\n    except MemoryError: pass",
    "descriptors": "import os\nwhile True: os.dup(0)",
    "threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()",
    "recursion": "def f(): f()\nf()",
    "recursion in C": "import sys\nsys.setrecursionlimit(10**9)\nx = lambda: x()\nx()",
    "not the code of a program": "\0",
    "a surrogate in the code": "x = '\ud800'",
    "a byte order mark": "\ufeff\ufeffprint(1)",
    "deep code": "(" * 9999,
    "long code": "x = 1;" * 30000 + "x(",
    "a dead atexit": "import atexit, os; atexit.register(os.kill, os.getpid(), 19)",
    "a dead thread at the end": "import threading, time; threading.Thread(target=time.sleep, args=(99,)).start()",
    "an audit hook": "import sys\ndef hook(*_): raise SystemExit(5)\nsys.addaudithook(hook)\nopen('x')",
    "no stdout": "import sys; del sys.stdout; del sys.__stdout__",
    "a stdout that raises": "import sys\nclass A:\n    def flush(self): raise KeyboardInterrupt\n    write = flush\nsys.stdout = A()",
    "no modules": "import sys; sys.modules.clear(); raise ValueError",
    "no builtins": "import builtins; [delattr(builtins, name) for name in dir(builtins) if name != 'delattr']",
}  # fmt: skip
"""Programs that come to no result, each by a way of its own."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_what_a_program_does_to_itself_is_its_own_failure(name: str) -> None:
    pool = probe(name, 4)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    try:
        list(pool.each([Job("pass")] * 8, Limits()))
        keepers = [slot._keeper for slot in pool._slots if slot._keeper]
        inside = (
            "def f():\n    try: exec({!r}, {{'__name__': '__main__'}})\n    except ArithmeticError:"
            " pass"
        )
        programs = [Job(code) for code in OWN.values()]
        calls = [Job(inside.format(code), "f") for code in OWN.values()] if name != "wasm" else []
        limits = Limits(cpu=0.8 if name == "wasm" else 0.1, memory=2**28)
        for job, outcome in zip(
            [*programs, *calls], pool.each([*programs, *calls], limits), strict=True
        ):
            assert not (job.call is None and outcome.stdout.startswith("1")), (job, outcome)
        assert [keeper for slot in pool._slots if (keeper := slot._keeper)] == keepers
        assert all(keeper.poll() is None for keeper in keepers)
        assert [one.stdout for one in pool.each([Job("print(6 * 7)")] * 4, Limits())] == [
            "42\n"
        ] * 4
    finally:
        pool.close()


def test_a_completion_of_odd_characters_is_judged() -> None:
    for text in (
        "\ud800",
        "```python\nprint('\ud800')\n```",
        "\0",
        "```python\n\0\n```",
        "\x1b]0;x\x07",
        "\u2028",
        "\ufeffprint(1)",
    ):
        assert passes(text, answer="1").value == 0.0, repr(text)


def test_many_naps_do_not_outlast_the_reward() -> None:
    naps, limits = (
        "import time\ndef f(x):\n    time.sleep(0.1)\n    return x",
        {
            "seconds": 0.5,
            "total_seconds": 1.0,
        },
    )
    tests = [{"function": "f", "args": [i], "expected": i} for i in range(60)]
    assert 0 < passes(naps, tests=tests, partial=True, **limits).value < 0.5
    assert passes(naps, tests=tests, **limits).value == 0.0


def test_what_was_returned_is_compared_in_time_that_grows_with_its_length() -> None:
    began = time.process_time()
    for digits in (
        "1" * 10**6 + "x",
        "1" * 10**6 + ".",
        "." + "1" * 10**6 + "e",
        "1" * 10**6 + "e" + "1" * 10**6,
    ):
        assert not same_output("0.5", digits, Tolerance())
    assert not same_output("1 " * 50_000 + "0.5", " " * 10**6 + "1", Tolerance())
    collide = [{"int": hex(k * (2**61 - 1))} for k in range(50_000)]
    wide = set(range(50_000))
    assert not agrees(Expected(wide), {"set": collide}, Tolerance())
    assert not agrees(Expected({frozenset(wide)}), {"set": [{"frozenset": collide}]}, Tolerance())
    assert not agrees(
        Expected(dict.fromkeys(wide, 1)), {"dict": [[key, 1] for key in collide]}, Tolerance()
    )
    assert agrees(Expected(wide), encode(wide), Tolerance()) and agrees(
        Expected(dict.fromkeys(wide, 1)), encode(dict.fromkeys(wide, 1)), Tolerance()
    )
    assert time.process_time() - began < 8


FORGED = [
    {"returned": {"dict": 5}}, {"returned": {"dict": [[]]}}, {"returned": {"dict": [[[1], 1]]}}, {"returned": {"set": [[1]]}}, {"returned": {"int": "0x"}},
    {"returned": {"int": 3}}, {"returned": {"float": "x"}}, {"returned": {"float": []}}, {"returned": {"complex": [1]}}, {"returned": {"complex": ["1", 2]}},
    {"returned": {"bytes": "0"}}, {"returned": {"items": 5}}, {"returned": {"items": {"items": []}}}, {"returned": {}}, {"returned": {"int": "0x1", "float": "1"}},
    {"returned": float("nan")}, {"returned": 1e999}, {"raised": {"a": [1]}}, {"raised": None}, {"a": 1}, [1], None, "x", {},
]  # fmt: skip
"""Lines that a program can write in place of its result, by the nonce that it finds."""

ASSERTS = "\n".join(
    f"assert {outer.replace('?', 'f(1)')} == 1"
    for outer in (
        "?",
        "set(?)",
        "sorted(?)",
        "list(?)",
        "tuple(?)",
        "len(?)",
        "sum(?)",
        "round(?)",
        "abs(?)",
        "str(?)",
        "int(?)",
        "float(?)",
        "max(?)",
        "bool(?)",
    )
)


@pytest.mark.parametrize(
    "said",
    [json.dumps(one) for one in FORGED]
    + [
        "9" * 5000,
        "[" * 99_999,
        '{"returned":' + "9" * 5000 + "}",
        '{"returned":"\\ud800"}',
        "\udcff",
    ],
)
def test_a_forged_result_is_judged(said: str) -> None:
    forge = f"""
import os, sys
def f(x):
    frame = sys._getframe()
    while 'nonce' not in frame.f_locals: frame = frame.f_back
    line = (frame.f_locals['nonce'] + {said!r} + '\\n').encode('utf-8', 'surrogateescape')
    for fd in range(64):
        try: os.write(fd, line)
        except OSError: pass
    os._exit(0)
"""
    score = passes(forge, tests=ASSERTS, partial=True)
    assert score.value is not None and score.value <= 2 / 14, score
