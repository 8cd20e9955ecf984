"""The board: every shipped row on every problem whose base lies on this machine, five seeds each.

The results lie in receipts/board, a file each, so that hours of them are measured in parts. One
that is there is not measured again, unless what it was measured on has changed since: for a row of
ours all that trains, for another trainer only the problem and the clock.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmpolicy.board import BoardRow, load_row, problems, read_board, rows, run_row
from llmpolicy.bounded import read_json
from llmpolicy.plan import model_path
from llmpolicy.recipe import load_recipe
from scripts.receipts._sources import QUICKSTART, ROOT, TRAINING, fingerprint

CLOCK = [f"llmpolicy/board/{name}.py" for name in ("stopwatch", "worker", "matrix_work")]
"""What every row is measured by."""
SOURCES = [
    "scripts/receipts/board.py",
    "llmpolicy/run/*.py",
    "llmpolicy/stages/grpo.py",
    "llmpolicy/board/**/*",
    "scripts/board/*",
    *QUICKSTART,
]
TRAINS = ["llmpolicy/stages/grpo.py", "llmpolicy/run/*.py", *TRAINING]
RESULTS, SEEDS = ROOT / "receipts" / "board", range(5)
BESIDES = [ROOT / "scripts" / "board" / "unsloth.yaml"]
"""Rows that need an environment of their own, which may not be there."""
OURS = "llmpolicy.board.trainers:recipe"


def measure() -> dict[str, Any]:
    """The board as `llmpolicy board show --json` writes it, and the machines that it is of."""
    for problem, seed, name, row in _asked():
        result = RESULTS / problem / row.name / f"{seed}.json"
        sources = sources_of(row, problem)
        keep_or_drop(result, sources)
        run_row(row, name, RESULTS, problems=[problem], seeds=[seed], say=say)
        note_sources(result, sources)
    board = read_board(RESULTS)
    machines = {str(result.machine) for result in board.results}
    return {**board.to_dict(), "machines": sorted(machines)}


def _asked() -> Iterator[tuple[str, int, str, BoardRow]]:
    """All rows with one seed, then with the next: hours of the machine are shared by all."""
    named = {name: load_row(name) for name in [*rows(), *map(str, BESIDES)]}
    there = {name: row for name, row in named.items() if _has_environment(row)}
    for problem in filter(_has_base, problems()):
        for seed in SEEDS:
            for name, row in there.items():
                if problem in row.problems:
                    yield problem, seed, name, row


def sources_of(row: BoardRow, problem: str, *more: str) -> str:
    """One hash over what a row's result on a problem depends on."""
    about = problems()[problem]
    module, _, _ = row.trainer.partition(":")
    trainer = module.replace(".", "/") + ".py"
    if module.endswith(".py"):
        trainer = str((row.base_dir / module).relative_to(ROOT))
    files = [*CLOCK, *more, trainer, f"recipes/{about.recipe}.yaml"]
    if row.trainer == OURS:
        files += TRAINS
    return fingerprint(files, about.model_dump(), row.settings_of(problem))


def keep_or_drop(result: Path, sources: str) -> None:
    """Delete a result that was measured on other sources."""
    if result.is_file() and read_json(result).get("sources_sha256") != sources:
        result.unlink()


def note_sources(result: Path, sources: str) -> None:
    """Write into a result what it was measured on."""
    noted = {**read_json(result), "sources_sha256": sources}
    result.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _has_environment(row: BoardRow) -> bool:
    there = row.python is None or (row.base_dir / row.python).exists()
    if not there:
        say(f"{row.name}: left out, there is no {row.python}")
    return there


def _has_base(problem: str) -> bool:
    recipe = load_recipe(problems()[problem].recipe)
    path = model_path(recipe.language_model, recipe.base_dir)
    there = Path(path).is_dir() or (ROOT / path).is_dir()
    if not there:
        say(f"{problem}: left out, there is no {path} (python scripts/get_smollm2.py)")
    return there


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)
