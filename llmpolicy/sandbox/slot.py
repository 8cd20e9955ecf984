"""One keeper and the link to it: hand over a job, wait, read what the job left in its files."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from llmpolicy.errors import SandboxFault
from llmpolicy.sandbox.inside.values import encode
from llmpolicy.sandbox.outcome import outcome
from llmpolicy.sandbox.records import Job, Limits, Outcome

Start = Callable[[int], "subprocess.Popen[bytes]"]
"""Starts a keeper that serves the socket with this descriptor."""

_FIRST_WORD = 20.0
_GRACE = 5.0
_ADD_SEALS, _SEALED = 1033, 0b1111
_SAID = 4096


class Slot:
    """Runs one job at a time in a keeper that is started when needed and again when it was lost."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._keeper: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, job: Job, limits: Limits) -> Outcome:
        """Run a job; SandboxFault when the sandbox failed twice, or the machine was too busy to let the job run."""
        with self._lock:
            try:
                return self._run(job, limits)
            except (OSError, EOFError):
                self.close()
            try:
                return self._run(job, limits)
            except (OSError, EOFError) as error:
                self.close()
                raise SandboxFault(f"the sandbox failed: {error or type(error).__name__}") from error

    def close(self) -> None:
        """End the keeper, and with it whatever runs under it."""
        if self._link is not None:
            self._link.close()
        if self._keeper is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)
            self._keeper.wait()
        self._link = self._keeper = None

    def _run(self, job: Job, limits: Limits) -> Outcome:
        link = self._link or self._open()
        nonce = secrets.token_hex(16)
        told = {
            "code": job.code, "call": job.call, "nonce": nonce,
            "args": encode(list(job.args)), "kwargs": encode(dict(job.kwargs)),
        }  # fmt: skip
        message = {**asdict(limits), "wall": limits.wall, "patience": limits.patience}
        with contextlib.ExitStack() as files:
            opened = [
                _file(files, "job", json.dumps(told).encode()),
                _file(files, "input", job.stdin.encode("utf-8", "surrogatepass")),
                _file(files, "output", None),
                _file(files, "error", None),
            ]
            socket.send_fds(link, [json.dumps(message).encode()], opened)
            report = _answer(link, limits.patience + _GRACE)
            output, error = _start_of(opened[2], job.most + 1), _end_of(opened[3])
        return outcome(job, limits, nonce, report, output, error)

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = ours
        try:
            self._keeper = self._start(theirs.fileno())
        finally:
            theirs.close()
        first = _answer(ours, _FIRST_WORD)
        if "ready" not in first:
            raise OSError(first.get("errno"), first.get("refused", "no ready keeper"))
        return ours


def _answer(link: socket.socket, seconds: float) -> dict[str, Any]:
    link.settimeout(seconds)
    message = link.recv(65_536)
    if not message:
        raise EOFError("its keeper ended")
    answer: dict[str, Any] = json.loads(message)
    return answer


def _file(files: contextlib.ExitStack, name: str, content: bytes | None) -> int:
    """A file in memory that is closed with the others; one with content can only be read from then on."""
    if not hasattr(os, "memfd_create"):
        place = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the others
        place.write(content or b"")
        place.seek(0)
        return place.fileno()
    made = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    files.callback(os.close, made)
    if content is not None:
        _write_all(made, content)
        os.lseek(made, 0, os.SEEK_SET)
        fcntl.fcntl(made, _ADD_SEALS, _SEALED)
    return made


def _start_of(descriptor: int, most: int) -> bytes:
    return os.pread(descriptor, min(most, os.fstat(descriptor).st_size), 0)


def _end_of(descriptor: int) -> bytes:
    return os.pread(descriptor, _SAID, max(0, os.fstat(descriptor).st_size - _SAID))


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    content = memoryview(content)
    while content:
        content = content[os.write(descriptor, content) :]


# What asks to be killed with its parent is killed with the thread that started it, so that one must last.
_starters: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def spawn(command: Sequence[str], link: int, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a keeper in a session and process group of its own, with an empty environment and nothing but its link."""
    environment = {"PYTHONHASHSEED": "0"}  # the order of a set of texts is then the same in every test and every run
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = {"pass_fds": (link,), "env": environment, "start_new_session": True, "cwd": "/", **quiet, **options}
    with _lock:
        if os.getpid() not in _starters:  # a thread does not live on in a fork
            _starters.clear()
            _starters[os.getpid()] = ThreadPoolExecutor(1, "llmpolicy-sandbox")
        starter = _starters[os.getpid()]
    start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
    return starter.submit(start, command, **options).result()
