"""Several keepers of one mechanism, so that the jobs of a completion run at the same time."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from llmpolicy.sandbox.records import Execution, Job, Limits
from llmpolicy.sandbox.slot import Slot, Start


class Pool:
    """Runs jobs in ``size`` keepers at once; a keeper starts when a job first needs it."""

    def __init__(self, name: str, start: Start, size: int | None = None) -> None:
        self.name = name
        self.size = size or cores()
        self._slots = [Slot(start) for _ in range(self.size)]
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for slot in self._slots:
            self._free.put(slot)

    def run(self, job: Job, limits: Limits) -> Execution:
        """Run one job; SandboxFault when the sandbox, and not the job, failed."""
        slot = self._free.get()
        try:
            return slot.run(job, limits)
        finally:
            self._free.put(slot)

    def each(self, jobs: Sequence[Job], limits: Limits) -> Iterator[Execution]:
        """The outcomes of the jobs in order, as many at once as there are keepers; stop early by
        not asking for more.
        """
        if self.size == 1 or len(jobs) == 1:
            for job in jobs:
                yield self.run(job, limits)
            return
        with ThreadPoolExecutor(self.size) as threads:
            for start in range(0, len(jobs), self.size):
                together = jobs[start : start + self.size]
                yield from threads.map(self.run, together, [limits] * len(together))

    def close(self) -> None:
        """End all keepers."""
        for slot in self._slots:
            slot.close()


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
