"""Make the runs of the bench, each in a process of its own; what was made is not made again."""

import gzip
import importlib
import pickle
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from scripts.doctor_bench.broken import BROKEN
from scripts.doctor_bench.build import base, played, teach_all
from scripts.doctor_bench.cases import SEEDS, SETS, Case
from scripts.doctor_bench.healthy import HEALTHY
from scripts.receipts._sources import ROOT, fingerprint
from scripts.zoo import isolate

CASES = (*BROKEN, *HEALTHY)
ONCE = """
llmpolicy.diagnosis llmpolicy.evaluation llmpolicy.grpo.config llmpolicy.grpo.trainer
llmpolicy.report.plot llmpolicy.session.evaluate llmpolicy.session.training llmpolicy.stages.grpo
matplotlib.pyplot detect_secrets transformers.models.llama.modeling_llama peft
"""
"""What is loaded once, and not in every process."""


MADE_BY = [
    f"scripts/doctor_bench/{name}.py"
    for name in ("broken", "build", "faults", "games", "healthy", "rewards", "tasks")
]


def folder() -> Path:
    """Where the runs lie that these sources make."""
    return ROOT / "runs" / "doctor_bench" / fingerprint(MADE_BY)[:12]


def file_of(folder: Path, key: str) -> Path:
    """Where the evidence of a run lies."""
    return folder / f"{key}.pickle.gz"


def make(folder: Path, sets: Collection[str] = SETS, names: Collection[str] = ()) -> None:
    """Make every run of these sets, and of these cases or all, that is not in the folder."""
    for name in ONCE.split():
        importlib.import_module(name)
    folder.mkdir(parents=True, exist_ok=True)
    for of in sets:
        for turn in range(len(SEEDS[of])):
            for case in CASES:
                task, seed = case.runs(of)[turn]
                if not names or case.name in names:
                    _made(folder, case, of, task, seed)


def _made(folder: Path, case: Case, of: str, task: str, seed: int) -> None:
    key = case.key(of, task, seed)
    if file_of(folder, key).exists():
        return
    changes = case.change(task)
    path = Path(changes.get("model", {}).get("path") or base(task))
    apart = partial(isolate.apart, log=folder / "log")
    if missing := {name for name in (task, path.name) if not Path(base(name)).exists()}:
        apart("base", partial(_taught, missing - {"bundled", "sums"}))
    row = apart(key, partial(_kept, file_of(folder, key), case, task, seed))
    print(f"{key}: {row['outcome']} ({row['seconds']} s)", flush=True)


def _taught(names: set[str]) -> dict[str, Any]:
    teach_all(names)
    return {"outcome": "taught"}


def _kept(file: Path, case: Case, task: str, seed: int) -> dict[str, Any]:
    evidence = played(task, seed, case.change(task), case.fault)
    half = file.with_suffix(".half")
    with gzip.open(half, "wb", compresslevel=3) as written:
        pickle.dump(evidence, written)
    half.rename(file)
    return {"outcome": "made"}


def read(folder: Path, key: str) -> Any:
    """The evidence of a run; None where it could not be made."""
    if not file_of(folder, key).exists():
        return None
    with gzip.open(file_of(folder, key)) as file:
        return pickle.load(file)
