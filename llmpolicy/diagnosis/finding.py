"""What a check finds: how sure it is, by which numbers, in which completions, what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
SHOWN = 3
"""How many completions a finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a run.

    ``says`` is a sentence with its numbers, ``remedy`` names what to change, ``confidence`` lies
    between 0 and 1, ``rollouts`` are the places of completions that show it, as STEP:NUMBER.
    """

    kind: str
    says: str
    remedy: str
    confidence: float
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    rollouts: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding as it stands in the JSON of the doctor."""
        return {**asdict(self), "rollouts": list(self.rollouts[:SHOWN])}

    def lines(self) -> list[str]:
        """The finding for a terminal."""
        shown = ", ".join(self.rollouts[:SHOWN])
        where = [f"  see: {shown}"] if shown else []
        return [f"{self.kind}: {self.says}", f"  change: {self.remedy}", *where]


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A check that this run gives nothing to decide by, and what is missing."""

    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found in a run, the surest first, and what could not be looked at."""

    findings: Sequence[Finding]
    not_checked: Sequence[NotChecked] = ()

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.findings:
            return "nothing was found wrong with this run"
        count = len(self.findings)
        return f"{count} thing{'s' * (count > 1)} found: {', '.join(f.kind for f in self.findings)}"

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "not_checked": [asdict(check) for check in self.not_checked],
        }

    def __str__(self) -> str:
        lines = [self.verdict]
        for finding in self.findings:
            lines += finding.lines()
        if self.not_checked:
            lines.append("not looked at:")
            lines += [f"  {check.kind}: {check.why}" for check in self.not_checked]
        return "\n".join(lines)
