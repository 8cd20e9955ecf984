"""Run every hostile program in one mechanism, with a witness outside; also as a program of its own,
for another user.

``python sandbox_suite.py MECHANISM [forbid-namespaces]`` prints one JSON line: what the probe said,
and what went wrong.
"""

import errno
import json
import os
import select
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hostile import HOSTILE

from llmpolicy.sandbox import MECHANISMS, Execution, Job, Limits, Pool, Probe, SandboxFault, probe

LIMITS = Limits(cpu=0.3, output=2**18)
FEW = (
    "loop", "sleep", "raise the limits", "fork bomb", "fork by the raw call", "many threads", "daemon", "two gigabytes", "large file",
    "many files", "read a file", "read through a link", "read by way of /proc", "read other processes", "read the environment",
    "descriptors left open", "TCP", "UDP", "abstract Unix socket", "message from a pair", "netlink, packet, vsock", "signal the parent",
    "signal by the raw calls", "trace the parent", "limits and priority of the parent", "user namespace", "mount, chroot, pivot",
    "become root", "rare system calls", "calls of 32 bits", "open by handle", "stop itself",
)  # fmt: skip
"""Those that another user, or a process in a container, tries again."""

SLACK = 4.0
"""Seconds beyond the limit by the clock that a run may take on a crowded machine."""


@dataclass
class Witness:
    """What lies outside and would show that something came out."""

    names: dict[str, str]
    canary: str
    folder: Path
    stat: tuple[int, int, int]
    listening: list[socket.socket]

    def seen(self) -> list[str]:
        """What came out since the last look: connections, datagrams, files."""
        ready = select.select(self.listening, [], [], 0)[0]
        escapes = [f"a connection or datagram on {endpoint.getsockname()!r}" for endpoint in ready]
        escapes += [
            f"a file {path}"
            for path in self.folder.iterdir()
            if path.name not in ("canary", "link", "socket")
        ]
        places = (Path(folder) for folder in ("/tmp", "/var/tmp", "/dev/shm", "/"))
        escapes += [
            f"a file {path}"
            for folder in places
            if folder.is_dir()
            for path in folder.glob("llmpolicy-hostile*")
        ]
        if (
            not (self.folder / "canary").is_file()
            or (self.folder / "canary").read_text() != self.canary
        ):
            escapes.append("the canary was changed")
        elif facts(self.folder / "canary") != self.stat:
            escapes.append("the canary's mode or times were changed")
        return escapes


def facts(path: Path) -> tuple[int, int, int]:
    """Mode, owner and time of change of a file."""
    stat = path.stat()
    return stat.st_mode, stat.st_uid, stat.st_mtime_ns


@contextmanager
def witness() -> Iterator[Witness]:
    """A canary and a link to it, a folder that everyone may write, and four sockets that listen."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        canary = f"CANARY-{os.urandom(8).hex()}"
        (folder / "canary").write_text(canary)
        (folder / "link").symlink_to(folder / "canary")
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port, abstract = tcp.getsockname()[1], f"llmpolicy-{os.urandom(8).hex()}"
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", port))
        listening = [tcp, udp]
        for address, kind in (
            (f"\0{abstract}", socket.SOCK_STREAM),
            (str(folder / "socket"), socket.SOCK_STREAM),
        ):
            listening.append(stack.enter_context(socket.socket(socket.AF_UNIX, kind)))
            listening[-1].bind(address)
            listening[-1].listen()
        names = {
            "CANARY": str(folder / "canary"), "LINK": str(folder / "link"), "MARK": str(folder / "mark"),
            "PORT": str(port), "ABSTRACT": abstract, "SOCKET": str(folder / "socket"), "PARENT": str(os.getpid()),
        }  # fmt: skip
        yield Witness(names, canary, folder, facts(folder / "canary"), listening)


def family(root: int) -> set[int]:
    """A process and all that come from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal():
                parents[int(entry.name)] = int(
                    (entry / "stat").read_bytes().rpartition(b")")[2].split()[1]
                )
        except OSError:
            continue
    known = {root}
    while more := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= more
    return known


def run_all(
    pool: Pool, only: tuple[str, ...] = tuple(HOSTILE)
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """How each program ended, and what escaped or stalled, by the name of the program."""
    # An interpreter in WebAssembly takes as much to start as the others have in all.
    limits = replace(LIMITS, cpu=0.8) if pool.name == "wasm" else LIMITS
    ended: dict[str, str] = {}
    wrong: dict[str, list[str]] = {}
    with witness() as outside:
        pool.run(Job("pass"), limits)
        keeper = pool._slots[0]._keeper
        before = family(keeper.pid)
        for name in only:
            source = HOSTILE[name]
            for placeholder, value in outside.names.items():
                source = source.replace(f"@{placeholder}@", value)
            began = time.monotonic()
            try:
                outcome = pool.run(Job(source), limits)
            except SandboxFault as fault:
                # On a machine that many share a loop may get no processor time: that is said, and
                # is no escape.
                if "too busy" not in str(fault):
                    raise
                outcome = Execution("waited", why=str(fault))
            took = time.monotonic() - began
            text = outcome.stdout + outcome.why
            escapes = outside.seen()
            escapes += [f"it said {text.strip()[:200]!r}"] * (
                "ESCAPED" in text or outside.canary in text
            )
            escapes += [f"it took {took:.1f} s"] * (took > limits.patience + SLACK)
            escapes += _processes(pool, keeper, before)
            if pool.name != "wasm" or outcome.ended in ("died", "processor", "waited"):
                control = pool.run(Job("print(6 * 7)"), LIMITS if pool.name != "wasm" else limits)
                escapes += [f"the next program failed: {control.why}"] * (control.stdout != "42\n")
            ended[name] = f"{outcome.ended} {outcome.why}".strip()
            if escapes:
                wrong[name] = escapes
    return ended, wrong


def _processes(pool: Pool, keeper: object, before: set[int]) -> list[str]:
    faults = []
    if pool._slots[0]._keeper is not keeper or keeper.poll() is not None:
        faults.append("the keeper did not survive")
    until = time.monotonic() + 1  # a keeper uses up process numbers for a moment
    while (left := family(keeper.pid) - before) and time.monotonic() < until:
        time.sleep(0.01)
    return [*faults, f"processes are left: {left}"] if left else faults


def forbid_namespaces() -> None:
    """What a container's seccomp profile does to this process and all that come from it: no new
    namespaces, no mounts.
    """
    from llmpolicy.sandbox.inside import seccomp

    load, mask, equal, leave = 0x20, 0x54, 0x15, 0x06
    allow, refuse, absent = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    code = [(load, 0, 0, 0)]
    # unshare, setns, mount, umount2, pivot_root, and the newer calls that mount
    for number in (272, 308, 165, 166, 155, 428, 429, 430, 431, 432, 442):
        code += [(equal, 0, 1, number), (leave, 0, 0, refuse)]
    code += [(equal, 0, 1, 435), (leave, 0, 0, absent)]  # clone3, whose flags cannot be seen
    code += [
        (equal, 0, 4, 56),
        (load, 0, 0, 16),
        (mask, 0, 0, 0x7E020000),
        (equal, 1, 0, 0),
        (leave, 0, 0, refuse),
    ]
    code.append((leave, 0, 0, allow))
    seccomp.install(b"".join(struct.pack("<HBBI", *step) for step in code))


def main() -> None:
    """Probe the mechanisms that are named, and run all programs in the last one."""
    names = [name for name in sys.argv[1:] if name in MECHANISMS]
    if "forbid-namespaces" in sys.argv:
        forbid_namespaces()
    reasons = {}
    for name in names:
        tried = probe(name, 1)
        reasons[name] = tried.why if isinstance(tried, Probe) else ""
    result: dict[str, object] = {"uid": os.getuid(), "probes": reasons}
    if not reasons[names[-1]]:
        result["ended"], result["wrong"] = run_all(tried, FEW)
        tried.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
