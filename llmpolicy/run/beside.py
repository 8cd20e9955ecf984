"""What is written while a training goes on: one piece at a time in a thread of its own."""

from collections.abc import Callable
from threading import Thread


class Beside:
    """Does one thing after the other; what went wrong is raised by all who wait for it from then
    on.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def do(self, work: Callable[[], object]) -> None:
        """Begin a piece of work when the one before it is done; raises what that raised."""
        self.settle()
        self._thread = Thread(target=self._work, args=(work,), name="record")
        self._thread.start()  # the interpreter waits for it before it ends

    def settle(self) -> None:
        """Wait until nothing is left to do; raises what was raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _work(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
