"""What is wrong with a run, each with its evidence and what to change."""

from pathlib import Path

from llmpolicy.diagnosis.checks import diagnose
from llmpolicy.diagnosis.evidence import Completion, Evidence, of_run
from llmpolicy.diagnosis.finding import Diagnosis, Finding, NotChecked
from llmpolicy.diagnosis.live import Live
from llmpolicy.diagnosis.trl_output import of_trl
from llmpolicy.run import Run

__all__ = [
    "Completion",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Live",
    "NotChecked",
    "diagnose",
    "evidence_at",
]


def evidence_at(folder: Path) -> Evidence:
    """What a run of ours, or the output of TRL's trainer, has left; RunError where it is neither,
    or nothing was trained yet.
    """
    is_ours = (folder / "manifest.json").exists() or not folder.is_dir()
    return of_run(Run.open(folder)) if is_ours else of_trl(folder)
