"""What a text tells of the machine it was written on: paths, addresses with a password, the names
of user and host.

All of it is found by its value, whatever key it stands under.
"""

import getpass
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from llmpolicy.run.paths import RUN

NAME = r"(?:\\ |,(?=[^\s/])|[^\s/\\:;'\"`<>|,{}])+"
"""One name in a path; a space in it is escaped."""
URL = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"`<>|]+")
ABSOLUTE = re.compile(rf"(?<![\w./\\~<*)\]}}$?&])/+(?:{NAME}/+)*{NAME}/*")
HOME = re.compile(
    rf"(?<![\w./\\~])(?:(?:~[\w.-]*|%[A-Z_]{{4,}}%)(?:[/\\]+{NAME})+|\$\{{?[A-Z_]{{4,}}\}}?(?:/+{NAME})+)[/\\]*"
)
CLIMBING = re.compile(rf"(?<![\w./\\~-])(?:[\w.-]+[/\\])*?\.\.(?:[/\\]+{NAME})+[/\\]*")
FAR = re.compile(r"(?<![\w./\\~-])(?:\.\.[/\\]+){2}")
WINDOWS = re.compile(
    r"(?<![A-Za-z0-9/])[A-Za-z]:[\\/]+(?:[^\\/:*?\"'<>|\r\n\t]+[\\/]+)+[^\s\\/:*?\"'<>|]*"
    rf"|(?<![A-Za-z0-9])[A-Za-z]:\\+{NAME}"
)
SHARE = re.compile(
    r"(?<![\\\w])\\{2,4}[\w.$-]+(?:\\{1,2}[\w.$"
    rf" -]+)*\\{{1,2}}[\w.$-]+|(?<![:\w/)\]}}])//[\w.-]+(?:/+{NAME})+"
)
FORMULA = re.compile(r"[{}^]|\$.*\$|\\[(\[]")
"""Signs of LaTeX, whose two backslashes begin no share."""
ROOTS = (
    "home", "Users", "root", "mnt", "media", "Volumes", "data", "datasets", "scratch", "work",
    "workspace", "workspaces", "tmp",
    "var", "opt", "srv", "private", "lustre", "gpfs", "nfs", "project", "projects", "storage",
    "content", "kaggle", "run", "efs",
    "fsx",
)  # fmt: skip
"""First folders of paths that tell of a person, a project or a cluster."""
SYSTEM = ("bin", "sbin", "usr", "etc", "dev", "proc", "sys", "lib", "lib64", "boot")
"""First folders that are the same on every machine: cut where we write, harmless where others
did.
"""
SECRET_PARAMETER = re.compile(
    r"(?i)([?&;](?:[\w.-]*(?:token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|access[_-]?key|signature|credential|auth)"
    r"[\w.-]*|key|sig|code|pw|jwt)=)(?!\[removed\])[^&;#\s]+"
)
COMMON_NAMES = (
    "administrator", "debian", "ec2-user", "runner", "vagrant", "docker", "jovyan", "nobody",
    "localhost", "default", "computer",
    "localhost.localdomain", "notebook", "workstation", "training",
)  # fmt: skip


Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """What must not be told: folders as they begin, and the names of its users and hosts that look
    like no word.
    """

    folders: Names
    users: Names
    hosts: Names


@dataclass(slots=True)
class Replaced:
    """What tells of a machine and was replaced before publishing: how often each kind, in each
    file.
    """

    machine: Machine
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    file: str = ""

    def add(self, kind: str) -> None:
        self.counts[self.file, kind] += 1

    def lines(self) -> Names:
        """One line a file and kind, such as ``recipe.yaml: 2 x a path, of which the last name is
        left``.
        """
        return tuple(f"{file}: {n} x {kind}" for (file, kind), n in sorted(self.counts.items()))


PATH = "a path, of which the last name is left"
PASSWORD = "a password in an address, removed"
NAMES = "the name of this machine's user or host, now [user] or [host]"


def this_machine(folders: Iterable[str | Path | None] = ()) -> Machine:
    """The machine this runs on, with further folders that a run has noted."""
    home, host = Path.home(), socket.gethostname()
    noted = map(os.environ.get, ("HF_HOME", "VIRTUAL_ENV", "TMPDIR"))
    deep = set()
    for folder in map(str, filter(None, (home, Path.cwd(), *noted, *folders))):
        for path in (folder, os.path.realpath(folder)):
            if os.path.isabs(path) and len(Path(path).parts) > 2:
                deep.add(path)
    users = map(os.environ.get, ("USER", "LOGNAME", "USERNAME", "SUDO_USER"))
    hosts = map(os.environ.get, ("HOSTNAME", "COMPUTERNAME"))
    return Machine(
        _longest_first(deep),
        _longest_first(_distinct({getpass.getuser(), home.name, *users})),
        _longest_first(_distinct({host, host.partition(".")[0], *hosts})),
    )


def portable(value: Any, replaced: Replaced) -> Any:
    """Plain data for others: every text in it, keys too, without what it tells of this machine or
    of the run's folder.
    """
    if isinstance(value, Mapping):
        return dict(portable(list(value.items()), replaced))
    if isinstance(value, list | tuple):
        return [portable(item, replaced) for item in value]
    if isinstance(value, str | os.PathLike):
        return portable_text(os.fspath(value), replaced)
    return value


def portable_text(text: str, replaced: Replaced) -> str:
    """A text in which of every path the last name is left, of an address no password, of user and
    host no name.
    """
    text = text.removeprefix(f"{RUN}/")
    if _is_path(text):
        replaced.add(PATH)
        return _without_names(_last(text), replaced)
    shown, end = "", 0
    for address in URL.finditer(text):
        shown += _without_paths(text[end : address.start()], replaced)
        shown += _address(address.group(), replaced)
        end = address.end()
    return shown + _without_paths(text[end:], replaced)


def paths_shortened(value: Any, replaced: Replaced) -> Any:
    """Plain data in which a text that is a path, as a whole, is its last name; all other texts stay
    as they are.
    """
    if isinstance(value, Mapping):
        return {key: paths_shortened(item, replaced) for key, item in value.items()}
    if isinstance(value, list):
        return [paths_shortened(item, replaced) for item in value]
    if isinstance(value, str) and (_is_path(value) or value.startswith("file:/")):
        return portable_text(value, replaced)
    return value


def local_in(text: str, machine: Machine) -> str | None:
    """What a text that others wrote tells of this machine, in words, or None; a system folder tells
    nothing.
    """
    for seen in {text, unquote(text)}:
        for address in map(re.Match.group, URL.finditer(seen)):
            if _address(address, Replaced(machine)) != address:
                return "an address that names a file, a password or this machine"
        rest = URL.sub(" ", seen)
        if _has_path(rest, machine):
            return "a path of the machine it was made on"
        if (names := _names(machine)) and names.search(rest):
            return "the name of this machine's user or host"
    return None


def _has_path(text: str, machine: Machine) -> bool:
    for form in (_known(machine), WINDOWS, HOME, FAR, *_shares(text)):
        if form.search(text):
            return True
    return any(map(_private, ABSOLUTE.findall(text)))


def _shares(text: str) -> list[re.Pattern[str]]:
    """The form of a share, in a text without formulas."""
    return [] if FORMULA.search(text) else [SHARE]


def _is_path(text: str) -> bool:
    """Whether a whole text is a path, with spaces perhaps: its form says so, or the folder that it
    lies in is there.
    """
    if len(text) > 1000 or "\n" in text or not re.match(r"[/~]|[A-Za-z]:[\\/]|\\\\[\w.]", text):
        return False
    if HOME.fullmatch(text) or WINDOWS.fullmatch(text) or SHARE.fullmatch(text):
        return True
    names = text.strip("/").split("/")
    if len(names) < 2:
        return False
    if ABSOLUTE.fullmatch(text) or (names[0] in ROOTS and all(map(_is_short, names))):
        return True
    folder = os.path.dirname(os.path.expanduser(text.rstrip("/")))
    return folder != "/" and os.path.isdir(folder)


def _is_short(name: str) -> bool:
    return len(name.split()) < 5 and name[-1:] not in ",:;"


def _without_paths(text: str, replaced: Replaced) -> str:
    def cut(path: re.Match[str]) -> str:
        replaced.add(PATH)
        return _last(path.group())

    def cut_absolute(path: re.Match[str]) -> str:
        return cut(path) if _absolute(path.group()) else path.group()

    if "/" in text or "\\" in text:
        text = _known(replaced.machine).sub(cut, text)
        for form in (WINDOWS, HOME, CLIMBING, *_shares(text)):
            text = form.sub(cut, text)
        text = ABSOLUTE.sub(cut_absolute, text)
    return _without_names(text, replaced)


def _last(path: str) -> str:
    """The last name of a path; none for a home folder, whose name is a person's."""
    parts = re.split(r"(?<!\\ )[/\\]+(?! )", path.rstrip("/\\"))
    return "[user]" if len(parts) <= 3 and parts[-2:-1] in (["home"], ["Users"]) else parts[-1]


def _absolute(path: str) -> bool:
    """Whether a word that begins with a slash is a path: /think and /r/name are none, /a/b/c is."""
    top, *below = path.strip("/").split("/")
    return len(below) > 1 or (bool(below) and (top in SYSTEM or _is_root(top)))


def _private(path: str) -> bool:
    top, *below = path.strip("/").split("/")
    return bool(below) and top not in SYSTEM and _is_root(top)


def _is_root(name: str) -> bool:
    return name in ROOTS or os.path.isdir(f"/{name}")


@lru_cache
def _known(machine: Machine) -> re.Pattern[str]:
    """Paths below the folders that are known, wherever they stand, also behind an option's
    letter.
    """
    folders = "|".join(map(re.escape, machine.folders)) or r"(?!)"
    return re.compile(rf"(?:{folders})(?![\w.-])(?:[/\\]+{NAME})*[/\\]*")


def _address(address: str, replaced: Replaced) -> str:
    """An address without user and password, and without the values of parameters that are named as
    secrets.
    """
    if address.lower().startswith("file:"):
        replaced.add(PATH)
        return _last(unquote(address))
    scheme, _, rest = address.partition("://")
    authority, slash, below = rest.partition("/")
    _, at, host = authority.rpartition("@")
    if not at and "@" in rest and ":" in authority:  # a slash within the password
        host, slash, below = rest.rpartition("@")[2].partition("/")
    shown = SECRET_PARAMETER.sub(r"\1[removed]", f"{scheme}://{host}{slash}{below}")
    if shown != address:
        replaced.add(PASSWORD)
    return _without_names(shown, replaced)


@lru_cache
def _names(machine: Machine) -> re.Pattern[str] | None:
    words = "|".join(map(re.escape, (*machine.hosts, *machine.users)))
    return re.compile(rf"(?<![\w/.-])(?:{words})(?![\w/-])") if words else None


def _without_names(text: str, replaced: Replaced) -> str:
    names = _names(replaced.machine)
    if names is None:
        return text

    def instead(name: re.Match[str]) -> str:
        replaced.add(NAMES)
        return "[host]" if name.group() in replaced.machine.hosts else "[user]"

    return names.sub(instead, text)


def _distinct(names: Iterable[str | None]) -> set[str]:
    """The names that no word of ordinary text looks like: with a digit or a sign in them, or of
    eight letters and more.
    """
    distinct = set()
    for name in filter(None, names):
        shortest = 8 if name.isalpha() else 4
        if len(name) >= shortest and name.lower() not in COMMON_NAMES:
            distinct.add(name)
    return distinct


def _longest_first(names: Iterable[str]) -> Names:
    return tuple(sorted(names, key=lambda name: (-len(name), name)))
