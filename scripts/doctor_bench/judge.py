"""What the doctor says of the runs of a set, of their whole and of their beginnings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpolicy.diagnosis import Evidence, diagnose
from scripts.doctor_bench.cases import Case
from scripts.doctor_bench.make import CASES, read

SHARES = (0.25, 0.5, 0.75, 1.0)

Row = dict[str, Any]


def judged(folder: Path, of: str, cases: Sequence[Case] = CASES) -> list[Row]:
    """A row a run: the kinds that were found after each share of its steps."""
    rows: list[Row] = []
    for case in cases:
        for task, seed in case.runs(of):
            evidence = read(folder, case.key(of, task, seed))
            found = None if evidence is None else kinds(evidence)
            row: Row = {"case": case.name, "expects": list(case.expects)}
            rows.append(row | {"task": task, "seed": seed, "found": found})
    return rows


def kinds(evidence: Evidence) -> dict[str, list[str]]:
    """What was found, by the share of the steps that were there."""
    steps = int(evidence.settings.get("max_steps") or evidence.last_step)
    found = {}
    for share in SHARES:
        diagnosis = diagnose(evidence.until(int(steps * share)))
        failed = [each for each in diagnosis.not_checked if "the check failed" in each.why]
        assert not failed, failed
        found[f"{share:g}"] = sorted({finding.kind for finding in diagnosis.findings})
    return found


def is_named(row: Row, share: float = 1.0) -> bool:
    """Whether what is wrong with a broken run is found; whether a sound one has a finding."""
    found = set((row["found"] or {}).get(f"{share:g}", ()))
    return bool(found & set(row["expects"]) if row["expects"] else found)


def since(row: Row) -> float | None:
    """The share of the run from which on it is always found."""
    first = None
    for share in reversed(SHARES):
        if not is_named(row, share):
            break
        first = share
    return first


def by_case(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """The rows of each case, in order."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    return cases


def text(rows: Sequence[Row]) -> str:
    """The result as lines."""
    lines = []
    for name, of_case in by_case(rows).items():
        named = sum(map(is_named, of_case))
        found = Counter(kind for row in of_case for kind in (row["found"] or {}).get("1", ["none"]))
        early = [since(row) for row in of_case]
        shares = [sum(is_named(row, share) for row in of_case) for share in SHARES]
        lines.append(f"{name}: {named} of {len(of_case)} {shares} {early} {dict(found)}")
    sound = [row for row in rows if not row["expects"]]
    alarms = [sum(is_named(row, share) for row in sound) for share in SHARES]
    lines.append(f"false alarms in {alarms} of {len(sound)} sound runs")
    return "\n".join(lines)
