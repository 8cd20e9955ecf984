"""The checkpoints of a run: which of them can be gone on from."""

from pathlib import Path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder that were written to the end, oldest first."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return sorted(whole, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written, by its name."""
    return int(checkpoint.name.rsplit("-", 1)[1])
