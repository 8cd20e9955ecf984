"""The battery on one reward: wrong completions that some design pays, right ones that it must."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpolicy.audit.asking import Answered, sample_of
from llmpolicy.audit.battery import CONTROLS, Attack, Case
from llmpolicy.audit.battery.gullible import repeating
from llmpolicy.audit.battery.plan import Plan
from llmpolicy.audit.subject import Hole, Subject
from llmpolicy.errors import nearest
from llmpolicy.rewards.contract import OFFERED
from llmpolicy.types import Sample

MIN_CONTROLS = 0.97
"""The share of right completions that a reward must accept."""

NOTHING = "nothing was checked: declare examples that pass and fail, or `kind` and `formats`"

_MOST_SLOW = 3
_LONG = 2_000


def check_battery(subject: Subject, attacks: Sequence[Attack], row: Mapping[str, Any]) -> None:
    """Every attack and control that concerns this reward; ``row`` has the columns that no example
    gives.
    """
    contract, report = subject.contract, subject.report
    example = next(iter([*contract.passes, *contract.fails]), row)
    if _lacks(subject, example):
        return
    verdicts = [control.text for control in CONTROLS if control.topic == "judge"]
    with repeating(verdicts) as endpoint:
        tries = _Tries(subject)
        names = {*subject.component.required, *subject.component.optional}
        reference = subject.spec.fn
        words = reference if isinstance(reference, str) else report.reward
        plan = Plan(contract, names, tries.pays, words, example, endpoint)
        report.topics = sorted(plan.topics)
        if plan.silent:
            unpaid = f"; of the first it said: {tries.unpaid}" if tries.unpaid else ""
            subject.error(
                "no gold answer is paid in any format known; declare `formats`, or examples that"
                f" pass{unpaid}"
            )
        elif not (plan.topics or contract.passes or contract.fails or report.golds):
            subject.error(NOTHING)
        attacked, controls = plan.attacks(attacks), plan.controls(CONTROLS)
        report.attacks = len({case.of.name for case in attacked})
        _note_holes(subject, attacked, _judged(subject, attacked))
        _note_controls(subject, controls, _judged(subject, controls))


class _Tries:
    """Whether a reward pays what the plan tries on it; one that is always late is asked no more.

    ``unpaid`` is what it said of the first that it did not pay.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, self.slow, self.unpaid = subject, 0, ""

    def pays(self, completion: str, columns: Mapping[str, Any]) -> bool:
        """Whether a completion of a row with these columns is paid."""
        if self.slow >= _MOST_SLOW:
            return False
        (answer,) = self.subject.judge([_sample(self.subject, completion, columns)])
        self.slow += answer.seconds >= self.subject.component.timeout
        if answer.why and not answer.refused:  # what is refused is an error already
            self.unpaid = self.unpaid or f"{completion!r} ({answer.why})"
        return self.subject.paid(answer.value)


def _sample(subject: Subject, completion: str, columns: Mapping[str, Any]) -> Sample:
    return sample_of({**columns, "completion": completion}, subject.component)


def _judged(subject: Subject, cases: Sequence[Case]) -> list[Answered]:
    samples = [_sample(subject, case.completion, case.columns) for case in cases]
    subject.seen += [sample for sample in samples if len(sample.completion) < _LONG]
    return subject.judge(samples)


def _lacks(subject: Subject, example: Mapping[str, Any]) -> bool:
    """Whether the reward asks for what neither its examples nor the rows have; each such name is
    an error.
    """
    known = {*example, "answer"}
    lacking = [name for name in subject.component.columns if name not in known]
    for name in lacking:
        styles = [style for style, names in OFFERED.items() if name in names]
        hint = f"; style {' or '.join(styles)} gets it"
        if not styles:
            hint = nearest(name, {*known, *OFFERED[subject.component.style]})
        subject.error(f"it asks for {name!r}, which no example that passes gives{hint}")
    return bool(lacking)


def _note_holes(subject: Subject, cases: Sequence[Case], answered: Sequence[Answered]) -> None:
    """A hole is an attack that is paid for two golds, or for the one it could be tried on."""
    golds: dict[tuple[str, str], set[str]] = {}
    paid: dict[tuple[str, str], dict[str, Hole]] = {}
    for case, answer in zip(cases, answered, strict=True):
        attack = case.of
        assert isinstance(attack, Attack)
        key = str(attack.family), attack.name
        golds.setdefault(key, set()).add(case.gold)
        if answer.value is not None and subject.paid(answer.value):
            shown = case.completion[:_LONG]
            hole = Hole(attack.family, attack.name, shown, answer.value, attack.breaks)
            paid.setdefault(key, {}).setdefault(case.gold, hole)
    for key, holes in paid.items():
        if len(holes) >= min(2, len(golds[key])):
            subject.report.holes.append(next(iter(holes.values())))


def _note_controls(subject: Subject, cases: Sequence[Case], answered: Sequence[Answered]) -> None:
    report = subject.report
    for case, answer in zip(cases, answered, strict=True):
        if answer.value is None:
            continue
        report.total += 1
        if subject.paid(answer.value):
            report.accepted += 1
        else:
            report.rejected.append((case.gold, case.completion))
    if report.accepted < MIN_CONTROLS * report.total:
        subject.error(f"{report.accepted} of {report.total} right completions were accepted")
