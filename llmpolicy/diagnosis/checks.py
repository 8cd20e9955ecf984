"""All checks, one after the other."""

import itertools
from collections.abc import Callable, Iterable

from llmpolicy.diagnosis import asked, chance, lengths, signal, update
from llmpolicy.diagnosis.evidence import Evidence
from llmpolicy.diagnosis.finding import Diagnosis, Finding, NotChecked
from llmpolicy.errors import one_line

CHECKS = (*signal.CHECKS, *chance.CHECKS, *update.CHECKS, *lengths.CHECKS, *asked.CHECKS)

BY_COMPLETION = (
    "constant_part",
    "same_answer",
    "unjudged",
    "unjudged_by_difficulty",
    "environment_failures",
    "tool_never_called",
)
"""Checks that are silent where there are no completions."""


def diagnose(run: Evidence) -> Diagnosis:
    """Look at a run in every way there is; the surest finding comes first."""
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    if not run.completions:
        not_checked += [NotChecked(kind, "the completions were not kept") for kind in BY_COMPLETION]
    for each in itertools.chain.from_iterable(_made(check, run) for check in CHECKS):
        if isinstance(each, Finding):
            findings.append(each)
        elif isinstance(each, NotChecked):
            not_checked.append(each)
    findings.sort(key=lambda finding: -finding.confidence)
    return Diagnosis(findings, not_checked)


def _made(check: Callable[[Evidence], object], run: Evidence) -> list[object]:
    """What a check found; that it failed is one thing that could not be looked at."""
    try:
        found = check(run)
        return list(found) if isinstance(found, Iterable) else [found]
    except Exception as error:  # noqa: BLE001 - logs of others may hold anything, and a training goes on
        why = f"the check failed: {type(error).__name__}: {one_line(error)[:120]}"
        return [NotChecked(check.__name__, why)]
