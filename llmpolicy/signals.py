"""Ctrl-C and SIGTERM as a wish: the loop that trains ends at its next step, with a checkpoint. No torch here."""

import signal
from types import FrameType
from typing import Any, Self


class Signals:
    """Notes the first SIGINT or SIGTERM for a loop to end by; a second one is immediate."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def listen(self) -> Self:
        """Take over SIGINT and SIGTERM; only the main thread may."""
        for number in (signal.SIGINT, signal.SIGTERM):
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
            raise KeyboardInterrupt
        self.signal, self.reason = number, signal.Signals(number).name
