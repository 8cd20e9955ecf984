"""A worker under watch: it is handed calls, ended when one is late, and replaced.

A call that is late and has used the processor is the model's fault and scores the least; one that
has only waited is ours and scores nothing, as does one that raised or took its worker down. The
calls after it go to the next worker.
"""

import contextlib
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from llmpolicy.errors import RewardError
from llmpolicy.rewards.verdict import Outcome
from llmpolicy.rewards.workers.crossing import Crossed
from llmpolicy.rewards.workers.parts import Part, late_outcome, spent, take
from llmpolicy.rewards.workers.process import Worker, WorkerLost
from llmpolicy.rewards.workers.progress import IDLE, IMPORT_SECONDS, LOADING, LOOP
from llmpolicy.rewards.workers.worker import Work

_POLL_SECONDS = 0.05
_MOST_REWARDS = 64
_MOST_LOSSES = 2
_BUSY = 0.5
"""The share of a late call's time for which it wanted the processor, from which on the completion
is to blame.
"""


class Queue(Protocol):
    """Where a supervisor gets its work: a `Pool`."""

    waiting: queue.SimpleQueue[Part]
    closed: bool

    def grow(self) -> None:
        """One more supervisor where something waits and there may be one."""


class Clock:
    """How long a worker has been in its call, and for what share of that it wanted the
    processor.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker, self.call = worker, (0, 0.0)
        self.began, self.at, self.wanted = time.monotonic(), 0.0, 0.0

    def seconds(self, limit: Callable[[int], float]) -> tuple[float, float]:
        """Seconds in the present call, and its limit."""
        here = self.worker.progress.read()
        most = limit(here.index)
        if self.call != (here.index, here.started):
            self.call, self.at = (here.index, here.started), 0.0
        elif (
            not self.at and here.seconds > most / 4
        ):  # not before: looking costs more than most calls
            self.at, self.wanted = time.monotonic(), self.worker.demand()
        # A worker that has not looked at its work yet has been idle since before it was sent.
        return min(here.seconds, time.monotonic() - self.began), most

    def busy(self) -> bool:
        """Whether the present call has mostly computed, not waited."""
        if not self.at:
            return False
        return (self.worker.demand() - self.wanted) / max(time.monotonic() - self.at, 1e-3) >= _BUSY


class Supervisor:
    """A thread with one worker: it hands it parts of a batch, watches it, and replaces it."""

    def __init__(self, pool: Queue) -> None:
        self.pool = pool
        self.worker: Worker | None = None
        self.worn = False
        threading.Thread(target=self._run, name="llmpolicy-reward-worker", daemon=True).start()

    def _run(self) -> None:
        while True:
            part = self.pool.waiting.get()
            try:
                self._do(part)
            except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
                part.error = error
                self._end()
            finally:
                part.done.set()

    def _do(self, part: Part) -> None:
        alone, losses = False, 0
        while (left := part.left) and not part.stop.is_set():
            worker = self._ready(part.reward)
            clock = Clock(worker)
            try:
                late = self._converse(worker, clock, part, left, alone)
                if late is None:
                    continue
                outcome = late_outcome(part.reward, *late, busy=clock.busy())
                self._end(part, left)
            except WorkerLost:
                self._end(part, left)
                outcome = Outcome(
                    None, 0.0, "infrastructure", f"lost its worker process ({_ending(worker)})"
                )
                losses += 1
            index = worker.last
            alone = alone or index == LOOP
            losses += index == IDLE
            if index == LOADING and outcome.blame == "timeout":
                raise RewardError(
                    f"Reward {part.reward.name!r} took more than {IMPORT_SECONDS:g} s to load."
                )
            if 0 <= index < len(left) and part.outcomes[left[index]] is None:
                part.outcomes[left[index]], losses = outcome, 0
            if losses > _MOST_LOSSES:
                part.outcomes = [before or outcome for before in part.outcomes]

    def _ready(self, reward: Crossed) -> Worker:
        """The worker, a new one where there is none, where rewards wore it out, or where a source
        file has changed.
        """
        if self.pool.closed:
            raise RewardError("The process is ending; no reward can be called any more.")
        if self.worker is not None:
            file, sha = reward.source["file"], reward.source["sha256"]
            if self.worn or self.worker.sources.get(file, sha) != sha or self.worker.worn():
                self._end()
        if self.worker is None:
            self.worker, self.worn = Worker(), False
        self.worker.sources[reward.source["file"]] = reward.source["sha256"]
        return self.worker

    def _end(self, part: Part | None = None, left: Sequence[int] = ()) -> None:
        worker, self.worker = self.worker, None
        if worker is None:
            return
        worker.kill()
        if part is not None:
            with contextlib.suppress(WorkerLost):
                for line in worker.rest():
                    take(line, part, left)
        worker.last = worker.progress.read().index
        worker.disown()

    def _converse(
        self, worker: Worker, clock: Clock, part: Part, left: Sequence[int], alone: bool
    ) -> tuple[float, float] | None:
        """Have calls made; the seconds and the limit of the one that is late, or None when all are
        through.
        """
        worker.send(pickle.dumps(_work(worker, part, left, alone)))

        def limit(index: int) -> float:
            rows: Sequence[int] = [0]
            if 0 <= index < len(left):
                _, rows = part.calls[left[index]]
            return part.limit(index, len(rows), alone)

        while True:
            lines = worker.receive(_POLL_SECONDS)
            for line in lines:
                if take(line, part, left):
                    self.worn = part.wore
                    return None
            if part.stop.is_set():
                self._end()
                return None
            seconds, most = clock.seconds(limit)
            if seconds > most:
                return seconds, most
            if not lines:
                self.pool.grow()


def _work(worker: Worker, part: Part, left: Sequence[int], alone: bool) -> Work:
    number, surroundings = part.reward.number, part.surroundings
    forget, knows = worker.knows[:-_MOST_REWARDS], worker.knows[-_MOST_REWARDS:]
    changed = surroundings != worker.surroundings
    worker.surroundings = surroundings
    worker.knows = [*(each for each in knows if each != number), number]
    return Work(
        reward=number,
        calls=[part.calls[call] for call in left],
        load=None if number in knows else part.reward.load,
        alone=alone,
        forget=forget,
        surroundings=surroundings if changed else None,
        spent=spent(),
    )


def _ending(worker: Worker) -> str:
    code = worker.process.returncode
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name
