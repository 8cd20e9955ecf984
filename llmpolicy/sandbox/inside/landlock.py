"""Landlock: after it, this process can open nothing but the files that it was given to read."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many file rights each version of the interface knows."""
_NETWORK, _SCOPES = 0b11, 0b11


def version() -> int:
    """The version of Landlock's interface; OSError (ENOSYS, EOPNOTSUPP) where the kernel has
    none.
    """
    return _call(_CREATE, None, 0, 1)


def ruleset(read: Iterable[str], listed: Iterable[str]) -> int:
    """A ruleset as a descriptor: below ``read`` everything may be read, below ``listed`` folders
    may be listed.
    """
    known = version()
    rights = (1 << _FILE_RIGHTS.get(known, 16)) - 1
    words = [rights] + [_NETWORK] * (known >= 4) + [_SCOPES] * (known >= 6)
    attributes = struct.pack(f"{len(words)}Q", *words)
    descriptor = _call(_CREATE, attributes, len(attributes), 0)
    for path in read:
        _allow(descriptor, path, _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE)
    for path in listed:
        _allow(descriptor, path, _READ_DIR)
    _allow(descriptor, os.devnull, _READ_FILE | _WRITE_FILE)
    return descriptor


def restrict(descriptor: int) -> None:
    """Put this thread under a ruleset for good; needs no_new_privs."""
    _call(_RESTRICT, descriptor, 0)


def _allow(descriptor: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            _call(_ADD, descriptor, _PATH_BENEATH, struct.pack("<Qi", rights, opened), 0)
        finally:
            os.close(opened)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
    return int(result)
