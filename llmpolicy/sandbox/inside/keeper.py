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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from . import candidate, confine, landlock

_LARGEST = 65_536
_FILES = ("job", "input", "output", "error")
_LONGEST_NAP = 0.25
_PRELOADED = ("bisect", "collections", "decimal", "fractions", "functools", "heapq", "itertools", "math", "random", "re",
              "statistics", "string", "threading", "typing", "dataclasses", "copy", "operator", "datetime")  # fmt: skip


def main() -> None:
    """Serve jobs on the socket whose descriptor is the first argument; the second says which rules to use."""
    link = socket.socket(fileno=int(sys.argv[1]))
    rules = json.loads(sys.argv[2])
    for name in _PRELOADED:
        importlib.import_module(name)
    try:
        ruleset = landlock.ruleset(*confine.readable()) if rules["landlock"] else None
    except OSError as error:
        link.send(json.dumps({"refused": str(error), "errno": error.errno}).encode())
        return
    link.send(b'{"ready":true}')
    while True:
        message, files = _received(link)
        if not message:
            return
        limits = {**rules, **json.loads(message)}
        report = _supervise(link, limits, files, ruleset)
        link.send(json.dumps(report).encode())


def _received(link: socket.socket) -> tuple[bytes, dict[str, int]]:
    size = array.array("i").itemsize * len(_FILES)
    message, extra, _, _ = link.recvmsg(_LARGEST, socket.CMSG_SPACE(size))
    found = array.array("i")
    for _, _, data in extra:
        found.frombytes(data)
    return message, dict(zip(_FILES, found, strict=False))


def _supervise(
    link: socket.socket, limits: Mapping[str, Any], files: Mapping[str, int], ruleset: int | None
) -> dict[str, Any]:
    keeper = os.getpid()
    told, tell = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(told)
        link.close()
        _child(limits, files, ruleset, keeper, tell)
    for descriptor in (tell, *files.values()):
        os.close(descriptor)
    seen = _watch(link, child, limits, started)
    _, status, usage = os.wait4(child, 0)
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


def _child(
    limits: Mapping[str, Any], files: Mapping[str, int], ruleset: int | None, keeper: int, tell: int
) -> NoReturn:
    """Confine this process, and say so; what goes wrong before that is no fault of the candidate's."""
    try:
        with open(files["job"], "rb") as text:
            job = json.loads(text.read())
        given = {name: descriptor for name, descriptor in files.items() if name != "job"}
        confine.confine(limits, keeper, ruleset)
        candidate.run(job, given, tell)
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
    ends, seen = os.pidfd_open(child), _Watched()
    while seen.killed is None:
        spent, now = _processor_time(child), time.monotonic()
        nap = min(limits["cpu"] - spent, limits["wall"] - (now - started), _LONGEST_NAP)
        if nap <= 0:
            seen.killed = "cpu" if limits["cpu"] <= spent else "wall"
            break
        ready = select.select([ends, link], [], [], nap)[0]
        slept = time.monotonic() - now
        seen.late += max(0.0, slept - nap)
        if link in ready:  # a job is only sent after the last answer, so this is the end of the other side
            seen.killed = "closed"
        elif ready:
            break
        elif _processor_time(child) - spent < 0.02 * slept:
            seen.idle += slept
    os.close(ends)
    if seen.killed:
        os.kill(child, signal.SIGKILL)
    return seen


def _processor_time(child: int) -> float:
    # The clock of a whole process, numbered as by clock_getcpuclockid(3).
    return time.clock_gettime((~child << 3) | 2)
