"""The keeper: a small single-threaded process that forks one confined child for each job, watches
it and reaps it.

It speaks with the process that started it over one socket. A job arrives as one message of limits
with the descriptors of four files (job, input, output, error); the answer is one message of how the
child ended. It never runs a candidate's code, never reads what one wrote and keeps nothing of how
one ended. It ends when the socket is closed.
"""

import array
import contextlib
import ctypes
import errno
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from . import candidate, confine, descendants, landlock, seccomp

Job = Mapping[str, Any]
Child = Callable[[Job, Mapping[str, Any], Mapping[str, int], int], NoReturn]
"""What a forked process does with a job, its limits, its files and the descriptor on which it says
that it is confined.
"""

_LARGEST = 65_536
_FILES = ("job", "input", "output", "error")
_LONGEST_NAP = 0.25
LOOK = 0.05
"""Seconds from which on it is looked at how long a job could not run because others did."""

KILLED = (None, "cpu", "patience", "told", "closed")
REPORT = struct.Struct("=iddi4q112x")
"""Why the keeper killed it, seconds by the clock, seconds that the keeper woke late; then as
wait4(2) tells them: status, user and system time, each in seconds and microseconds. It is in no
object of Python's that the next job could find."""

_STATUS, _USAGE = 20, 24

_FLOATS = 256
_libc = ctypes.CDLL(None, use_errno=True)
_PRELOADED = """bisect collections decimal fractions functools heapq itertools math random re
statistics string threading typing dataclasses copy operator datetime"""


def main() -> None:
    """Serve jobs on the socket whose descriptor is the first argument; the second says which rules
    to use.
    """
    link, rules = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    for name in _PRELOADED.split():
        importlib.import_module(name)
    try:
        ruleset = landlock.ruleset(*confine.readable()) if rules["landlock"] else None
    except OSError as error:
        link.send(json.dumps({"refused": str(error), "errno": error.errno}).encode())
        return
    keeper = os.getpid()
    if seccomp.supported():
        seccomp.prepared(os.uname().machine)

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
        _skip_numbers()
        message, files = _received(link)
        if not message:
            return
        if files:  # else it was for the job before, which had already ended
            _supervise(link, {**rules, **json.loads(message)}, files, child)
            _forget()


def _skip_numbers() -> None:
    """Use up some process numbers, so that a candidate's own tells it not how many came before."""
    for _ in range(os.urandom(1)[0] % 4):
        with contextlib.suppress(OSError):
            os.posix_spawn("/", ["/"], {})


def _forget() -> None:
    """Write over the times of a job where they were in memory, of which the next job's process is a
    copy.
    """
    _ = [float(i) for i in range(_FLOATS)]


def _received(link: socket.socket) -> tuple[bytes, dict[str, int]]:
    size = array.array("i").itemsize * len(_FILES)
    message, extra, _, _ = link.recvmsg(_LARGEST, socket.CMSG_SPACE(size))
    descriptors = array.array("i")
    for _, _, data in extra:
        descriptors.frombytes(data)
    return message, dict(zip(_FILES, descriptors, strict=False))


def _supervise(
    link: socket.socket, limits: Mapping[str, Any], files: Mapping[str, int], child: Child
) -> None:
    word, tell = os.pipe()
    started = time.monotonic()
    forked = os.fork()
    if forked == 0:
        os.close(word)
        link.close()
        _become(child, limits, files, tell)
    for descriptor in (tell, *files.values()):
        os.close(descriptor)
    killed, late = _watch(link, forked, limits, started)
    wall = time.monotonic() - started
    if wall > LOOK:  # it is still there to be looked at
        link.send(b'{"ended":true}')
        link.recv(_LARGEST)
    with open(word, "rb") as words:
        refused = words.read(400)
    report = bytearray(REPORT.size)
    REPORT.pack_into(report, 0, KILLED.index(killed), wall, late, 0, 0, 0, 0, 0)
    memory = (ctypes.c_char * REPORT.size).from_buffer(report)
    status, usage = ctypes.byref(memory, _STATUS), ctypes.byref(memory, _USAGE)
    while _libc.wait4(forked, status, 0, usage) != forked:
        if ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), "wait4")
    if not limits.get("confined", True):
        descendants.end_all()
    link.sendmsg([report, refused])
    report[:] = bytes(REPORT.size)


def _become(
    child: Child, limits: Mapping[str, Any], files: Mapping[str, int], tell: int
) -> NoReturn:
    """Be the child; what goes wrong before it says that it is confined is no fault of the
    candidate's.
    """
    try:
        with open(files["job"], "rb") as text:
            job = json.loads(text.read())
        kept = dict(files)
        del kept["job"]
        child(job, limits, kept, tell)
    except BaseException as error:  # noqa: BLE001 - this process must end here
        os.write(tell, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:300])
    finally:
        os._exit(1)


def _watch(
    link: socket.socket, child: int, limits: Mapping[str, Any], started: float
) -> tuple[str | None, float]:
    """Wait for the child's end, and kill it at a limit or when told to: why (None: it ended), and
    how late we woke.
    """
    ends, killed, late = _end_of(child), None, 0.0
    while killed is None:
        spent, now = _processor_time(child), time.monotonic()
        nap = min(limits["cpu"] - spent, limits["patience"] - (now - started), _LONGEST_NAP)
        if nap <= 0:
            killed = "cpu" if limits["cpu"] <= spent else "patience"
            break
        ready = select.select([ends, link.fileno()], [], [], nap)[0]
        late += max(0.0, time.monotonic() - now - nap)
        if ends in ready:
            break
        if ready:  # a job is only sent after the last answer
            killed = "told" if link.recv(_LARGEST) else "closed"
    os.close(ends)
    if killed:
        os.kill(child, signal.SIGKILL)
    return killed, late


def _end_of(child: int) -> int:
    """A descriptor that can be read once the child has ended."""
    if sys.platform == "linux":
        return os.pidfd_open(child)
    events: Any = select  # a name that the types of one system alone know
    queue = events.kqueue()
    queue.control(
        [events.kevent(child, events.KQ_FILTER_PROC, events.KQ_EV_ADD, events.KQ_NOTE_EXIT)], 0
    )
    return os.dup(queue.fileno())


def _processor_time(child: int) -> float:
    """Seconds that a process has used; 0.0 where that cannot be asked, and its own limit in whole
    seconds holds.
    """
    if sys.platform != "linux":
        return 0.0
    # The clock of a whole process, numbered as by clock_getcpuclockid(3).
    return time.clock_gettime((~child << 3) | 2)
