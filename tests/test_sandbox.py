"""The sandbox: the filter call by call, whose fault a failure is, refusals in words, and hostile
programs in each mechanism.
"""

import json
import os
import platform
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import sandbox_suite
from hostile import HOSTILE

from llmpolicy.errors import SandboxFault, SandboxUnavailable
from llmpolicy.sandbox import MECHANISMS, Job, Limits, Pool, probe, unsafe
from llmpolicy.sandbox.confined import find_bubblewrap, interpreter, start_bubblewrap
from llmpolicy.sandbox.inside import seccomp
from llmpolicy.sandbox.selftest import why_not_closed
from llmpolicy.session import train_recipe

ROOT = Path(__file__).parent.parent
LINUX_X86 = sys.platform == "linux" and platform.machine() == "x86_64"
LIMITS = Limits(cpu=1)
ALLOW, EPERM, ENOSYS, ENOMEM, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x0005000C, 0x80000000


def verdict(code: bytes, number: int, arguments=(), arch: int = 0xC000003E) -> int:
    """What the kernel would do: classic BPF interpreted here, over struct seccomp_data."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = [struct.unpack_from("<HBBI", code, 8 * i) for i in range(len(code) // 8)]
    position, register = 0, 0
    while True:
        what, yes, no, value = steps[position]
        position += 1
        if what == 0x20:
            register = struct.unpack_from("<I", data, value)[0]
        elif what == 0x54:
            register &= value
        elif what in (0x15, 0x35):
            position += yes if (register == value if what == 0x15 else register >= value) else no
        else:
            assert what == 0x06
            return value


@pytest.mark.parametrize(
    ("call", "number", "arguments", "expected"),
    [
        ("read", 0, (), ALLOW), ("openat", 257, (), ALLOW), ("fork", 57, (), EPERM), ("vfork", 58, (), EPERM),
        ("execve", 59, (), EPERM), ("execveat", 322, (), EPERM), ("socket", 41, (2, 1), EPERM), ("connect", 42, (), EPERM),
        ("kill itself", 62, (77, 6), ALLOW), ("kill another", 62, (1, 9), EPERM), ("kill its group", 62, (0, 9), EPERM),
        ("kill all", 62, (2**64 - 1, 9), EPERM), ("tgkill itself", 234, (77, 78, 6), ALLOW), ("tkill", 200, (78, 9), EPERM),
        ("clone of a process", 56, (17,), EPERM), ("clone of a thread", 56, (0x3D0F00,), ALLOW), ("clone3", 435, (), ENOSYS),
        ("new namespace", 56, (0x10000000,), EPERM), ("unshare", 272, (), EPERM), ("ptrace", 101, (), EPERM),
        ("own limits", 302, (0, 0), ALLOW), ("another's limits", 302, (1, 0), EPERM), ("flags of a file", 72, (3, 3), ALLOW),
        ("owner of a file", 72, (3, 8), EPERM), ("is it a terminal", 16, (0, 0x5401), ALLOW), ("type into it", 16, (0, 0x5412), EPERM),
        ("pair of streams", 53, (1, 0x80801), ALLOW), ("pair of datagrams", 53, (1, 2), EPERM), ("pair of another family", 53, (2, 1), EPERM),
        ("send", 44, (3, 9, 1, 0, 0, 0), ALLOW), ("send to", 44, (3, 9, 1, 0, 1, 16), EPERM), ("send to a high address", 44, (3, 9, 1, 0, 2**32, 16), EPERM),
        ("memory", 9, (0, 4096, 3, 0x22), ALLOW), ("small stack", 9, (0, 4096, 3, 0x20022), ENOMEM), ("stack", 9, (0, 2**23, 3, 0x20022), ALLOW),
        ("huge stack", 9, (0, 2**33, 3, 0x20022), ALLOW), ("io_uring", 425, (), EPERM), ("unknown", 9999, (), EPERM), ("x32", 0x40000000, (), EPERM),
    ],
)  # fmt: skip
def test_the_filter_call_by_call(call, number, arguments, expected):
    assert verdict(seccomp.program("x86_64", 77), number, arguments) == expected, call


def test_the_filter_of_another_architecture():
    x86, arm = seccomp.program("x86_64", 77), seccomp.program("aarch64", 77)
    assert verdict(x86, 0, arch=0x40000003) == verdict(arm, 63, arch=0xC000003E) == KILL
    arch = 0xC00000B7
    for number, arguments, expected in (
        (63, (), ALLOW), (221, (), EPERM), (198, (), EPERM), (220, (17,), EPERM), (220, (0x3D0F00,), ALLOW),
        (129, (1, 9), EPERM), (129, (77, 9), ALLOW), (435, (), ENOSYS), (222, (0, 4096, 3, 0x20022), ENOMEM), (97, (), EPERM),
    ):  # fmt: skip
        assert verdict(arm, number, arguments, arch) == expected, number


def available() -> list[str]:
    tried = {name: probe(name, 1) for name in ("bubblewrap", "landlock")}
    for pool in tried.values():
        if isinstance(pool, Pool):
            pool.close()
    return [name for name, pool in tried.items() if isinstance(pool, Pool)]


@pytest.mark.skipif(not LINUX_X86, reason="namespaces and Landlock are Linux's")
def test_two_mechanisms_work_here():
    assert available() == ["bubblewrap", "landlock"]


def test_a_plain_process_does_not_pass_the_self_test():
    pool = unsafe.pool()
    try:
        assert "read a file of the host" in why_not_closed(pool)
        assert pool.run(Job("print(1)"), LIMITS).stdout == "1\n"
    finally:
        pool.close()


def test_each_run_is_a_process_of_its_own():
    pool = probe("landlock", 1)
    if not isinstance(pool, Pool):
        pytest.skip(pool.why)
    try:
        for _ in range(2):
            left = pool.run(
                Job("import builtins; print(hasattr(builtins, 'left')); builtins.left = 1"), LIMITS
            )
            assert left.stdout == "False\n"
        order = [pool.run(Job("print({'a', 'b', 'c', 'd', 'e'})"), LIMITS).stdout for _ in range(2)]
        pool._slots[0].close()
        assert order == [pool.run(Job("print({'a', 'b', 'c', 'd', 'e'})"), LIMITS).stdout] * 2
    finally:
        pool.close()


@pytest.mark.skipif(not LINUX_X86, reason="bubblewrap is Linux's")
def test_a_sandbox_that_vanishes_is_a_fault(tmp_path):
    binary = tmp_path / "bwrap"
    binary.symlink_to(find_bubblewrap())
    pool = Pool("vanishing", partial(start_bubblewrap, str(binary), True), 1)
    try:
        assert pool.run(Job("print(1)"), LIMITS).stdout == "1\n"
        binary.unlink()
        os.killpg(pool._slots[0]._keeper.pid, signal.SIGKILL)
        pool._slots[0]._keeper.wait()
        for _ in range(50):  # on a busy machine what is being killed may still answer
            try:
                pool.run(Job("print(1)"), LIMITS)
            except SandboxFault:
                break
        with pytest.raises(SandboxFault, match="sandbox failed"):
            pool.run(Job("print(1)"), LIMITS)
    finally:
        pool.close()


def test_nothing_is_left_when_the_process_is_killed():
    code = """
import sys, time
from llmpolicy.sandbox import Job, Limits, sandbox
import threading
box = sandbox()
threading.Thread(target=box.run, args=(Job("while True: pass"), Limits(cpu=60)), daemon=True).start()
time.sleep(1)
print(*[slot._keeper.pid for slot in box._slots if slot._keeper], flush=True)
time.sleep(60)
"""
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    roots = [int(pid) for pid in started.stdout.readline().split()]
    known = set().union(*map(sandbox_suite.family, roots))
    assert roots and len(known) > len(roots)
    started.kill()
    started.wait()
    started.stdout.close()
    end = time.monotonic() + 10
    while (
        left := {pid for pid in known if Path(f"/proc/{pid}").is_dir()}
    ) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


@pytest.mark.skipif(not LINUX_X86, reason="the filter of this test is for x86-64")
def test_in_a_container_bubblewrap_says_why_and_landlock_takes_over():
    report = alone(sys.executable, "bubblewrap", "landlock", "forbid-namespaces")
    assert (
        "errno 1, EPERM" in report["probes"]["bubblewrap"]
        and "allow user namespaces" in report["probes"]["bubblewrap"]
    )
    assert (
        report["probes"]["landlock"] == ""
        and report["wrong"] == {}
        and len(report["ended"]) == len(sandbox_suite.FEW)
    )


SYSTEM = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
OTHERS = [(65534, "landlock"), (65534, "bubblewrap"), (0, "bubblewrap")]


@pytest.mark.slow
@pytest.mark.skipif(not LINUX_X86 or os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("uid", "mechanism"), OTHERS)
def test_another_user_and_a_public_interpreter(uid, mechanism, tmp_path):
    if (
        SYSTEM is None
        or subprocess.run(
            [SYSTEM, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        ).returncode
    ):
        pytest.skip("there is no Python of the system, 3.11 or newer, that any user may run")
    report = alone(SYSTEM, mechanism, user=uid)
    assert report["uid"] == uid and report["probes"] == {mechanism: ""} and report["wrong"] == {}


def alone(python: str, *arguments: str, user: int | None = None) -> dict:
    """The suite in a process of its own, in a folder that any user can read."""
    bwrap = Path(find_bubblewrap()).parents[2]
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{bwrap}",
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
    }
    done = subprocess.run(
        [python, "-B", str(ROOT / "tests" / "sandbox_suite.py"), *arguments],
        capture_output=True, text=True, env=environment, cwd="/", user=user, group=user, extra_groups=[] if user else None,
    )  # fmt: skip
    if (
        user
        and "Permission denied" in done.stderr + done.stdout
        and "ModuleNotFoundError" in done.stderr
    ):
        pytest.skip("the folder of this checkout is not open to other users")
    return json.loads(done.stdout or json.dumps({"failed": done.stderr}))


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_no_hostile_program_escapes_or_stalls(name):
    assert len(HOSTILE) >= 60
    pool = probe(name, 1)
    if not isinstance(pool, Pool):
        assert not (LINUX_X86 and name in ("bubblewrap", "landlock")), pool.why
        pytest.skip(pool.why)
    try:
        ended, wrong = sandbox_suite.run_all(pool)
    finally:
        pool.close()
    assert wrong == {} and ended.keys() == HOSTILE.keys()


@pytest.mark.slow
def test_a_test_costs_at_most_three_plain_interpreters():
    pools = [
        pool
        for pool in (probe(name, 1) for name in ("bubblewrap", "landlock"))
        if isinstance(pool, Pool)
    ]
    job = Job("def f(x): return x + 1", "f", (1,))
    plain = [interpreter(), "-I", "-S", "-B", "-c", "print(2)"]
    times: dict[str, list[float]] = {"plain": [], **{pool.name: [] for pool in pools}}
    for _ in range(40):
        began = time.perf_counter()
        subprocess.run(plain, capture_output=True, check=True)
        times["plain"].append(time.perf_counter() - began)
        for pool in pools:
            began = time.perf_counter()
            assert pool.run(job, LIMITS).value == 2
            times[pool.name].append(time.perf_counter() - began)
    medians = {name: statistics.median(taken) * 1000 for name, taken in times.items()}
    for pool in pools:
        pool.close()
    print("ms per test:", {name: round(taken, 1) for name, taken in medians.items()})
    assert pools and max(medians.values()) <= 3 * medians["plain"], medians


def recipe(folder: Path) -> str:
    (folder / "code.yaml").write_text(
        "name: code\nmodel: {path: bundled}\ntask: {rows: ["
        + ", ".join(f"{{question: 'print {i}', answer: '{i}'}}" for i in range(64))
        + "]}\nrewards: [{fn: 'code_tests:passes', args: {seconds: 0.5}}]\ngrpo: {max_steps: 1,"
        " per_device_train_batch_size: 8, num_generations: 4, max_completion_length: 4,"
        " learning_rate: 0.001}\n"
    )
    return str(folder / "code.yaml")


def test_training_is_refused_before_a_model_loads(tmp_path, monkeypatch):
    def none():
        raise SandboxUnavailable("absent (errno 2, ENOENT); install it")

    from llmpolicy.sandbox import choose

    monkeypatch.setattr(choose, "MECHANISMS", dict.fromkeys(MECHANISMS, none))
    monkeypatch.setattr(choose, "_chosen", choose._Chosen(0, {}))
    with pytest.raises(
        SandboxUnavailable, match="bubblewrap: absent .errno 2, ENOENT.; install it; landlock"
    ):
        train_recipe(recipe(tmp_path), [], out=tmp_path / "run", say=lambda _: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("permitted", [True, False])
def test_a_run_records_where_code_ran(tmp_path, permitted):
    lines: list[str] = []
    run = train_recipe(
        recipe(tmp_path), [], out=tmp_path / "run", say=lines.append, unsafe_local_exec=permitted
    )
    assert (unsafe.WARNING in lines) is permitted
    assert run.manifest["code_runs_in"] in (
        ["unsafe"] if permitted else ["bubblewrap", "landlock", "wasm"]
    )
    assert not permitted or unsafe.was_allowed()
    unsafe.allow(False)
