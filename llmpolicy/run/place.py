"""Where a run goes: the first free name, a directory that may be taken, and what may be cleared
from it.
"""

import shutil
from pathlib import Path

import yaml

from llmpolicy.bounded import load_yaml, read_text
from llmpolicy.errors import RunError
from llmpolicy.run.checkpoints import checkpoints, names_in
from llmpolicy.run.files import read_run
from llmpolicy.run.lock import holds, is_live, lock, release

FOLDERS = ("rollouts", "checkpoints")
"""What a run makes before it writes anything."""

WRITTEN = (
    "metrics.jsonl",
    "faults.jsonl",
    "evaluation.json",
    "answers.jsonl",
    "looks.jsonl",
    "rewards.log",
    "grpo_config.json",
    "recipe.yaml",
    "manifest.json",
)
PICTURES = ("plot.png", "overoptimisation.png", "report.html")

REPORTS = {
    "sft": Path("warm_start") / "warm_start.json",
    "reward_model": Path("reward_model") / "reward_model.json",
}
"""What a stage writes last, from the run's directory: a stage with its report is whole."""

MINIMUM_FREE_BYTES = 200 * 2**20


def new_run_path(name: str, parent: str | Path = "runs") -> Path:
    """The first free of runs/NAME, runs/NAME-2, runs/NAME-3 ..."""
    path, number = Path(parent) / name, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{name}-{number}"
    return path


def make_folders(path: Path) -> None:
    """Make the folders of a run that are not there."""
    for name in FOLDERS:
        (path / name).mkdir(exist_ok=True)


def clear(path: Path) -> None:
    """Delete what a run wrote into its directory, and nothing else."""
    for folder in ("checkpoints", "policy", "best"):
        if (path / folder).exists():
            shutil.rmtree(path / folder)
    rows = (*path.glob("rollouts/*.parquet"), *path.glob("rollouts/*.part"))
    for file in (*rows, *map(path.joinpath, (*WRITTEN, *PICTURES))):
        file.unlink(missing_ok=True)


def drop_unfinished(folder: Path) -> None:
    """Delete what a kill left of the writing of a file."""
    for name in WRITTEN:
        for unfinished in folder.glob(f".{name}.*"):
            unfinished.unlink(missing_ok=True)


def is_failed_start(path: Path) -> bool:
    """Whether a directory holds a run that ended, or was killed, without a checkpoint, a policy or
    an evaluation.
    """
    return not is_live(path) and _began(path) and not _came_to_something(path)


def claim(path: Path) -> None:
    """Take a directory for a new run; raise RunError if it holds one, or cannot be written, or the
    disk is full.
    """
    if path.is_symlink() and not path.exists():
        raise RunError(
            f"{path} is a link that leads nowhere; expected a new or empty directory for the run"
        )
    if path.is_file():
        raise RunError(f"{path} is a file; expected a new or empty directory for the run")
    refuse_other_kinds(path)
    _refuse_a_run(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
        if free < MINIMUM_FREE_BYTES:
            raise RunError(
                f"{path}: {free / 2**20:.0f} MiB free, a run needs at least"
                f" {MINIMUM_FREE_BYTES // 2**20} MiB"
            )
        lock(path)
        try:
            # What another has left behind before this one held the lock.
            _refuse_a_run(path, held=True)
            if _began(path):
                clear(path)
            drop_unfinished(path)
        except BaseException:
            release(path)
            raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def refuse_other_kinds(path: Path) -> None:
    """Raise RunError for a folder where a run writes a file, or the reverse: it would be found out
    after training.
    """
    for name in (*WRITTEN, *PICTURES, ".lock"):
        if (path / name).is_dir():
            raise RunError(
                f"{path / name} is a folder, and a run writes a file there; move it, or choose"
                " another --out DIR"
            )
    stages = [report.parent.name for report in REPORTS.values()]
    for name in (*FOLDERS, "policy", "best", "tensorboard", *stages):
        if (path / name).exists() and not (path / name).is_dir():
            raise RunError(
                f"{path / name} is a file, and a run makes a folder there; move it, or choose"
                " another --out DIR"
            )


def _refuse_a_run(path: Path, held: bool = False) -> None:
    there = (path / "manifest.json").exists() or (path / "recipe.yaml").exists()
    if not there:
        _refuse_other_files(path)
    if there and (_came_to_something(path) or not _began(path) or (holds(path) and not held)):
        raise RunError(
            f"{path} already holds a run; go on with it (--resume) or choose another --out DIR"
        )


def _refuse_other_files(path: Path) -> None:
    """What lies under a name that a run writes to would be lost; stages that come before a run may
    be there.
    """
    taken = [name for name in (*WRITTEN, *PICTURES, "policy", "best") if (path / name).exists()]
    taken += [name for name in FOLDERS if names_in(path / name)]
    if taken:
        raise RunError(
            f"{path / taken[0]} is not of a run here, and a run would write it; move it, or choose"
            " another --out DIR"
        )


def _came_to_something(path: Path) -> bool:
    if checkpoints(path / "checkpoints"):
        return True
    for name in names_in(path) + names_in(path / "checkpoints"):
        if name.startswith("broken-"):
            return True
    return any((path / name).exists() for name in ("policy", "best", "evaluation.json"))


def _began(path: Path) -> bool:
    """Whether the recipe in a directory is that of a run, also of one that was killed before it
    wrote its manifest.

    A recipe of the user's own has no folders beside it that a run makes first.
    """
    try:
        begun = all((path / folder).is_dir() for folder in FOLDERS)
        if begun and not (path / "manifest.json").exists():
            recipe = load_yaml(read_text(path / "recipe.yaml"))
            return isinstance(recipe, dict) and "schema" in recipe
        read_run(path)
    except (RunError, OSError, ValueError, yaml.YAMLError):
        return False
    return True
