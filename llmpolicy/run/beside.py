"""What is written while a training goes on: one piece at a time in a thread of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """Does one thing after the other; what went wrong is raised by all who wait for it from then
    on.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "record")  # which the interpreter waits for at its end
        self._last: Future[object] | None = None

    def do(self, work: Callable[[], object]) -> None:
        """Begin a piece of work when the one before it is done; raises what that raised."""
        self.settle()
        self._last = self._thread.submit(work)

    def settle(self) -> None:
        """Wait until nothing is left to do; raises what was raised."""
        if self._last is not None:
            self._last.result()
