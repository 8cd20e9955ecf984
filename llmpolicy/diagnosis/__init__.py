"""What is wrong with a run, each with its evidence and what to change."""

from collections.abc import Iterable
from pathlib import Path

from llmpolicy.diagnosis import asked, lengths, signal, update
from llmpolicy.diagnosis.evidence import Completion, Evidence, of_run
from llmpolicy.diagnosis.finding import Diagnosis, Finding, NotChecked
from llmpolicy.diagnosis.trl_output import of_trl
from llmpolicy.run import Run

__all__ = [
    "Completion",
    "Diagnosis",
    "Evidence",
    "Finding",
    "NotChecked",
    "diagnose",
    "evidence_at",
]

CHECKS = (*signal.CHECKS, *update.CHECKS, *lengths.CHECKS, *asked.CHECKS)

BY_COMPLETION = (
    "constant_part",
    "same_answer",
    "unjudged",
    "unjudged_by_difficulty",
    "environment_failures",
    "tool_never_called",
)
"""Checks that are silent where there are no completions."""


def evidence_at(folder: Path) -> Evidence:
    """What a run of ours, or the output of TRL's trainer, has left; RunError where it is neither,
    or nothing was trained yet.
    """
    is_ours = (folder / "manifest.json").exists() or not folder.is_dir()
    return of_run(Run.open(folder)) if is_ours else of_trl(folder)


def diagnose(run: Evidence) -> Diagnosis:
    """Look at a run in every way there is; the surest finding comes first."""
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    if not run.completions:
        not_checked += [NotChecked(kind, "the completions were not kept") for kind in BY_COMPLETION]
    for check in CHECKS:
        found = check(run)
        for each in found if isinstance(found, Iterable) else [found]:
            if isinstance(each, Finding):
                findings.append(each)
            elif isinstance(each, NotChecked):
                not_checked.append(each)
    findings.sort(key=lambda finding: -finding.confidence)
    return Diagnosis(findings, not_checked)
