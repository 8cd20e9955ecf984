"""A row is run: one process a problem and seed, one result a file; what is there is kept."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llmpolicy.board.result import read_result
from llmpolicy.board.rows import BoardRow
from llmpolicy.bounded import read_json
from llmpolicy.errors import RunError
from llmpolicy.terminal import Say


def run_row(
    row: BoardRow,
    named: str,
    folder: Path,
    *,
    problems: Sequence[str],
    seeds: Sequence[int],
    say: Say,
) -> None:
    """Run a row on problems with seeds, those left out whose results lie in ``folder``; raises
    RunError where a process ends without a result.
    """
    for name in problems:
        row.settings_of(name)
    for name in problems:
        for seed in seeds:
            out = folder / name / row.name / f"{seed}.json"
            if out.is_file():
                say(f"{name}, {row.name}, seed {seed}: is there")
                continue
            _one(row, named, name, seed, out)
            say(f"{name}, {row.name}, seed {seed}: {_told(out)}")


def _one(row: BoardRow, named: str, problem: str, seed: int, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    log, part = out.with_suffix(".log"), out.with_suffix(".part")
    python = str(row.base_dir / row.python) if row.python else sys.executable
    command = [python, "-m", "llmpolicy.board.worker", named, problem, str(seed), str(part)]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode or not part.is_file():
        last = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
        raise RunError(
            f"row {row.name!r} on {problem}, seed {seed}, ended with exit code {done.returncode}"
            f" and no result ({last:.200}); all that it said is in {log}"
        )
    data = {"row": row.name, "says": row.says, "seed": seed, **read_json(part)}
    part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    part.replace(out)


def _told(out: Path) -> str:
    found = read_result(out)
    how = "reached" if found.reached else "not reached:"
    spent = f"{found.last.seconds:.1f} s, {found.last.completions:,} completions"
    return f"{how} {found.last.accuracy:.3f} after {spent}"
