"""Where a run goes: the first free name, a directory that may be taken, and what may be cleared from it."""

import shutil
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.run.checkpoints import checkpoints
from llmpolicy.run.files import read_run
from llmpolicy.run.lock import is_live, lock

MINIMUM_FREE_BYTES = 200 * 2**20


def new_run_path(name: str, parent: str | Path = "runs") -> Path:
    """The first free of runs/NAME, runs/NAME-2, runs/NAME-3 ..."""
    path, number = Path(parent) / name, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{name}-{number}"
    return path


def clear(path: Path) -> None:
    """Delete what a run wrote into its directory, and nothing else."""
    for folder in ("checkpoints", "policy", "best"):
        if (path / folder).exists():
            shutil.rmtree(path / folder)
    rollouts = [file for kind in ("parquet", "part") for file in (path / "rollouts").glob(f"*.{kind}")]
    names = ("metrics.jsonl", "faults.jsonl", "evaluation.json", "recipe.yaml", "manifest.json")
    pictures = ("plot.png", "overoptimisation.png")
    for file in [*rollouts, *(path / name for name in (*names, *pictures))]:
        file.unlink(missing_ok=True)


def is_failed_start(path: Path) -> bool:
    """Whether a directory holds a run that ended without a checkpoint, a policy or an evaluation."""
    try:
        read_run(path)
    except RunError:
        return False
    kept = ("policy", "best", "evaluation.json")
    return not (is_live(path) or checkpoints(path / "checkpoints") or any((path / name).exists() for name in kept))


def claim(path: Path) -> None:
    """Take a directory for a new run; raise RunError if it holds one, or cannot be written, or the disk is full."""
    failed = is_failed_start(path)
    if not failed and ((path / "manifest.json").exists() or (path / "recipe.yaml").exists()):
        raise RunError(f"{path} already holds a run; go on with it (--resume) or choose another --out DIR")
    if path.is_file():
        raise RunError(f"{path} is a file; expected a new or empty directory for the run")
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
        if free < MINIMUM_FREE_BYTES:
            raise RunError(
                f"{path}: {free / 2**20:.0f} MiB free, a run needs at least {MINIMUM_FREE_BYTES // 2**20} MiB"
            )
        lock(path)
        if failed:
            clear(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
