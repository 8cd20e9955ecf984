"""One test of a program: what to call or to type in, and what is expected of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmpolicy.sandbox import Execution, Job

from .values import Expected, Tolerance, agrees, same_output


class Unreadable(ValueError):
    """The tests of a row cannot be used; the message says why."""


class IsProgram(Exception):
    """The tests of a row are a program, which is run and not read."""

    def __init__(self, text: str, name: str | None) -> None:
        super().__init__(text)
        self.text, self.name = text, name


@dataclass(frozen=True, slots=True)
class Case:
    """A call with its arguments, or, without ``call``, a program with its ``stdin``; ``expected``
    never leaves here.
    """

    expected: Expected
    call: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    stdin: str = ""

    def job(self, code: str, most: int) -> Job:
        """What enters the sandbox, and how many bytes of what comes out are looked at."""
        return Job(code, self.call, self.args, self.kwargs, self.stdin, most)

    def failed(self, outcome: Execution, tolerance: Tolerance) -> str:
        """Why an outcome is not as expected; an empty text when it is."""
        if outcome.ended == "returned":
            same, why = agrees(self.expected, outcome.value, tolerance), "returned something else"
        elif outcome.ended == "finished":
            same = same_output(self.expected.value, outcome.stdout, tolerance)
            why = "printed something else"
        else:
            return outcome.why
        return "" if same else why
