"""The checkpoints of a run: written whole, checked before use, the oldest dropped by step when a
newer one is whole.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.run.disk import size_of, writing
from llmpolicy.run.sealed import damage, keep_aside, put
from llmpolicy.terminal import Say

STAGED = ".new"
"""The folder beside the checkpoints in which one is written."""
RECORD = "run"
"""The folder of a checkpoint with the run's recipe, manifest and metrics as they were then."""


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; they come there by a rename, so none is half
    written.
    """
    whole = []
    for name in names_in(folder):
        if re.fullmatch(r"checkpoint-\d+", name) and names_in(folder / name):
            whole.append(folder / name)
    return sorted(whole, key=step_of)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, nothing where there is none: who only looks holds no lock, and a run
    deletes meanwhile.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written, by its name."""
    return int(checkpoint.name.rsplit("-", 1)[1])


@contextlib.contextmanager
def staged(folder: Path, step: int, *, clear: bool = True) -> Iterator[Path]:
    """A folder aside, for the checkpoint of a step to be written and then added to ``folder``;
    cleared before and after. Raises DiskError where the disk does not take it.
    """
    home = folder / STAGED
    if clear:
        shutil.rmtree(home, ignore_errors=True)
    aside = home / f"checkpoint-{step}"
    try:
        with writing(folder / aside.name, lambda: max(map(size_of, [aside, *checkpoints(folder)]))):
            yield aside
    finally:
        if clear:
            shutil.rmtree(home, ignore_errors=True)


def add_checkpoint(staged: Path, folder: Path, keep: int | None, run: str | None = None) -> None:
    """Give a checkpoint its place under ``folder``, then drop the oldest beyond ``keep``, by step
    and not by any clock.

    Nothing is dropped before the new one was read back from the disk and found whole; raises
    RunError if it is not.
    """
    new = folder / staged.name
    put(staged, new, step=step_of(new), **({"run": run} if run else {}))
    if _surplus(folder, keep) and (clause := damage(new)):
        raise RunError(
            f"{new} was written and reads back otherwise ({clause}): the disk does not keep what it"
            " is given"
        )
    drop_oldest(folder, keep)


def _surplus(folder: Path, keep: int | None) -> list[Path]:
    return checkpoints(folder)[:-keep] if keep else []


def drop_oldest(folder: Path, keep: int | None) -> None:
    """Delete the oldest checkpoints beyond ``keep``; the newest must be known to be whole."""
    for path in _surplus(folder, keep):
        # A kill while it is deleted must not leave half a checkpoint.
        gone = path.with_name(f".{path.name}.gone")
        os.rename(path, gone)
        shutil.rmtree(gone)


def newest_whole(folder: Path, say: Say, run: str | None = None) -> Path | None:
    """The newest checkpoint of a run that is whole; newer ones that are not are kept aside, and
    said. None without any.

    Raises RunError, and moves nothing, when there are checkpoints and none of them is whole.
    """
    broken: list[tuple[Path, str]] = []
    for path in reversed(checkpoints(folder)):
        clause = damage(path, run=run, step=step_of(path))
        if clause is None:
            for damaged, why in broken:
                kept = keep_aside(damaged)
                say(
                    f"note: {damaged.name} is damaged ({why}) and kept as {kept.name};"
                    f" going on from {path.name}"
                )
            return path
        broken.append((path, clause))
    if broken:
        clauses = "; ".join(f"{path.name}: {why}" for path, why in broken)
        raise RunError(
            f"{folder.parent} has no whole checkpoint to go on from ({clauses}); start it anew"
            " elsewhere"
        )
    return None
