"""For how long others kept a job from running: what decides whether one that takes long is to
blame, or the machine.
"""

import contextlib
import os
import re
from itertools import chain
from pathlib import Path

from llmpolicy.sandbox.inside.descendants import children

_SWITCHES = re.compile(rb"^(?:non)?voluntary_ctxt_switches:\s*(\d+)", re.MULTILINE)


def starved(keeper: int) -> float | None:
    """Seconds for which the job under a keeper wanted a processor that others had; None where that
    cannot be told.

    A thread's time in the run queue (schedstat), but for the share that follows on a sleep of its
    own, and less what the job's other threads used. So neither naps, nor threads, nor a process
    that stops itself ever look like a busy machine.
    """
    threads = list(chain.from_iterable(map(_threads, children(keeper))))
    if not threads:
        return None
    used = sum(ran for ran, _ in threads)
    return max(0.0, *(waited - (used - ran) for ran, waited in threads))


def _threads(job: int) -> list[tuple[float, float]]:
    """For each thread the seconds that it ran, and that it waited for others after it had been
    interrupted.
    """
    times = []
    threads = Path(f"/proc/{job}/task")
    # Any of them, or all, may end meanwhile; or the system does not tell.
    with contextlib.suppress(OSError):
        for thread in os.listdir(threads):
            with contextlib.suppress(OSError, ValueError):
                ran, waited, _ = map(int, (threads / thread / "schedstat").read_bytes().split())
                switches = _SWITCHES.findall((threads / thread / "status").read_bytes())
                slept, interrupted = map(int, switches)
                share = (interrupted + 1) / (slept + interrupted + 1)
                times.append((ran / 1e9, waited / 1e9 * share))
    return times
