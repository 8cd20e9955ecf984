"""One process writes a run: the lock that says which."""

import contextlib
import os
import platform
from pathlib import Path

from llmpolicy.errors import RunError

LOCK = ".lock"


def is_live(path: Path) -> bool:
    """Whether the process that writes a run still lives; of one on another machine that is assumed."""
    try:
        process, _, machine = (path / LOCK).read_text(encoding="utf-8").partition(" ")
        return machine not in ("", platform.node()) or _alive(int(process))
    except (FileNotFoundError, ValueError):
        return False


def lock(path: Path) -> None:
    """Create the lock file with this process's number; a lock whose process is gone is taken over."""
    file = path / LOCK
    with contextlib.suppress(FileNotFoundError, ValueError):
        owner = int(file.read_text(encoding="utf-8").partition(" ")[0])
        if owner != os.getpid() and _alive(owner):
            raise RunError(f"{path} is being written by process {owner}; two runs cannot share a directory")
        file.unlink()
    try:
        with open(file, "x", encoding="utf-8") as opened:
            opened.write(f"{os.getpid()} {platform.node()}")
    except FileExistsError as error:
        raise RunError(f"{path} has just been taken by another process; two runs cannot share a directory") from error


def release(path: Path) -> None:
    """Give the run's directory back."""
    (path / LOCK).unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
