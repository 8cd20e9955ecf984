"""The files that decide what a function says: its own, the local modules it imports, and the files
that these name.
"""

import ast
import functools
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatch
from importlib.machinery import PathFinder
from itertools import filterfalse
from pathlib import Path
from typing import Any

from llmpolicy.provenance.code import function_at, names_in, source_of
from llmpolicy.reference import SHIPPED

OURS = Path(__file__).resolve().parent.parent

LONGEST = 200
"""Characters of a text in a module that may be the name of a file."""

LONGEST_PATH = 4096
"""Characters of a path, as Linux takes them."""

MOST = 1000
"""Entries of a folder that are looked at."""

IMPORTS = {
    "import_module",
    "__import__",
    "run_path",
    "run_module",
    "spec_from_file_location",
    "find_spec",
}
LISTINGS = {"iterdir", "listdir", "scandir", "walk", "rglob"}
UPWARD = {"parents", "pardir"}
"""What a module calls to import a name, to list a folder, or to go up from its own."""


def files_of(reference: str | Callable[..., Any], base_dir: Path | str | None = None) -> list[Path]:
    """The files of a function that are no installed package's: sorted, without those of the Python
    it runs in.
    """
    inner: Any = function_at(reference, base_dir)
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    source = source_of(inner)
    if source is None:
        return _with_named((), _of_globals(inner))
    return _with_named([source], [source])


def written_files(modules: Sequence[Path]) -> list[Path]:
    """Files of Python and the others that they import, as far as can be seen without running any;
    sorted.
    """
    return [path for path in _with_named(modules, modules) if path.suffix == ".py"]


def _with_named(always: Collection[Path], begin: Sequence[Path]) -> list[Path]:
    seen = set[Path]()
    waiting = [*begin]
    while waiting:
        path = waiting.pop()
        if path not in seen and (path in always or not installed(path)):
            seen.add(path)
            if path.suffix == ".py":
                waiting += _named_in(path)
    return sorted(seen)


def _of_globals(function: Any) -> list[Path]:
    """The files of modules and functions that the code of a function without a file looks up."""
    files: list[Path] = []
    if not hasattr(function, "__code__"):
        return files
    for name in names_in(function.__code__):
        module = inspect.getmodule(function.__globals__.get(name))
        file = Path(getattr(module, "__file__", None) or "")
        if file.suffix == ".py" and file.is_file():
            files.append(file.resolve())
    return files


def named_files(value: Any, base_dir: Path | None) -> Iterator[Path]:
    """The files and folders that the arguments of a function name, beside the recipe or in the
    current folder.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from named_files(item, base_dir)
    elif (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_PATH
        and "\n" not in value
        and "\0" not in value
    ):
        # Unlike Path.expanduser it leaves an unknown ~name as it is.
        path = Path(os.path.expanduser(value))
        for candidate in ((base_dir or Path()) / path, path):
            if _is_there(candidate) and (
                candidate.is_file()
                or "/" in value
                or "\\" in value
                or (candidate / "config.json").is_file()  # a model
            ):
                yield candidate.resolve()
                return


def _named_in(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(alias.name, path.parent)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(node, path.parent)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for file in named_files(node.value, path.parent):
                if _beside(file, path, node.value):
                    yield file
    yield from _put_together(tree, path)


def _put_together(tree: ast.AST, module: Path) -> Iterator[Path]:
    """The files that a module may name in parts (``folder / "data" / "words.txt"``, an f-string, a
    pattern) or import by name.

    A folder that it lists is read whole; of another those files whose names, or patterns of them,
    it writes.
    """
    words, called, patterns = _mentions(tree)
    if called & IMPORTS:
        for word in words:
            name = word.lstrip(".")
            if name.replace(".", "_").isidentifier():
                yield from filterfalse(installed, _modules(name, module.parent))
    homes = [module.parent]
    if called & UPWARD or ".." in words:
        homes.append(module.parent.parent)
    for home in homes:
        for file in home.iterdir():
            if file.is_file() and _fits(file, patterns):
                yield file
        folders = set[Path]()
        for word in words:
            if word.strip("./") and _is_there(home / word):
                folders.add((home / word).resolve())
        for folder in folders:
            if folder.is_dir() and folder.is_relative_to(home.resolve()):
                yield from _of_folder(folder, words, patterns, whole=bool(called & LISTINGS))


def _mentions(tree: ast.AST) -> tuple[set[str], set[str], set[str]]:
    """The short texts of a module, the names that it looks up, and its patterns of file names."""
    words, called, patterns = set[str](), set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            called.add(node.id)
        elif isinstance(node, ast.Attribute):
            called.add(node.attr)
            if node.attr == "parent" and getattr(node.value, "attr", "") == "parent":
                called.add("parents")
        elif isinstance(node, ast.JoinedStr):
            patterns.add(_pattern(node))
        elif isinstance(node, ast.Constant) and _is_short(node.value):
            words.add(str(node.value))
    patterns.update(word for word in words if "*" in word)
    return words, called, {pattern for pattern in patterns if len(pattern.strip("*")) > 1}


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def _of_folder(
    folder: Path, words: Collection[str], patterns: Collection[str], *, whole: bool
) -> Iterator[Path]:
    names = {Path(pattern).name for pattern in patterns}
    for number, file in enumerate(sorted(folder.rglob("*"))):
        if number >= MOST or "__pycache__" in file.parts or not file.is_file():
            continue
        named = file.name in words or file.relative_to(folder).as_posix() in words
        if whole or named or _fits(file, names):
            yield file


def _fits(file: Path, patterns: Collection[str]) -> bool:
    return any(fnmatch(file.name, pattern) for pattern in patterns)


def _pattern(text: ast.JoinedStr) -> str:
    """An f-string with a star for what is put into it."""
    pattern = ""
    for part in text.values:
        pattern += str(part.value) if isinstance(part, ast.Constant) else "*"
    return pattern


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text too long or too odd for a name
        return False


def _beside(file: Path, module: Path, name: str) -> bool:
    """Whether a text in a module names a file by itself: what a name means in the current folder is
    another's matter.
    """
    return file.is_file() and (file.is_relative_to(module.parent) or os.path.isabs(name))


def _imported_from(node: ast.ImportFrom, folder: Path) -> Iterator[Path]:
    names = [alias.name for alias in node.names]
    if node.level == 0:
        yield from _modules(str(node.module), folder)
        for name in names:
            yield from _modules(f"{node.module}.{name}", folder)
        return
    for _ in range(node.level - 1):
        folder = folder.parent
    base = folder.joinpath(*(node.module or "").split("."))
    for module in (base, *map(base.joinpath, names)):
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.is_file():
                yield file


def _modules(dotted: str, folder: Path) -> Iterator[Path]:
    """The files that an import of a dotted name would run, where they can be found without running
    any.
    """
    parts = dotted.split(".")
    if parts[0] in sys.stdlib_module_names:
        return
    search = [str(folder), str(SHIPPED.parent), *(entry or "." for entry in sys.path)]
    for part in parts:
        try:
            spec = PathFinder.find_spec(part, search)
        except (ImportError, ValueError):
            return
        if spec is None:
            return
        if spec.origin and spec.origin.endswith(".py"):
            yield Path(spec.origin).resolve()
        search = list(spec.submodule_search_locations or [])


def installed(path: Path) -> bool:
    """Whether a file is an installed package's or the standard library's, or llmpolicy's own."""
    if path.is_relative_to(SHIPPED):
        return False
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    homes = [str(OURS), *site.getsitepackages(), site.getusersitepackages()]
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        homes.append(sysconfig.get_path(name))
    return any(path.is_relative_to(Path(home).resolve()) for home in homes)
