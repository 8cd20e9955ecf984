"""Where a worker is, in memory that it shares with its parent, so that the parent knows which call it kills."""

import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass

IDLE, LOADING, LOOP = -1, -2, -3
"""What a worker does instead of a call: nothing, load a reward, run many async calls at once."""

IMPORT_SECONDS = 60.0
"""What loading a reward, or a module inside a call, may take; the clock of the call stands still meanwhile."""

_LAYOUT = struct.Struct("=qdd")


@dataclass(frozen=True, slots=True)
class Position:
    """The call that a worker is in, since when, and since when it has been importing a module (0: it is not)."""

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
    """The shared record; the worker writes it with a few stores a call, the parent looks now and then."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _LAYOUT.size)

    def write(self, index: int, started: float | None = None, importing: float = 0.0) -> None:
        """Say which call is being made, from now on unless ``started`` says since when."""
        _LAYOUT.pack_into(self._memory, 0, index, time.monotonic() if started is None else started, importing)

    def read(self) -> Position:
        """Where the worker is, or was when it ended."""
        return Position(*_LAYOUT.unpack_from(self._memory))

    def close(self) -> None:
        """Unmap the record."""
        self._memory.close()


def shared_memory() -> int:
    """A descriptor of memory that only its holders see, of the size of a record."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("llmpolicy-reward")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, _LAYOUT.size)
    return descriptor
