"""What goes into a sandbox, what is allowed there, and what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Ended = Literal[
    "returned", "raised", "finished", "exited", "died", "processor", "waited", "output", "forged"
]


@dataclass(frozen=True, slots=True)
class Limits:
    """For each job: ``cpu`` seconds of processor time, ``memory`` bytes of address space,
    ``output`` bytes, ``threads``.

    Code can read them, so they may not depend on what is expected of it.
    """

    cpu: float = 4.0
    memory: int = 512 * 2**20
    output: int = 32 * 2**20
    threads: int = 64

    @property
    def wall(self) -> float:
        """Seconds that a job may take, not counting those in which it wanted to run and others
        did.
        """
        return 2 * self.cpu + 1

    @property
    def patience(self) -> float:
        """Seconds that it may take, those counted: on a machine that many share."""
        return 8 * self.cpu + 2


@dataclass(frozen=True, slots=True)
class Job:
    """Code to run: as a program that reads ``stdin``, or, when ``call`` names a function, to call
    it with arguments.

    ``most`` bytes of what it writes are looked at, and code that writes more has failed; nothing in
    the sandbox knows it.
    """

    code: str
    call: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    stdin: str = ""
    most: int = 2**20


@dataclass(frozen=True, slots=True)
class Execution:
    """How a job ended.

    ``returned``: ``value`` holds what the function returned, as `inside.values.encode` writes it.
    ``finished``: ``stdout`` holds what the program printed. All other endings are the code's own
    failure, told in ``why``. It never says whether anything was right. ``cpu`` seconds of processor
    time were used, and ``alone`` seconds passed in which nobody else had it.
    """

    ended: Ended
    value: Any = None
    stdout: str = ""
    why: str = ""
    cpu: float = 0.0
    alone: float = 0.0

    def cost(self, limits: Limits) -> float:
        """Seconds to charge for it: those it computed, or where it rather slept half of the
        latter.
        """
        return max(limits.cpu if self.ended == "waited" else 0.0, self.cpu, self.alone / 2)


@dataclass(frozen=True, slots=True)
class Probe:
    """One mechanism that was tried: why it cannot be used (empty: it can), and what to do about it
    in one line.
    """

    name: str
    why: str = ""
    remedy: str = ""
