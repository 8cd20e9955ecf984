"""What rewards print: into a file of the run while there is one, of bounded size and counted, else
on the terminal.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from llmpolicy.terminal import shown

MOST_BYTES = 10 * 2**20
"""What is kept of it; the rest is only counted."""

_FULL = b"\n(more was printed and is not kept)\n"


class Printed:
    """Takes what workers print, from several threads; lines are counted by their ends."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.lines = 0
        self._lock = threading.Lock()

    def take(self, data: bytes) -> None:
        """Keep or show some of what was printed; what the disk does not take is counted all the
        same.
        """
        with self._lock, contextlib.suppress(OSError):
            self.lines += data.count(b"\n")
            if self.path is None:
                os.write(2, shown(data.decode("utf-8", "replace")).encode())
                return
            with self.path.open("ab") as file:
                room = MOST_BYTES - file.tell()
                if room > 0:
                    file.write(data[:room])
                    if len(data) > room:
                        file.write(_FULL)

    @contextlib.contextmanager
    def kept_in(self, path: Path, say: Callable[[str], None]) -> Iterator[None]:
        """While it lasts, what is printed goes to a file; at the end its lines are said, if there
        were any.
        """
        self.path, self.lines, outer = path, 0, (self.path, self.lines)
        try:
            yield
        finally:
            lines, (self.path, self.lines) = self.lines, outer
            if lines:
                say(f"the rewards printed {lines:,} line{'s' if lines > 1 else ''}: {path}")


printed = Printed()
"""What the workers of this process print."""
