"""What a freshly forked process gives up, in order, before it looks at a candidate's code."""

import ctypes
import math
import os
import resource
import struct
import sys
from collections.abc import Mapping
from typing import Any

from . import landlock, seccomp
from .descendants import die_with

_SET_KEEP_CAPABILITIES = 8
_CAPABILITY_VERSION = 0x20080522
_READ_SEARCH = 1 << 2
UIDS = 0x70000000
"""No user, and no container's users, have numbers from here up; the keeper's process id is
added.
"""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


def readable() -> tuple[list[str], list[str]]:
    """What a candidate may read: the standard library without site-packages, shared libraries, four
    devices; may list.
    """
    standard = os.path.dirname(os.__file__)
    read = []
    for entry in os.scandir(standard):
        if entry.name not in ("site-packages", "dist-packages"):
            read.append(entry.path)
    for folder in dict.fromkeys((*_LIBRARIES, os.path.join(sys.base_prefix, "lib"))):
        if os.path.isdir(folder):
            read += [entry.path for entry in os.scandir(folder) if _is_library(entry)]
    return [*read, *_DEVICES, "/usr/share/zoneinfo"], [standard]


def _is_library(entry: "os.DirEntry[str]") -> bool:
    if entry.is_dir():
        return entry.name.endswith(("-linux-gnu", "-linux-musl"))
    return ".so" in entry.name and entry.name.startswith(("lib", "ld-"))


def confine(limits: Mapping[str, Any], keeper: int, ruleset: int | None) -> None:
    """Give up everything but reading the standard library and computing; OSError where a step is
    refused.
    """
    os.setsid()
    os.chdir("/")
    if not limits.get("confined", True):
        die_with(keeper)
        _limit(limits, False)
        return
    dropped = _drop_root(keeper)
    _limit(limits, dropped or bool(limits["own_namespace"]))
    die_with(keeper)
    code = seccomp.program(os.uname().machine, os.getpid())
    if ruleset is not None:
        seccomp.no_new_privileges()
        landlock.restrict(ruleset)
        os.close(ruleset)
    seccomp.install(code)


def _limit(limits: Mapping[str, Any], count_processes: bool) -> None:
    seconds = math.ceil(limits["cpu"])
    # The keeper counts exactly; these hold should it be gone.
    _set(resource.RLIMIT_CPU, seconds + 1, seconds + 2)
    for name in ("AS", "DATA"):
        _set(getattr(resource, f"RLIMIT_{name}"), limits["memory"])
    _set(resource.RLIMIT_FSIZE, limits["output"])
    _set(resource.RLIMIT_NOFILE, 64)
    for name in ("CORE", "MEMLOCK", "MSGQUEUE", "SIGPENDING"):
        if hasattr(resource, f"RLIMIT_{name}"):
            _set(getattr(resource, f"RLIMIT_{name}"), 64 if name == "SIGPENDING" else 0)
    if count_processes:
        _set(resource.RLIMIT_NPROC, limits["threads"])


def _set(limit: int, soft: int, hard: int | None = None) -> None:
    ceiling = resource.getrlimit(limit)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(limit, (soft, hard))


def _drop_root(keeper: int) -> bool:
    """Become a user that nobody is, when root; the limit on processes does not hold for root. False
    where it cannot be.
    """
    if os.getuid() != 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # A standard library in root's own folder can be read by no one else without this one
    # capability.
    kept = 0 if open_to_all(os.__file__) else _READ_SEARCH
    if kept:
        libc.prctl(_SET_KEEP_CAPABILITIES, 1, 0, 0, 0)
    dropped = False
    for uid in (UIDS + keeper, 60_000 + keeper % 5_000):
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            dropped = True
            break
        except OSError:  # the container maps no such user, or root has not the right to change
            continue
    head = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    if libc.capset(head, struct.pack("<6I", kept, kept, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")
    return dropped


def open_to_all(path: str) -> bool:
    """Whether any user may read a file: it is readable, and each folder above it can be passed."""
    path = os.path.realpath(path)
    if not os.stat(path).st_mode & 0o004:
        return False
    while (path := os.path.dirname(path)) != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
    return True
