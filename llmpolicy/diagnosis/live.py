"""The checks while a run goes on: each kind of finding is told once, to all who listen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmpolicy.diagnosis.checks import diagnose
from llmpolicy.diagnosis.evidence import HEAVY, Completion, completions_of, of_run
from llmpolicy.diagnosis.finding import Finding
from llmpolicy.errors import one_line
from llmpolicy.run import Run
from llmpolicy.run.episodes import mode_of, read_rows, step_of_rows
from llmpolicy.terminal import Say

Heard = Callable[[int, Finding], object]
"""Who is told of a finding, and the step in which it was found."""

FIRST = 16
"""Steps before a look, but in runs that are short."""
COMPLETIONS = 1024
FEWEST, MOST = 8, 64
"""Of how many completions, and steps at least and at most, a look reads: what it costs does not
grow with the run.
"""


def is_due(step: int, steps: int) -> bool:
    """Whether a step is one to look after: each quarter of a run, and before the first one 16, 32,
    64 ... steps.
    """
    is_early = FIRST <= step < steps / 4 and step.bit_count() == 1
    return is_early or (step > 0 and step in (steps // 4, steps // 2, 3 * steps // 4, steps))


@dataclass
class Live:
    """A run that is looked at while it is written.

    ``listeners`` are told of each kind when it is first found; whatever a look or a listener
    raises is said, and ends nothing.
    """

    run: Run
    say: Say
    listeners: list[Heard] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)
    """Kinds that somebody else has a line of; listeners are told of them all the same."""
    _read: dict[int, list[Completion]] = field(default_factory=dict)

    def look(self, step: int) -> list[Finding]:
        """Tell of what was not found before this step; returns it."""
        try:
            found = diagnose(of_run(self.run, self._sample())).findings
        except Exception as error:  # noqa: BLE001 - a training is worth more than a look at it
            self._failed("the run could not be looked at", error)
            return []
        new = [finding for finding in found if finding.kind not in self.told]
        for finding in new:
            self.told.add(finding.kind)
            if finding.kind not in self.said:
                self.say(note(step, finding))
            for listener in self.listeners:
                self._tell(listener, step, finding)
        return new

    def _tell(self, listener: Heard, step: int, finding: Finding) -> None:
        try:
            listener(step, finding)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(f"{finding.kind} could not be told", error)

    def _failed(self, what: str, error: Exception) -> None:
        line = f"  note: {what} ({type(error).__name__}: {one_line(error)[:120]})"
        if line not in self.told:
            self.told.add(line)
            self.say(line)

    def _sample(self) -> list[Completion]:
        """Completions of steps that are evenly apart, the first among them; a file is read once."""
        files: dict[int, list[Path]] = {}
        for file in self.run.rollout_files():
            if mode_of(file) == "train":
                files.setdefault(step_of_rows(file), []).append(file)
        kept = list(files)
        most = MOST
        if kept:
            size = len(self._of_step(kept[0], files))
            most = min(MOST, max(FEWEST, COMPLETIONS // max(size, 1)))
        while len(kept) > most:
            kept = kept[::2]
        self._read = {step: self._of_step(step, files) for step in kept}
        return [one for members in self._read.values() for one in members]

    def _of_step(self, step: int, files: Mapping[int, Sequence[Path]]) -> list[Completion]:
        if step not in self._read:
            self._read[step] = list(completions_of(read_rows(files[step], "train", HEAVY)))
        return self._read[step]


def note(step: int, finding: Finding) -> str:
    """A finding in one line with its remedy."""
    return f"  note: {finding.kind}, step {step}: {finding.says}. Change: {finding.remedy}"
