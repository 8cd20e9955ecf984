"""One process writes a run: it holds a lock on a file that says which.

The system keeps the lock (flock(2)) and drops it when the process ends, however that ends; the
number in the file is for people. Between hosts that share a directory such locks may not be seen,
so there the name of the host decides.
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from llmpolicy.bounded import load_json
from llmpolicy.errors import RunError
from llmpolicy.run.machine import now

LOCK = ".lock"
_PATIENCE = 0.2
"""Seconds for which a lock that is taken is asked for again: who only looks takes it for a
moment.
"""

_NAP = 0.01
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who took a lock: process, host, and since when; all empty where the file does not say."""

    process: int | str = ""
    host: str = ""
    since: str = ""

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """What a lock file says; earlier versions wrote process and host as two words."""
        text = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        with contextlib.suppress(ValueError, TypeError, KeyError):
            facts = load_json(text)
            return cls(int(facts["process"]), str(facts["host"]), str(facts["since"]))
        process, _, host = text.strip().partition(" ")
        return cls(int(process), host) if process.isdecimal() else cls()

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(os.getpid(), platform.node(), now())

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another host, where nothing can be known of it."""
        return self.host not in ("", platform.node())

    def __str__(self) -> str:
        named = f"process {self.process}" if self.process else "another process"
        if self.host:
            named += f" on {self.host}"
        if self.since:
            named += f" since {self.since}"
        return named


def lock(path: Path) -> None:
    """Hold the lock of a run's directory until `release` or the end of this process, a kill
    included.

    Raises RunError, with the way out, when another process holds it, or one on another host may.
    """
    if holds(path):
        return
    descriptor = _locked(path / LOCK)
    try:
        owner = Owner.of(descriptor)
        if owner.elsewhere:
            raise RunError(
                f"{path} was taken by {owner} and not given back, and from here nobody can see"
                f" whether that still writes; if it is gone, delete {path / LOCK}, else choose"
                " another --out DIR"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(Owner.here())).encode() + b"\n", 0)
    except BaseException:
        os.close(descriptor)
        raise
    _held[os.path.realpath(path)] = descriptor


def holds(path: Path) -> bool:
    """Whether this process holds the lock of a directory."""
    descriptor = _held.get(os.path.realpath(path))
    return descriptor is not None and _lies_at(path / LOCK, descriptor)


def release(path: Path) -> None:
    """Give a run's directory back."""
    if holds(path):  # while it is held nobody else's file can lie there
        (path / LOCK).unlink()
    if (descriptor := _held.pop(os.path.realpath(path), None)) is not None:
        os.close(descriptor)


def make_space(path: Path) -> None:
    """Empty the lock file that this process holds: on a full disk something else can be written
    into its place.
    """
    if holds(path):
        os.ftruncate(_held[os.path.realpath(path)], 0)


def is_live(path: Path) -> bool:
    """Whether a process writes a run; of one on another host that is assumed."""
    if holds(path):
        return True
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return Owner.of(descriptor).elsewhere
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _locked(file: Path) -> int:
    """The lock file, open and locked; RunError when another process of this host holds it."""
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _lies_at(file, descriptor):  # not one that was given back, and deleted, meanwhile
                return descriptor
        except BlockingIOError:
            if time.monotonic() > until:
                _refuse(file, descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            raise RunError(
                f"{file.parent}: its file system knows no locks ({error.strerror}), so that two"
                " runs could write there at once; choose a --out DIR on another, or mount it with"
                " locks"
            ) from error
        os.close(descriptor)
        time.sleep(_NAP)


def _refuse(file: Path, descriptor: int) -> None:
    owner = Owner.of(descriptor)
    os.close(descriptor)
    raise RunError(
        f"{file.parent} is being written by {owner}; two runs cannot share a directory: wait for"
        " its end, stop it, or choose another --out DIR"
    ) from None


def _lies_at(file: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    return False


def _forked() -> None:
    """A fork writes no run: the lock is its parent's alone, and ends with it."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


_held: dict[str, int] = {}
"""The locked files of this process, open, by the real path of their directories."""

os.register_at_fork(after_in_child=_forked)
