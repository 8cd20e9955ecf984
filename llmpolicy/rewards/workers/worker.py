"""The process in which rewards run: it reads calls from a pipe, answers in JSON, and notes in
shared memory where it is.

Started by `process.Worker`, never with the user's main. What it reads comes from its parent and is
pickled; what it answers is data only, because a reward may have run the model's text.
"""

import builtins
import contextlib
import importlib
import json
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.reference import keep
from llmpolicy.rewards.calls import Call, attempt
from llmpolicy.rewards.contract import Component, RewardSpec
from llmpolicy.rewards.verdict import Outcome
from llmpolicy.rewards.workers import keeper
from llmpolicy.rewards.workers.progress import IDLE, LOADING, LOOP, Progress
from llmpolicy.sandbox import unsafe

TOGETHER = 64
"""Async calls that wait at the same time."""

_FLUSH_SECONDS = 0.02
_BEAT_SECONDS = 0.1


Calls = Sequence[tuple[bytes, Sequence[int]]]
"""The pickled arguments and the row numbers of each call."""

Spent = Sequence[tuple[str, str, int, int]]
"""Address and model of each endpoint, how often it answered, and tokens."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reward may look at beside its arguments, as it is in the parent."""

    folder: str
    environment: dict[str, str]
    path: list[str]
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """A message: calls of one reward (pickled arguments, row numbers), with the reward itself if it
    is new.

    ``alone``: async calls are awaited one by one. ``forget`` names rewards that are no longer
    wanted. ``spent`` is what all workers have asked of endpoints so far.
    """

    reward: int
    calls: Calls
    load: bytes | None = None
    alone: bool = False
    forget: Sequence[int] = ()
    surroundings: Surroundings | None = None
    spent: Spent = ()


class Server:
    """Answers one `Work` after the other until its parent closes the pipe."""

    def __init__(self, requests: Any, answers: int, progress: Progress) -> None:
        self.requests, self.answers, self.progress = requests, answers, progress
        self.rewards: dict[int, Component] = {}
        self.folder = os.getcwd()
        self.loop: Any = None
        self.told: list[list[Any]] = []
        self.flushed = 0.0
        self.known: dict[tuple[str, str], tuple[int, int]] = {}

    def serve(self) -> None:
        """Work until the pipe ends."""
        self.flush(ready=os.getpid())
        while len(header := self.requests.read(8)) == 8:
            body = self.requests.read(int.from_bytes(header, "big"))
            self.progress.write(LOADING)
            work: Work = pickle.loads(body)
            self._surround(work.surroundings)
            self._carry(work.spent)
            for number in work.forget:
                self.rewards.pop(number, None)
            try:
                component = self._loaded(work)
            except RewardError as error:
                self.flush(refused=str(error))
                continue
            self._work(component, work)
            self.progress.write(IDLE)
            self.flush(end=True)

    def _surround(self, changed: Surroundings | None) -> None:
        if changed is not None:
            self.folder = changed.folder
            os.environ.clear()
            os.environ.update(changed.environment)
            sys.path[:] = changed.path
            unsafe.allow(changed.unsafe)
        with contextlib.suppress(OSError):  # the folder is gone: so it is for the parent
            os.chdir(self.folder)

    def _carry(self, spent: Spent) -> None:
        if spent:
            from llmpolicy.endpoint import carry

            carry(spent)
            for address, model, answered, tokens in spent:
                self.known[address, model] = answered, tokens

    def _spent(self) -> list[list[Any]]:
        """What was asked of endpoints since it was told last."""
        endpoint = sys.modules.get("llmpolicy.endpoint")
        more = []
        for address, model, answered, tokens in endpoint.spent() if endpoint else ():
            before = self.known.get((address, model), (0, 0))
            if (answered, tokens) != before:
                self.known[address, model] = (answered, tokens)
                more.append([address, model, answered - before[0], tokens - before[1]])
        return more

    def _loaded(self, work: Work) -> Component:
        if work.load is not None:
            spec, base_dir = load(work.load)
            with warnings.catch_warnings():  # the parent has said it
                warnings.simplefilter("ignore")
                self.rewards[work.reward] = Component.of(spec, base_dir)
        return self.rewards[work.reward]

    def _work(self, component: Component, work: Work) -> None:
        pending: list[tuple[int, Awaitable[Outcome]]] = []
        for index, (arguments, rows) in enumerate(work.calls):
            self.progress.write(index)
            outcome = attempt(component, Call(pickle.loads(arguments), rows))
            if isinstance(outcome, Outcome):
                self.answer(index, outcome)
            else:
                pending.append((index, outcome))
        if pending:
            self._await(component, pending, work.alone)

    def _await(
        self, component: Component, pending: Sequence[tuple[int, Awaitable[Outcome]]], alone: bool
    ) -> None:
        import asyncio

        if self.loop is None:
            # One loop for good: what a judge keeps open between batches belongs to it.
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        if not alone:
            self.progress.write(LOOP)
            self.loop.run_until_complete(self._together(pending, component.timeout, beat=True))
            return
        for index, outcome in pending:
            self.progress.write(index)
            work = self._together([(index, outcome)], component.timeout, beat=False)
            self.loop.run_until_complete(work)

    async def _together(
        self, pending: Sequence[tuple[int, Awaitable[Outcome]]], timeout: float, beat: bool
    ) -> None:
        import asyncio

        gate = asyncio.Semaphore(TOGETHER)

        async def awaited(index: int, making: Awaitable[Outcome]) -> None:
            async with gate:
                self.answer(index, await _in_time(asyncio.ensure_future(making), timeout))

        beats = asyncio.ensure_future(self._beat()) if beat else None
        await asyncio.gather(*(awaited(index, making) for index, making in pending))
        if beats is not None:
            beats.cancel()

    async def _beat(self) -> None:
        import asyncio

        while True:
            self.progress.write(LOOP)
            self.flush()
            await asyncio.sleep(_BEAT_SECONDS)

    def answer(self, index: int, outcome: Outcome) -> None:
        """Tell the outcome of a call, a few at a time."""
        scores = None
        if outcome.scores is not None:
            scores = [[score.value, score.parsed, score.why] for score in outcome.scores]
        self.told.append(
            [index, scores, outcome.seconds, outcome.blame, outcome.why, outcome.traceback]
        )
        if time.monotonic() - self.flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self, **more: Any) -> None:
        """Write what was told since the last time as one line."""
        more |= {"told": self.told, "spent": self._spent()}
        line = json.dumps(more, default=str).encode() + b"\n"
        self.told, self.flushed = [], time.monotonic()
        while line:
            line = line[os.write(self.answers, line) :]


async def _in_time(task: Any, timeout: float) -> Outcome:
    """The outcome of a task, or a timeout: a task that refuses to be cancelled is left behind."""
    import asyncio

    started = time.perf_counter()
    done, _ = await asyncio.wait({task}, timeout=timeout)
    seconds = time.perf_counter() - started
    if not done:
        task.cancel()
        return Outcome(None, seconds, "timeout", f"waited for more than {timeout:g} s")
    if task.cancelled():
        return Outcome(None, seconds, "error", "was cancelled from within")
    outcome: Outcome = task.result()
    return outcome


def load(crossed: bytes) -> tuple[RewardSpec, Path | None]:
    """The reward that `crossing` wrote; RewardError when this process cannot read it."""
    try:
        spec, base_dir, text = pickle.loads(crossed)
        if text is not None:
            keep(base_dir / spec.fn.rpartition(":")[0], text)
    except Exception as error:
        raise RewardError(
            f"A reward cannot be loaded in its worker: {type(error).__name__}: {error}."
        ) from error
    return spec, base_dir


class ImportClock:
    """Stops the clock of a call while it imports a module: only the first call of a worker has to,
    and no model can help it.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress, self.main, self.inside = progress, threading.get_ident(), False

    def install(self) -> None:
        """Watch the import statement and `importlib.import_module`."""
        builtins.__import__ = self._watched(builtins.__import__)
        importlib.import_module = self._watched(importlib.import_module)

    def _watched(self, imports: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*names: Any, **more: Any) -> Any:
            if self.inside or threading.get_ident() != self.main:
                return imports(*names, **more)
            here, since = self.progress.read(), time.monotonic()
            self.inside = True
            self.progress.write(here.index, here.started, since)
            try:
                return imports(*names, **more)
            finally:
                self.inside = False
                self.progress.write(here.index, here.started + time.monotonic() - since)

        return watched


def begin() -> tuple[Any, int, Progress]:
    """Become a worker beneath its keeper; what it reads requests from, where it answers, and the
    record of where it is.

    The words of the command line are descriptor, parent and memory cap.
    """
    descriptor, parent, memory = map(int, sys.argv[1:4])
    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # what a reward prints goes where its parent wants it, never between the answers
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    keeper.begin(parent)
    _limit(memory)
    progress = Progress(descriptor)
    os.close(descriptor)
    return requests, answers, progress


def main() -> None:
    """Serve the process that started this one."""
    requests, answers, progress = begin()
    ImportClock(progress).install()
    with contextlib.suppress(BrokenPipeError):
        Server(requests, answers, progress).serve()
    os._exit(
        0
    )  # no thread of a reward's holds it up, and its keeper ends what the rewards have started


def _limit(memory: int) -> None:
    """Cap what this process and each of its children may allocate: written data on Linux, else the
    address space.
    """
    import resource

    # Address space is no measure on Linux: a library may reserve much of it without touching it.
    what = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    _, most = resource.getrlimit(what)
    if most != resource.RLIM_INFINITY:
        memory = min(memory, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (memory, most))
