"""The system calls that a candidate may make, as a seccomp filter in classic BPF, for x86-64 and
64-bit ARM.

An allow-list: what is not named here fails with EPERM, so a call that a later kernel adds is
refused as well. No process can be made, no program started, no socket to anywhere, no signal sent
to another process, no memory shared.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ANY_PID = 0x5EA1F1D5
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_THREAD, _MAP_STACK, _SMALLEST_STACK = 0x00010000, 0x20000, 2**20

# name: (number on x86-64, number on 64-bit ARM)
_CALLS: dict[str, tuple[int | None, int | None]] = {
    # files that are open, and those that the file rules let it open
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62), "close": (3, 57), "close_range": (436, 436), "openat": (257, 56),
    "open": (2, None),
    "stat": (4, None), "fstat": (5, 80), "lstat": (6, None), "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49),
    "dup": (32, 23),
    "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59),
    "fsync": (74, 82),
    "fdatasync": (75, 83), "ftruncate": (77, 46), "umask": (95, 166),
    # memory of its own
    "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "membarrier": (324, 283),
    # signals to itself, threads, identity
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "rseq": (334, 293),
    "set_tid_address": (218, 96), "gettid": (186, 178), "getpid": (39, 172), "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "arch_prctl": (158, None),
    "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    # time, waiting, what it has used
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getitimer": (36, 102),
    "setitimer": (38, 103),
    "alarm": (37, None), "pause": (34, None), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "eventfd2": (290, 19), "getrusage": (98, 165), "getrlimit": (97, 163),
    "setrlimit": (160, 164), "uname": (63, 160), "getrandom": (318, 278), "exit": (60, 93),
    "exit_group": (231, 94), "recvfrom": (45, 207),
}  # fmt: skip
_PARTLY: dict[str, tuple[int, int]] = {
    "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261), "fcntl": (72, 25),
    "ioctl": (16, 29),
    "clone": (56, 220), "clone3": (435, 435), "socketpair": (53, 199), "sendto": (44, 206),
    "mmap": (9, 222),
}  # fmt: skip

_FCNTL = (0, 1, 2, 3, 4, 1030)
"""Duplicate and flags; not locks, which another test could ask for, nor F_SETOWN and F_SETSIG,
which send signals.
"""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, how much can be read, blocking, close-on-exec."""

_STACKS = [
    (_LOAD, 0, 0, _ARGUMENTS + 8 * 3), (_AND, 0, 0, _MAP_STACK), (_EQUAL, 4, 0, 0),
    (_LOAD, 0, 0, _ARGUMENTS + 8 + 4), (_EQUAL, 0, 2, 0),
    (_LOAD, 0, 0, _ARGUMENTS + 8), (_AT_LEAST, 0, 1, _SMALLEST_STACK),
    (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno.ENOMEM),
]  # fmt: skip
"""Memory, but no stack of a thread below 1 MiB: so the limit on memory is also one on threads,
which root has no other.
"""


@dataclass(frozen=True)
class _Condition:
    """One argument of a call, its lower or upper 32 bits, under a mask, must have one of these
    values.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    upper: bool = False


def _conditions(pid: int) -> dict[str, list[_Condition]]:
    return {
        "kill": [_Condition(0, (pid,))],
        "tgkill": [_Condition(0, (pid,))],
        "prlimit64": [_Condition(0, (0, pid))],
        "fcntl": [_Condition(1, _FCNTL)],
        "ioctl": [_Condition(1, _IOCTL)],
        # A thread of this process, never a process.
        "clone": [_Condition(0, (_THREAD,), mask=_THREAD)],
        # An event loop wakes itself through a pair of connected sockets; neither end can be given
        # another address.
        "socketpair": [_Condition(0, (1,)), _Condition(1, (1,), mask=0xF)],
        "sendto": [_Condition(4, (0,)), _Condition(4, (0,), upper=True)],
    }


def program(machine: str, pid: int) -> bytes:
    """The filter for one process id, as an array of 8-byte BPF instructions; KeyError for another
    machine.
    """
    return prepared(machine).replace(struct.pack("<I", _ANY_PID), struct.pack("<I", pid))


@lru_cache
def prepared(machine: str) -> bytes:
    """The filter before a process id is put in: made once by the keeper, for it takes as long as
    all the rest.
    """
    architecture, column = _ARCHITECTURES[machine]
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for numbers in _CALLS.values():
        number = numbers[column]
        if number is not None:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for name, conditions in _conditions(_ANY_PID).items():
        body = [*chain.from_iterable(map(_checked, conditions)), (_RETURN, 0, 0, _ALLOW)]
        code += [(_EQUAL, 0, len(body), _PARTLY[name][column]), *body]
    code += [(_EQUAL, 0, len(_STACKS), _PARTLY["mmap"][column]), *_STACKS]
    # The C library then makes threads by clone, whose flags can be read; those of clone3 lie in
    # memory.
    code += [(_EQUAL, 0, 1, _PARTLY["clone3"][column]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return b"".join(struct.pack("<HBBI", *step) for step in code)


def _checked(condition: _Condition) -> Iterator[tuple[int, int, int, int]]:
    """Go on when the argument has one of the values, else refuse the call."""
    yield (_LOAD, 0, 0, _ARGUMENTS + 8 * condition.argument + 4 * condition.upper)
    yield (_AND, 0, 0, condition.mask)
    for left, value in zip(range(len(condition.values), 0, -1), condition.values, strict=True):
        yield (_EQUAL, left, 0, value)
    yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)


def no_new_privileges() -> None:
    """From here on no program can give this process more rights than it has; both filters ask for
    it first.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1, None)


def install(code: bytes) -> None:
    """Put this thread, and all that come from it, under a filter for good; OSError when the kernel
    refuses.
    """
    no_new_privileges()
    buffer = ctypes.create_string_buffer(code, len(code))
    _prctl(_SET_SECCOMP, _FILTER, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))


def _prctl(what: int, value: int, pointer: bytes | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [
        ctypes.c_int,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]
    if libc.prctl(what, value, pointer, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({what}): {os.strerror(number)}")


def supported() -> bool:
    """Whether this machine's calls are known here."""
    return platform.machine() in _ARCHITECTURES
