"""The keeper: a small single-threaded process that forks one confined child for each job, watches it and reaps it.

It speaks with the process that started it over one socket. A job arrives as one message of limits with the descriptors of
four files (job, input, output, error); the answer is one message of how the child ended. It never runs a candidate's code
and never reads what one wrote. It ends when the socket is closed.
"""

import array
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from . import candidate, confine, descendants, landlock

Job = Mapping[str, Any]
Child = Callable[[Job, Mapping[str, Any], Mapping[str, int], int], NoReturn]
"""What a forked process does with a job, its limits, its files and the descriptor on which it says that it is confined."""

_LARGEST = 65_536
_FILES = ("job", "input", "output", "error")
_LONGEST_NAP = 0.25
_PRELOADED = ("bisect", "collections", "decimal", "fractions", "functools", "heapq", "itertools", "math", "random", "re",
              "statistics", "string", "threading", "typing", "dataclasses", "copy", "operator", "datetime")  # fmt: skip


def main() -> None:
    """Serve jobs on the socket whose descriptor is the first argument; the second says which rules to use."""
    link, rules = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    for name in _PRELOADED:
        importlib.import_module(name)
    try:
        ruleset = landlock.ruleset(*confine.readable()) if rules["landlock"] else None
    except OSError as error:
        link.send(json.dumps({"refused": str(error), "errno": error.errno}).encode())
        return
    keeper = os.getpid()

    def child(job: Job, limits: Mapping[str, Any], files: Mapping[str, int], tell: int) -> NoReturn:
        confine.confine(limits, keeper, ruleset)
        candidate.run(job, files, tell)

    serve(link, rules, child)


def serve(link: socket.socket, rules: Mapping[str, Any], child: Child) -> None:
    """Say that all is ready, then take job after job until the other side closes the link."""
    descendants.die_with(os.getppid())
    if not rules.get("confined", True):  # all others cannot fork
        descendants.adopt()
    link.send(b'{"ready":true}')
    while True:
        message, files = _received(link)
        if not message:
            return
        report = _supervise(link, {**rules, **json.loads(message)}, files, child)
        link.send(json.dumps(report).encode())


def _received(link: socket.socket) -> tuple[bytes, dict[str, int]]:
    size = array.array("i").itemsize * len(_FILES)
    message, extra, _, _ = link.recvmsg(_LARGEST, socket.CMSG_SPACE(size))
    found = array.array("i")
    for _, _, data in extra:
        found.frombytes(data)
    return message, dict(zip(_FILES, found, strict=False))


def _supervise(
    link: socket.socket, limits: Mapping[str, Any], files: Mapping[str, int], child: Child
) -> dict[str, Any]:
    told, tell = os.pipe()
    started = time.monotonic()
    forked = os.fork()
    if forked == 0:
        os.close(told)
        link.close()
        _become(child, limits, files, tell)
    for descriptor in (tell, *files.values()):
        os.close(descriptor)
    seen = _watch(link, forked, limits, started)
    _, status, usage = os.wait4(forked, 0)
    if not limits.get("confined", True):
        descendants.end_all()
    with open(told, "rb") as words:
        refused = words.read(400).decode("utf-8", "replace")
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "killed": seen.killed,
        "idle": seen.idle,
        "late": seen.late,
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - started,
        "refused": refused,
    }


def _become(child: Child, limits: Mapping[str, Any], files: Mapping[str, int], tell: int) -> NoReturn:
    """Be the child; what goes wrong before it says that it is confined is no fault of the candidate's."""
    try:
        with open(files["job"], "rb") as text:
            job = json.loads(text.read())
        child(job, limits, {name: descriptor for name, descriptor in files.items() if name != "job"}, tell)
    except BaseException as error:  # noqa: BLE001 - this process must end here
        os.write(tell, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:300])
    finally:
        os._exit(1)


@dataclass
class _Watched:
    """Why a child was killed (None: it ended), the seconds it used no processor, the seconds that the keeper woke late."""

    killed: str | None = None
    idle: float = 0.0
    late: float = 0.0


def _watch(link: socket.socket, child: int, limits: Mapping[str, Any], started: float) -> _Watched:
    """Wait for the child's end, and kill it at a limit."""
    ends, seen = _end_of(child), _Watched()
    while seen.killed is None:
        spent, now = _processor_time(child), time.monotonic()
        waits = seen.idle > (now - started) / 2
        nap = min(limits["cpu"] - spent, limits["wall" if waits else "patience"] - (now - started), _LONGEST_NAP)
        if nap <= 0:
            seen.killed = "cpu" if limits["cpu"] <= spent else "wall"
            break
        ready = select.select([ends, link.fileno()], [], [], nap)[0]
        slept = time.monotonic() - now
        seen.late += max(0.0, slept - nap)
        if link.fileno() in ready:  # a job is only sent after the last answer, so this is the end of the other side
            seen.killed = "closed"
        elif ready:
            break
        elif _processor_time(child) - spent < 0.02 * slept:
            seen.idle += slept
    os.close(ends)
    if seen.killed:
        os.kill(child, signal.SIGKILL)
    return seen


def _end_of(child: int) -> int:
    """A descriptor that can be read once the child has ended."""
    if sys.platform == "linux":
        return os.pidfd_open(child)
    events: Any = select  # a name that the types of one system alone know
    queue = events.kqueue()
    queue.control([events.kevent(child, events.KQ_FILTER_PROC, events.KQ_EV_ADD, events.KQ_NOTE_EXIT)], 0)
    return os.dup(queue.fileno())


def _processor_time(child: int) -> float:
    """Seconds that a process has used; 0.0 where that cannot be asked, and its own limit in whole seconds holds."""
    if sys.platform != "linux":
        return 0.0
    # The clock of a whole process, numbered as by clock_getcpuclockid(3).
    return time.clock_gettime((~child << 3) | 2)
