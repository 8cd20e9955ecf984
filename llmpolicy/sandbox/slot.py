"""One keeper and the link to it: hand over a job, wait, read what the job left in its files."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from llmpolicy.errors import SandboxFault
from llmpolicy.sandbox.execution import Report, execution
from llmpolicy.sandbox.inside.keeper import KILLED, LOOK, REPORT
from llmpolicy.sandbox.inside.values import encode
from llmpolicy.sandbox.records import Execution, Job, Limits
from llmpolicy.sandbox.starved import starved

Start = Callable[[int], "subprocess.Popen[bytes]"]
"""Starts a keeper that serves the socket with this descriptor."""

_FIRST_WORD = 20.0
_GRACE = 5.0
_LONGEST_LOOK = 0.25
_LARGEST = 65_536
_CREDENTIALS = struct.Struct("3i")
_ADD_SEALS, _SEALED = 1033, 0b1111
_SAID = 4096


class Slot:
    """Runs one job at a time in a keeper that is started when needed and again when it was lost."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._keeper: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._lock = threading.Lock()
        self._number = 0

    def run(self, job: Job, limits: Limits) -> Execution:
        """Run a job; SandboxFault when the sandbox failed twice, or the machine was too busy to let
        the job run.
        """
        with self._lock:
            try:
                return self._run(job, limits)
            except (OSError, EOFError):
                self.close()
            try:
                return self._run(job, limits)
            except (OSError, EOFError) as error:
                self.close()
                raise SandboxFault(
                    f"the sandbox failed: {error or type(error).__name__}"
                ) from error

    def close(self) -> None:
        """End the keeper, and with it whatever runs under it."""
        if self._link is not None:
            self._link.close()
        if self._keeper is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)
            self._keeper.wait()
        self._link = self._keeper = None

    def _run(self, job: Job, limits: Limits) -> Execution:
        link = self._link or self._open()
        nonce = secrets.token_hex(16)
        call = {
            "code": job.code, "call": job.call, "nonce": nonce,
            "args": encode(list(job.args)), "kwargs": encode(dict(job.kwargs)),
        }  # fmt: skip
        message = {**asdict(limits), "patience": limits.patience}
        with contextlib.ExitStack() as files:
            opened = [
                _file(files, "job", json.dumps(call).encode()),
                _file(files, "input", job.stdin.encode("utf-8", "surrogatepass")),
                _file(files, "output", None),
                _file(files, "error", None),
            ]
            socket.send_fds(link, [json.dumps(message).encode()], opened)
            report = self._report(link, limits)
            output, error = _start_of(opened[2], job.most + 1), _end_of(opened[3])
        return execution(job, limits, nonce, report, output, error)

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if hasattr(socket, "SO_PASSCRED"):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._link = ours
        try:
            self._keeper = self._start(theirs.fileno())
        finally:
            theirs.close()
        ours.settimeout(_FIRST_WORD)
        message, more, _, _ = ours.recvmsg(_LARGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
        if not message:
            raise EOFError("its keeper ended")
        ready = json.loads(message)
        if "ready" not in ready:
            raise OSError(ready.get("errno"), ready.get("refused", "no ready keeper"))
        # Its number as it is here, and not in a namespace of its own.
        self._number = _CREDENTIALS.unpack(more[0][2])[0] if more else self._keeper.pid
        return ours

    def _report(self, link: socket.socket, limits: Limits) -> Report:
        """How the job ended. It is stopped when it has had its time, without what others took from
        it.
        """
        began, look, waited, stopped = time.monotonic(), LOOK, None, False
        while True:
            link.settimeout(look)
            try:
                message = _received(link)
            except TimeoutError:
                message, look = b"", min(2 * look, _LONGEST_LOOK)
            if len(message) >= REPORT.size:
                return _read(message, waited)
            seen, passed = starved(self._number), time.monotonic() - began
            waited = seen if waited is None else max(waited, seen or 0.0)
            if message:
                link.send(b"seen")
            elif passed > limits.patience + _GRACE:
                raise TimeoutError("its keeper does not answer")
            elif waited is not None and not stopped and passed - waited > limits.wall:
                stopped = link.send(b"stop") > 0


def _received(link: socket.socket) -> bytes:
    message = link.recv(_LARGEST)
    if not message:
        raise EOFError("its keeper ended")
    return message


def _read(message: bytes, waited: float | None) -> Report:
    """A keeper's report; where nothing told how long others ran instead, it is how late the keeper
    itself woke.
    """
    killed, wall, late, status, *used = REPORT.unpack_from(message)
    seconds = used[0] + used[2] + (used[1] + used[3]) / 1e6
    code, refused = (
        os.waitstatus_to_exitcode(status),
        message[REPORT.size :].decode("utf-8", "replace"),
    )
    return Report(KILLED[killed], code, seconds, wall, late if waited is None else waited, refused)


def _file(files: contextlib.ExitStack, name: str, content: bytes | None) -> int:
    """A file in memory that is closed with the others; one with content can only be read from then
    on.
    """
    if not hasattr(os, "memfd_create"):
        temporary = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the others
        temporary.write(content or b"")
        temporary.seek(0)
        return temporary.fileno()
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    files.callback(os.close, descriptor)
    if content is not None:
        _write_all(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALED)
    return descriptor


def _start_of(descriptor: int, most: int) -> bytes:
    return os.pread(descriptor, min(most, os.fstat(descriptor).st_size), 0)


def _end_of(descriptor: int) -> bytes:
    return os.pread(descriptor, _SAID, max(0, os.fstat(descriptor).st_size - _SAID))


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    content = memoryview(content)
    while content:
        content = content[os.write(descriptor, content) :]


# What asks to be killed with its parent is killed with the thread that started it, so that one must
# last.
_starters: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def spawn(command: Sequence[str], link: int, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a keeper in a session and process group of its own, with an empty environment and
    nothing but its link.
    """
    options = {
        "pass_fds": (link,),
        # The order of a set of texts is then the same in every test and every run.
        "env": {"PYTHONHASHSEED": "0"},
        "start_new_session": True,
        "cwd": "/",
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL),
        **options,
    }
    with _lock:
        if os.getpid() not in _starters:  # a thread does not live on in a fork
            _starters.clear()
            _starters[os.getpid()] = ThreadPoolExecutor(1, "llmpolicy-sandbox")
        starter = _starters[os.getpid()]
    start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
    return starter.submit(start, command, **options).result()
