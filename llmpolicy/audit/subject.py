"""The reward that is checked: how it is asked, what counts as paid, and the report that grows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmpolicy.audit.asking import Answered, answers
from llmpolicy.rewards.contract import Component, RewardSpec, Style
from llmpolicy.rewards.scoring import Rewards
from llmpolicy.rewards.verdict import sentence
from llmpolicy.types import Sample

SHOWN = 60
"""Characters of a completion that an error shows."""

_MAX_ERRORS = 20
_GRACE = 2.0


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


class Subject:
    """A reward and what is known of it so far: each part of the check asks it by `judge` and notes
    in its ``report`` what is wrong.

    ``seen`` holds the samples over which it must be deterministic.
    """

    def __init__(
        self,
        reference: str | Any,
        args: Mapping[str, Any],
        base_dir: Path | None,
        style: Style | None,
    ) -> None:
        """RewardError when the reward cannot be found or called."""
        self.spec = RewardSpec(reference, args=args, style=style or "single")
        self.base_dir = base_dir
        self.component = Component.of(self.spec, base_dir)
        self.contract = self.component.contract
        self.rewards = self.fresh()
        self.low, self.high = self.contract.range or (0.0, 1.0)
        self.report = Report(self.component.name)
        self.seen: list[Sample] = []
        self._seconds: list[float] = []
        self._faults: list[str] = []

    def fresh(self) -> Rewards:
        """The reward as nobody has asked it yet."""
        return Rewards([self.spec], self.base_dir, stops=False)

    def paid(self, value: float | None) -> bool:
        """Whether a score lies in the upper half of the range."""
        return value is not None and value >= (self.low + self.high) / 2

    def judge(self, samples: Sequence[Sample]) -> list[Answered]:
        """Score samples, and note time, range and what raised."""
        answered = answers(self.rewards, samples)
        for sample, answer in zip(samples, answered, strict=True):
            self._note(sample, answer)
        return answered

    def _note(self, sample: Sample, answer: Answered) -> None:
        shown, seconds = sample.completion[:SHOWN], answer.seconds
        self._seconds.append(seconds)
        if seconds > self.report.worst_seconds:
            self.report.worst_seconds, self.report.worst = seconds, shown
        if answer.refused:
            self.error(answer.why)
        if answer.fault:
            self._faults.append(sentence(self.component.name, answer.why, sample))
        if seconds > self.contract.timeout + _GRACE:
            self.error(f"{seconds:.1f} s on {shown!r}; it declares {self.contract.timeout} s")
        declared, value = self.contract.range, answer.value
        if declared and value is not None and not self.low <= value <= self.high:
            self.error(f"{value} on {shown!r} lies outside its range {declared}")

    def error(self, what: str) -> None:
        """Note what is wrong, once."""
        if what not in self.report.errors and len(self.report.errors) < _MAX_ERRORS:
            self.report.errors.append(what)

    def finished(self) -> Report:
        """The report, with the speed per sample, and the faults in one sentence."""
        if self._faults:
            self.report.errors.insert(
                0,
                f"{len(self._faults)} of {len(self._seconds)} completions could not be judged, by"
                f" no fault of the model. The first: {self._faults[0]}",
            )
        self.report.asked = len(self._seconds)
        self.report.mean_seconds = math.fsum(self._seconds) / max(1, len(self._seconds))
        return self.report
