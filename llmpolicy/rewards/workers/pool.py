"""The firewall: rewards run in a few processes that are started when needed, watched, killed when
late, and replaced (`supervisor`).
"""

import atexit
import os
import queue
import sys
import threading
from collections.abc import Sequence

from llmpolicy.errors import RewardError
from llmpolicy.rewards.verdict import Outcome
from llmpolicy.rewards.workers.crossing import Crossed
from llmpolicy.rewards.workers.parts import Part
from llmpolicy.rewards.workers.process import Worker
from llmpolicy.rewards.workers.supervisor import Supervisor
from llmpolicy.rewards.workers.worker import Calls, Surroundings
from llmpolicy.sandbox import unsafe

_MOST_CALLS = 512
_PART_SECONDS = 0.05


class Pool:
    """The supervisors of this process; there are more of them when calls wait and all are busy."""

    def __init__(self, size: int) -> None:
        self.size, self.closed = size, False
        self.waiting: queue.SimpleQueue[Part] = queue.SimpleQueue()
        self.supervisors: list[Supervisor] = []
        self._growing = threading.Lock()

    def put(self, parts: Sequence[Part]) -> None:
        """Have parts of a batch done, in some order."""
        for part in parts:
            self.waiting.put(part)
        if not self.supervisors:
            self.grow()

    def grow(self) -> None:
        """One more supervisor where something waits and there may be one."""
        with self._growing:
            if len(self.supervisors) < self.size and not self.waiting.empty():
                self.supervisors.append(Supervisor(self))

    def close(self) -> None:
        """End all workers, for good."""
        self.closed = True
        for worker in self.workers():
            worker.ask_to_end()
        for worker in self.workers():
            worker.kill()

    def workers(self) -> list[Worker]:
        """The processes that live now."""
        return [each.worker for each in self.supervisors if each.worker is not None]


def start(
    reward: Crossed,
    calls: Calls,
    stop: threading.Event,
    pace: float | None = None,
) -> list[Part]:
    """Begin to have a reward's calls made; `outcomes` waits for them. ``stop`` ends it early.

    ``pace`` is what a call took on average so far, in seconds: quick ones go together, slow ones
    are spread out.
    """
    here = pool()
    size = max(1, -(-len(calls) // (2 * here.size)))
    if pace is not None:
        size = max(1, min(_MOST_CALLS, int(_PART_SECONDS / max(pace, 1e-6))))
    if reward.waits:
        size = max(1, len(calls))
    around = _surroundings()
    parts = [Part(reward, calls[i : i + size], around, stop) for i in range(0, len(calls), size)]
    here.put(parts)
    return parts


def outcomes(parts: Sequence[Part]) -> list[Outcome]:
    """What came of the calls of `start`, in order; RewardError for what cannot be called at all."""
    for part in parts:
        part.done.wait()
    for part in parts:
        if part.error is not None:
            raise part.error
        for outcome in part.outcomes:
            if outcome is not None and outcome.blame == "refused":
                raise RewardError(outcome.why)
    lost = Outcome(None, 0.0, "infrastructure", "was stopped")
    return [outcome or lost for part in parts for outcome in part.outcomes]


def pool() -> Pool:
    """The pool of this process, made when it is first needed; a fork has its own."""
    global _pool
    with _making:
        if _pool is None:
            _pool = Pool(size())
            atexit.register(_pool.close)
        return _pool


def size() -> int:
    """How many workers there may be: half of this process's share of the cores, at least 2 and at
    most 8.

    LLMPOLICY_REWARD_WORKERS says another number; 0 leaves all rewards in the trainer's process.
    """
    setting = os.environ.get("LLMPOLICY_REWARD_WORKERS")
    if setting is not None:
        if not setting.isdecimal():
            raise RewardError(
                f"LLMPOLICY_REWARD_WORKERS is {setting!r}; expected a number of processes, or 0 for"
                " none."
            )
        return int(setting)
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(2, min(8, cores // (2 * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))))


def _surroundings() -> Surroundings:
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        folder = "/"
    return Surroundings(folder, dict(os.environ), list(sys.path), unsafe.was_allowed())


def _forked() -> None:
    """In a fork the workers are the parent's: let go of their pipes, so that they see the parent
    end.
    """
    global _pool, _making
    old, _pool, _making = _pool, None, threading.Lock()
    if old is not None:
        atexit.unregister(old.close)
        for worker in old.workers():
            worker.disown()


_pool: Pool | None = None
_making = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
