"""What the check of a reward comes to: holes, errors, and the figures around them."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Hole:
    """An attack that was paid, with the completion that was paid."""

    family: str
    attack: str
    completion: str
    score: float
    breaks: str = ""


@dataclass
class Report:
    """What a check found; `clean` when nothing is wrong.

    ``rejected`` holds gold and completion of each right one that was refused, ``shown`` a few gold
    answers with their value and why.
    """

    reward: str
    holes: list[Hole] = field(default_factory=list)
    accepted: int = 0
    total: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    worst_seconds: float = 0.0
    worst: str = ""
    mean_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    attacks: int = 0
    examples: int = 0
    golds: int = 0
    asked: int = 0
    topics: list[str] = field(default_factory=list)
    shown: list[tuple[str, float | None, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no hole and no error was found."""
        return not self.holes and not self.errors

    def to_dict(self) -> dict[str, Any]:
        """The record that ``--json`` writes."""
        holes = list(map(asdict, self.holes))
        for hole in holes:
            del hole["breaks"]
        return {
            "schema": 1,
            "holes": holes,
            "controls": {"accepted": self.accepted, "total": self.total},
            "worst_seconds": self.worst_seconds,
            "errors": self.errors,
        }
