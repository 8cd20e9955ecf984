"""One worker as its parent sees it: started, spoken to, watched, and killed with all that it
started.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.printed import printed
from llmpolicy.rewards.workers.progress import IDLE, IMPORT_SECONDS, Progress, shared_memory

MEMORY = int(float(os.environ.get("LLMPOLICY_REWARD_GIB", "4")) * 2**30)
"""Bytes that a worker may allocate."""

_WORN_MEMORY, _WORN_FILES, _WORN_THREADS = MEMORY // 4, 256, 512
_ENDING_SECONDS = 8.0
_ROOT = str(Path(__file__).resolve().parents[3])
# The parent's own llmpolicy, wherever it came from; the rest of its sys.path follows with the first
# work.
_START = f"import sys; sys.path[:0] = [] if {_ROOT!r} in sys.path else [{_ROOT!r}]; "


class WorkerLost(Exception):
    """The process on the other side of the pipe has ended."""


class Worker:
    """A process for rewards with its own memory cap, and its keeper, with which it ends; both end
    with this process.

    ``process`` is the keeper, ``pid`` the number of the worker beneath it. It runs the ``main`` of
    ``module``, which is handed the ``descriptors``.
    """

    def __init__(
        self,
        module: str = "llmpolicy.rewards.workers.worker",
        descriptors: Sequence[int] = (),
        **environment: str,
    ) -> None:
        descriptor = shared_memory()
        self.progress = Progress(descriptor)
        self.progress.write(IDLE)
        words = [str(word) for word in (descriptor, os.getpid(), MEMORY, *descriptors)]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"{_START}from {module} import main; main()", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[descriptor, *descriptors],
            bufsize=0,
            env={**os.environ, **environment},
        )
        os.close(descriptor)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.requests, self.answers = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.prints = self.process.stderr.fileno()
        for descriptor in (self.requests, self.prints):
            os.set_blocking(descriptor, False)
        self._poll = select.poll()
        for descriptor in (self.answers, self.prints):
            self._poll.register(descriptor, select.POLLIN)
        self._partial = b""
        self.last = IDLE
        self.knows: list[int] = []
        self.sources: dict[str | None, str | None] = {}
        self.surroundings: Any = None
        self.pid = self.process.pid
        self._await_ready()

    def _await_ready(self) -> None:
        end = time.monotonic() + IMPORT_SECONDS
        try:
            while time.monotonic() < end:
                for line in self.receive(1.0):
                    self.pid = int(line["ready"])
                    return
            why = f"does not answer within {IMPORT_SECONDS:g} s"
        except WorkerLost:
            why = "ends at once"
        self.kill()
        raise RewardError(
            f"The worker process for rewards {why}; try {sys.executable} -c 'import"
            " llmpolicy.rewards'."
        )

    def send(self, data: bytes) -> None:
        """Write one message; WorkerLost when it cannot be written."""
        rest = memoryview(len(data).to_bytes(8, "big") + data)
        poll = select.poll()
        poll.register(self.requests, select.POLLOUT)
        while rest:
            if not poll.poll(IMPORT_SECONDS * 1000):
                raise WorkerLost
            try:
                rest = rest[os.write(self.requests, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise WorkerLost from error

    def receive(self, seconds: float) -> list[dict[str, Any]]:
        """The lines that came within some seconds, perhaps none; WorkerLost when there will be no
        more.
        """
        ready = dict(self._poll.poll(seconds * 1000))
        if self.prints in ready and not self._take_prints():
            self._poll.unregister(self.prints)
        if self.answers not in ready:
            return []
        data = os.read(self.answers, 1 << 20)
        if not data:
            raise WorkerLost
        *lines, self._partial = (self._partial + data).split(b"\n")
        try:
            return list(map(json.loads, lines))
        except ValueError as error:
            raise WorkerLost from error

    def rest(self) -> Iterator[dict[str, Any]]:
        """What a worker that has ended had still written."""
        with contextlib.suppress(WorkerLost):
            while lines := self.receive(0):
                yield from lines
        while self._take_prints():
            continue

    def _take_prints(self) -> int:
        """Pass on some of what the rewards have printed; how much it was."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.prints, 1 << 16)
            printed.take(data)
            return len(data)
        return 0

    def demand(self) -> float:
        """Seconds for which it and its children have wanted a processor so far: had one, or (on
        Linux) waited for one.
        """
        return sum(map(_wanted, [self.process.pid, *self._children()]))

    def worn(self) -> bool:
        """Whether rewards have left so much memory, or so many files or threads, behind that it
        should be replaced.
        """
        import psutil

        with contextlib.suppress(psutil.Error):
            seen = psutil.Process(self.pid)
            return bool(
                seen.memory_info().rss > _WORN_MEMORY
                or seen.num_fds() > _WORN_FILES
                or seen.num_threads() > _WORN_THREADS
            )
        return True

    def kill(self) -> None:
        """End it and all that it started, and wait for the end."""
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_ENDING_SECONDS)
            return
        for number in [*self._children(), self.process.pid]:  # a reward has stopped even the keeper
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()

    def ask_to_end(self) -> None:
        """Tell its keeper to end it, and do not wait."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            self.process.send_signal(number)

    def close(self) -> None:
        """Kill it and give back its descriptors."""
        self.kill()
        self.disown()

    def disown(self) -> None:
        """Give back the descriptors alone, as a process must that was forked from the worker's
        parent.
        """
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.progress.close()

    def _children(self) -> list[int]:
        import psutil

        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child.pid for child in children]
        return []


def _wanted(process: int) -> float:
    """Seconds of run time and of waiting in a run queue, over the threads of a process."""
    import psutil

    nanoseconds = 0
    for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            ran, waited, _ = thread.read_text().split()
            nanoseconds += int(ran) + int(waited)
    if nanoseconds:
        return nanoseconds / 1e9
    with contextlib.suppress(psutil.Error):
        used = psutil.Process(process).cpu_times()
        return float(used.user + used.system)
    return 0.0
