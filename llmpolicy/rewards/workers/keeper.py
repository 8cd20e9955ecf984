"""The keeper of a worker: the process between it and the trainer, which ends all that the rewards
started when either ends.

It runs none of their code. On Linux nothing that they start can leave it
(`sandbox.inside.descendants`); elsewhere what went into a session of its own and lost its parent
does.
"""

import contextlib
import os
import resource
import select
import signal
from collections.abc import Iterable
from typing import NoReturn

from llmpolicy.sandbox.inside.descendants import adopt, die_with, end_all

_LOOK_MILLISECONDS = 200
"""How often it looks for the trainer where the system cannot tell of its end."""

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def begin(trainer: int) -> None:
    """Fork, and return in the worker, in a session of its own; the other process stays behind as
    its keeper.
    """
    watched = _end_of(trainer)
    if os.getppid() != trainer:
        os._exit(0)
    adopt()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_ENDS):
        signal.signal(number, lambda *_: None)
    keeper = os.getpid()
    worker = os.fork()
    if worker:
        _watch(trainer, worker, watched, (woken, wake))
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *_ENDS):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in (woken, wake, watched):
        if descriptor is not None:
            os.close(descriptor)
    os.setsid()
    die_with(keeper)


def _end_of(process: int) -> int | None:
    """A descriptor that can be read once a process has ended; None where the system has none."""
    with contextlib.suppress(OSError, AttributeError):
        return os.pidfd_open(process)
    return None


def _watch(trainer: int, worker: int, watched: int | None, wakes: tuple[int, int]) -> NoReturn:
    """Wait until trainer or worker ends, or until told to end; then end all, and end as the worker
    did.
    """
    woken, wait = wakes[0], None
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    if watched is None:
        wait = _LOOK_MILLISECONDS
        _let_go(wakes)
    else:
        poll.register(watched, select.POLLIN)
        _let_go((*wakes, watched))
    code, asked = None, False
    while code is None and not asked and os.getppid() == trainer:
        for descriptor, _ in poll.poll(wait):
            asked = asked or descriptor == watched or bool(set(os.read(woken, 4096)) & set(_ENDS))
        code = _reaped(worker)
    with contextlib.suppress(OSError):
        os.killpg(worker, signal.SIGKILL)
    if code is None:  # it may have been about to end by itself
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    end_all()
    _end_as(code)


def _let_go(kept: Iterable[int]) -> None:
    """Hold nothing of the worker's open: its pipes end when it does."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    lowest = 3
    for descriptor in sorted(kept):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, 4096)
    os.chdir("/")


def _reaped(worker: int) -> int | None:
    """Bury who has ended; the exit code of the worker, if it is among them."""
    while (ended := os.waitpid(-1, os.WNOHANG))[0]:
        if ended[0] == worker:
            return os.waitstatus_to_exitcode(ended[1])
    return None


def _end_as(code: int) -> NoReturn:
    """Leave with a code as subprocess tells it; one below 0 is the signal that ended the worker."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
