"""Where a worker is, in memory that it shares with its parent, so that the parent knows which call
it kills.
"""

import mmap
import os
import tempfile
import time
from dataclasses import dataclass

IDLE, LOADING, LOOP = -1, -2, -3
"""What a worker does instead of a call: nothing, load a reward, run many async calls at once."""

IMPORT_SECONDS = 60.0
"""What loading a reward, or a module inside a call, may take; the clock of the call stands still
meanwhile.
"""

_SIZE = 32
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Position:
    """The call that a worker is in, since when, and since when it has been importing a module (0:
    it is not).
    """

    index: int
    started: float
    importing: float

    @property
    def seconds(self) -> float:
        """How long the call has taken, without imports."""
        now = time.monotonic()
        if self.importing and now - self.importing > IMPORT_SECONDS:
            return float("inf")
        return (self.importing or now) - self.started


class Progress:
    """The shared record; the worker writes it with a few stores a call, the parent looks now and
    then.

    A count that is odd while the record is being written (Lamport 1977) keeps a reader from half of
    it.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._whole = memoryview(self._memory).cast("q")  # count, index, -, -
        self._real = memoryview(self._memory).cast("d")  # -, -, started, importing

    def write(self, index: int, started: float | None = None, importing: float = 0.0) -> None:
        """Say which call is being made, from now on unless ``started`` says since when."""
        count = self._whole[0] | 1
        self._whole[0] = count
        self._whole[1] = index
        self._real[2] = time.monotonic() if started is None else started
        self._real[3] = importing
        self._whole[0] = count + 1

    def read(self) -> Position:
        """Where the worker is, or was when it ended."""
        begun = self._whole[0]
        for _ in range(_TRIES):
            count = self._whole[0]
            position = Position(self._whole[1], self._real[2], self._real[3])
            if count % 2 == 0 and count == self._whole[0]:
                return position
        if count != begun:
            # It goes from call to call faster than can be read: none of them is late.
            return Position(position.index, time.monotonic(), 0.0)
        time.sleep(1e-3)
        # It ended, or was stopped, while it wrote.
        return position if self._whole[0] == begun else self.read()

    def close(self) -> None:
        """Unmap the record."""
        self._whole.release()
        self._real.release()
        self._memory.close()


def shared_memory() -> int:
    """A descriptor of memory that only its holders see, of the size of a record."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("llmpolicy-reward")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, _SIZE)
    return descriptor
