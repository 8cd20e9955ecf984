"""The board: every shipped row on every problem whose base lies on this machine, five seeds each.

A result that is there is not measured again; those of other sources are thrown away first.
"""

import shutil
from pathlib import Path
from typing import Any

from llmpolicy.board import BoardRow, load_row, problems, read_board, rows, run_row
from llmpolicy.plan import model_path
from llmpolicy.recipe import load_recipe
from scripts.receipts._sources import QUICKSTART, ROOT, RUNS, fingerprint

SOURCES = [
    "scripts/receipts/board.py",
    "llmpolicy/board/**/*",
    "scripts/board/*",
    "llmpolicy/run/*.py",
    "llmpolicy/stages/grpo.py",
    *QUICKSTART,
]
RESULTS, SEEDS = RUNS / "board", range(5)
BESIDES = [ROOT / "scripts" / "board" / "unsloth.yaml"]
"""Rows that need an environment of their own, which may not be there."""


def measure() -> dict[str, Any]:
    """The board as `llmpolicy board show --json` writes it, with every look."""
    drop_others(RESULTS, SOURCES)
    for name in [*rows(), *map(str, BESIDES)]:
        row = load_row(name)
        if not _has_environment(row):
            continue
        there = [problem for problem in row.problems if _has_base(problem)]
        run_row(row, name, RESULTS, problems=there, seeds=SEEDS, say=say)
    board = read_board(RESULTS)
    looks = {}
    for result in board.results:
        name = f"{result.problem.name}/{result.row}/{result.seed}"
        looks[name] = [look.model_dump() for look in result.looks]
    machines = {str(result.machine) for result in board.results}
    return {**board.to_dict(), "machines": sorted(machines), "looks": looks}


def drop_others(folder: Path, patterns: list[str]) -> None:
    """Empty a folder of results that were measured on other sources."""
    noted, sources = folder / "sources", fingerprint(patterns)
    if folder.is_dir() and (not noted.is_file() or noted.read_text() != sources):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(sources)


def _has_environment(row: BoardRow) -> bool:
    there = row.python is None or (row.base_dir / row.python).exists()
    if not there:
        print(f"{row.name}: left out, there is no {row.python}", flush=True)
    return there


def _has_base(problem: str) -> bool:
    recipe = load_recipe(problems()[problem].recipe)
    path = model_path(recipe.language_model, recipe.base_dir)
    there = Path(path).is_dir() or (ROOT / path).is_dir()
    if not there:
        print(
            f"{problem}: left out, there is no {path} (python scripts/get_smollm2.py)", flush=True
        )
    return there


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)
