"""What the doctor says of runs that are broken on purpose, and of sound ones.

scripts/doctor_bench makes them: a quarter of an hour of one core. A run that was made by the same
sources is not made again; the checks are.
"""

from typing import Any

from scripts.receipts._sources import TRAINING

SOURCES = [
    "scripts/doctor_bench/*.py",
    "scripts/receipts/doctor_bench.py",
    "llmpolicy/bundled/**/*",
    "llmpolicy/diagnosis/*.py",
    "llmpolicy/environments/guess.py",
    *TRAINING,
]


def measure() -> dict[str, Any]:
    """The kinds that were found in every judged run, after each quarter of its steps."""
    from scripts.doctor_bench import build, judge, make

    folder = make.folder()
    make.make(folder, ("judge",))
    return {"steps": build.STEPS, "runs": judge.judged(folder, "judge")}
