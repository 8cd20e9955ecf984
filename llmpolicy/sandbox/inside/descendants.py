"""The processes that come from this one, however they hid: adopted when they lose their parent, and
all of them ended.

On Linux an orphan goes to its nearest ancestor that adopts (PR_SET_CHILD_SUBREAPER, prctl(2)), so
that neither a second fork nor a session of its own takes a process out of the family. Elsewhere
only those are found whose parents live.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

_ADOPT, _SET_DEATH_SIGNAL = 36, 1  # PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG
_PATIENCE = 5.0
_NAP = 0.002


def adopt() -> None:
    """Become the parent of whatever comes from this process and loses its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Get a signal when the thread that started this process ends; Linux alone can promise that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_all() -> None:
    """Kill all that come from this process, again until none is left; what loses its parent
    meanwhile is found next.
    """
    until = time.monotonic() + _PATIENCE  # what hangs in the kernel ends when it comes back
    while time.monotonic() < until:
        for process in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        time.sleep(_NAP)


def children(process: int) -> list[int]:
    """The processes that one has started and not yet buried; none where the system cannot be
    asked.
    """
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{process}/task/{process}/children", "rb") as listed,
    ):
        return list(map(int, listed.read().split()))
    return [child for child, parent in _parents().items() if parent == process]


def descendants(process: int) -> list[int]:
    """The processes that come from one, by what the system says of their parents; none where it
    cannot be asked.
    """
    parents = _parents()
    family, before = {process}, 0
    while len(family) > before:
        before = len(family)
        family |= {child for child, parent in parents.items() if parent in family}
    return sorted(family - {process})


def _parents() -> dict[int, int]:
    parents = {}
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():
        if entry.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                parents[int(entry)] = int(stat.read().rpartition(b")")[2].split()[1])
    return parents
