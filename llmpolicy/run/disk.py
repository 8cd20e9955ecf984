"""What a run says when the disk does not take a file: which one, why, what it needs; what was there
before stays.
"""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from llmpolicy.errors import RunError

_NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.EPERM,
    errno.EACCES,
)
_IN_TEXT = re.compile(r"os error (\d+)\b")
_UNWRITTEN = re.compile(
    r"PytorchStreamWriter|inline_container.*unexpected pos|Errno 28|No space left"
)
"""How safetensors, torch and Arrow say, in exceptions of their own, that a file could not be
written whole.
"""


class DiskError(RunError):
    """A file of a run could not be written."""


@contextlib.contextmanager
def writing(path: Path, size: int | Callable[[], int] = 0) -> Iterator[None]:
    """Turn an error of what writes a file, or a folder, of so many bytes into a DiskError that
    names it.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        if (why := unwritten(error)) is None:
            raise
        needed = size() if callable(size) else size
        raise DiskError(f"{path} could not be written ({why}){_space(path, needed)}") from error


def unwritten(error: BaseException) -> str | None:
    """Why the disk did not take something, in the system's words; None where an error says nothing
    of that.
    """
    number = getattr(error, "errno", None)
    if number is None and (written := _IN_TEXT.search(str(error))):
        number = int(written[1])
    if number in _NUMBERS:
        return os.strerror(number)
    return os.strerror(errno.ENOSPC) if _UNWRITTEN.search(str(error)) else None


def size_of(folder: Path) -> int:
    """Bytes of the files under a folder, 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _space(path: Path, needed: int) -> str:
    while not path.exists() and path != path.parent:
        path = path.parent
    with contextlib.suppress(OSError):
        disk = os.statvfs(path)
        needs = f"it needs about {needed:,} bytes and " if needed else ""
        if disk.f_files and not disk.f_favail:
            return ": no new file is possible there, for all inodes are taken"
        return f": {needs}{disk.f_bavail * disk.f_frsize:,} bytes are free"
    return ""
