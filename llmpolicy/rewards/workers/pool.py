"""The firewall: rewards run in a few processes that are started when needed, watched, killed when
late, and replaced.

A call that is late and has used the processor is the model's fault and scores the least; one that
has only waited is ours and scores nothing, as does one that raised or took its worker down. The
calls after it go to the next worker.
"""

import atexit
import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.verdict import Outcome, as_score
from llmpolicy.rewards.workers.crossing import Crossed
from llmpolicy.rewards.workers.process import Worker, WorkerLost
from llmpolicy.rewards.workers.progress import IDLE, IMPORT_SECONDS, LOADING, LOOP
from llmpolicy.rewards.workers.worker import Surroundings, Work
from llmpolicy.sandbox import unsafe
from llmpolicy.types import Score

LIST_SECONDS = 60.0
"""Most seconds of a call over a list of rows, unless the timeout of one is longer."""

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 1.0
_MOST_CALLS = 512
_PART_SECONDS = 0.05
_MOST_REWARDS = 64
_MOST_LOSSES = 2
_BUSY = 0.5
"""The share of a late call's time for which it wanted the processor, from which on the completion
is to blame.
"""


@dataclass(slots=True)
class Part:
    """Calls of one reward for one worker, each with its pickled arguments and rows, and what came
    of them.
    """

    reward: Crossed
    calls: Sequence[tuple[bytes, Sequence[int]]]
    surroundings: Surroundings
    stop: threading.Event
    outcomes: list[Outcome | None] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.calls)

    @property
    def left(self) -> list[int]:
        """The places of the calls that nothing is known of."""
        return [place for place, outcome in enumerate(self.outcomes) if outcome is None]

    def limit(self, index: int, rows: int, alone: bool) -> float:
        """Seconds that a worker may stay where it is."""
        if index in (IDLE, LOADING):
            return IMPORT_SECONDS
        if (
            index == LOOP or alone
        ):  # the worker itself ends an async call in time, unless its loop is blocked
            return self.reward.timeout + _GRACE_SECONDS
        if self.reward.single:
            return self.reward.timeout
        return min(self.reward.timeout * rows, max(LIST_SECONDS, self.reward.timeout))


class Clock:
    """How long a worker has been in its call, and for what share of that it wanted the
    processor.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker, self.call = worker, (0, 0.0)
        self.began, self.at, self.wanted = time.monotonic(), 0.0, 0.0

    def seconds(self, limit: Any) -> tuple[float, float]:
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

    def __init__(self, pool: "Pool") -> None:
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
                outcome = _late(part.reward, late, busy=clock.busy())
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
                part.outcomes = [known or outcome for known in part.outcomes]

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
                    _take(line, part, left)
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
            return part.limit(
                index, len(part.calls[left[index]][1]) if 0 <= index < len(left) else 1, alone
            )

        while True:
            lines = worker.receive(_POLL_SECONDS)
            for line in lines:
                if _take(line, part, left):
                    self.worn = any(
                        one is not None and one.blame == "model" for one in part.outcomes
                    )
                    return None
            if part.stop.is_set():
                self._end()
                return None
            seconds, most = clock.seconds(limit)
            if seconds > most:
                return seconds, most
            if not lines:
                self.pool.grow()


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
        return [one.worker for one in self.supervisors if one.worker is not None]


def start(
    reward: Crossed,
    calls: Sequence[tuple[bytes, Sequence[int]]],
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
    told = os.environ.get("LLMPOLICY_REWARD_WORKERS")
    if told is not None:
        if not told.isdecimal():
            raise RewardError(
                f"LLMPOLICY_REWARD_WORKERS is {told!r}; expected a number of processes, or 0 for"
                " none."
            )
        return int(told)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(2, min(8, cores // (2 * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))))


def _work(worker: Worker, part: Part, left: Sequence[int], alone: bool) -> Work:
    reward, changed = part.reward, part.surroundings != worker.surroundings
    known = reward.number in worker.knows
    forget = worker.knows[:-_MOST_REWARDS]
    worker.knows = [
        *(number for number in worker.knows[-_MOST_REWARDS:] if number != reward.number),
        reward.number,
    ]
    worker.surroundings = part.surroundings
    return Work(
        reward=reward.number,
        calls=[part.calls[place] for place in left],
        load=None if known and reward.number not in forget else reward.load,
        alone=alone,
        forget=forget,
        surroundings=part.surroundings if changed else None,
        spent=[(*key, *used) for key, used in list(_spent.items())],
    )


def _take(line: dict[str, Any], part: Part, left: Sequence[int]) -> bool:
    """Note what a worker told; True when it is through with its work. A worker that talks nonsense
    counts as lost.
    """
    if "refused" in line:
        raise RewardError(str(line["refused"]))
    try:
        _add(line.get("spent", ()))
        for index, scores, seconds, blame, why, traceback in line.get("told", ()):
            place = left[index]
            rows = part.calls[place][1]
            outcome = Outcome(
                _scores(scores, part.reward.name, rows), float(seconds), blame, why, traceback
            )
            part.outcomes[place] = (
                _used_up(part.reward, outcome, "memory") if blame == "memory" else outcome
            )
            if blame == "refused":
                part.stop.set()
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise WorkerLost from error
    return "end" in line


def _add(spent: Sequence[tuple[str, str, int, int]]) -> None:
    with _making:
        for address, model, answered, tokens in spent:
            before = _spent.get((address, model), (0, 0))
            _spent[address, model] = (before[0] + int(answered), before[1] + max(0, int(tokens)))


def _scores(told: Any, reward: str, rows: Sequence[int]) -> list[Score] | None:
    if told is None:
        return None
    return [as_score(Score(*one), reward, row) for one, row in zip(told, rows, strict=True)]


def _used_up(reward: Crossed, outcome: Outcome, what: str) -> Outcome:
    """The model's completion is to blame, where it was the only one in the call."""
    if not reward.single:
        return Outcome(
            None,
            outcome.seconds,
            "error" if what == "memory" else "timeout",
            outcome.why,
            outcome.traceback,
        )
    why = f"used up its {what}: {outcome.why}"
    return Outcome(
        [Score(reward.lowest, why=why)], outcome.seconds, "model", why, outcome.traceback
    )


def _late(reward: Crossed, late: tuple[float, float], busy: bool) -> Outcome:
    seconds, most = late
    why = f"took more than {most:g} s, {'computing' if busy else 'waiting'},"
    outcome = Outcome(None, seconds, "timeout", why)
    return _used_up(reward, outcome, "time") if busy else outcome


def _ending(worker: Worker) -> str:
    code = worker.process.returncode
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name


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
_spent: dict[tuple[str, str], tuple[int, int]] = {}
"""Answers and tokens of each endpoint, by address and model, over all workers."""

_making = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
