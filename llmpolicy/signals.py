"""Ctrl-C, SIGTERM and SIGHUP as a wish: the loop that trains ends at its next step, with a
checkpoint. No torch here.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)
_LAUNCHED = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")
"""What torchrun and accelerate set for the processes that they start."""


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


class Interrupted(KeyboardInterrupt):
    """A signal that ends what is going on at once; its text says what is kept."""

    def __init__(self, words: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(words)
        self.number = number

    @classmethod
    def of(cls, error: KeyboardInterrupt, words: str = "") -> "Interrupted":
        """The same with words; by Ctrl-C where the error does not say."""
        return cls(words or str(error), getattr(error, "number", signal.SIGINT))


class Signals:
    """Notes the first SIGINT, SIGTERM or SIGHUP, in words, for a loop to end by; a second one is
    immediate.

    ``unit`` is what the loop finishes first.
    """

    def __init__(self, unit: str = "step") -> None:
        self.unit = unit
        self.reason: str | None = None
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def listen(self) -> Self:
        """Take over the signals; only the main thread may."""
        for number in (signal.SIGINT, *_terminating()):
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:
                return self
        return self

    def forget(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None:
            raise Interrupted(number=number)
        self.signal, self.reason = number, signal.Signals(number).name
        again = "Ctrl-C again" if number == signal.SIGINT else "a second signal"
        line = f"stopping after this {self.unit}, with a checkpoint; {again} to stop at once\n"
        if is_main():
            with contextlib.suppress(OSError):
                os.write(2, line.encode())  # from within a handler print may not be called


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is going on as Ctrl-C does, where only a loop knows
    better.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted(number=number)

    try:
        previous = {number: signal.signal(number, end) for number in _terminating()}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminating() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP of a terminal that closes, unless ``nohup`` has it ignored."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        return [signal.SIGTERM, signal.SIGHUP]
    return [signal.SIGTERM]


def end_with_launcher() -> None:
    """Get SIGTERM when the launcher that started this process dies, were it by SIGKILL; Linux alone
    can promise that.
    """
    if sys.platform == "linux" and not os.environ.keys().isdisjoint(_LAUNCHED):
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
