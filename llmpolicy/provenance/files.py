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
from pathlib import Path
from types import ModuleType
from typing import Any

from llmpolicy.provenance.code import function_at, names_in, source_of
from llmpolicy.reference import SHIPPED

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
    files = [source] if source is not None else []
    return _with_named(files, files or _of_globals(inner))


def written_files(modules: Sequence[Path]) -> list[Path]:
    """Files of Python and the others that they import, as far as can be seen without running any;
    sorted.
    """
    return [path for path in _with_named(modules, modules) if path.suffix == ".py"]


def _with_named(always: Collection[Path], begin: Sequence[Path]) -> list[Path]:
    seen: dict[Path, None] = {}
    waiting = [*begin]
    while waiting:
        path = waiting.pop()
        if path not in seen and (path in always or not installed(path)):
            seen[path] = None
            waiting += _named_in(path) if path.suffix == ".py" else []
    return sorted(seen)


def _of_globals(function: Any) -> list[Path]:
    """The files of modules and functions that the code of a function without a file looks up."""
    if not hasattr(function, "__code__"):
        return []
    used = [function.__globals__.get(name) for name in names_in(function.__code__)]
    modules = [
        value if isinstance(value, ModuleType) else inspect.getmodule(value)
        for value in used
        if value is not None
    ]
    files = [Path(module.__file__) for module in modules if getattr(module, "__file__", None)]  # type: ignore[union-attr, arg-type]
    return [file.resolve() for file in files if file.suffix == ".py" and file.is_file()]


def named_files(value: Any, base_dir: Path | None) -> Iterator[Path]:
    """The files and folders that the arguments of a function name, beside the recipe or in the
    current folder.
    """
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from named_files(item, base_dir)
    elif (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_PATH
        and "\n" not in value
        and "\0" not in value
    ):
        path = Path(
            os.path.expanduser(value)
        )  # unlike Path.expanduser it leaves an unknown ~name as it is
        for candidate in ((base_dir or Path()) / path, path):
            if _is_there(candidate) and (
                candidate.is_file() or "/" in value or "\\" in value or _is_model(candidate)
            ):
                yield candidate.resolve()
                return


def _named_in(path: Path) -> list[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    files: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            files += [file for alias in node.names for file in _modules(alias.name, path.parent)]
        elif isinstance(node, ast.ImportFrom):
            files += _imported_from(node, path.parent)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            files += [
                file
                for file in named_files(node.value, path.parent)
                if _beside(file, path, node.value)
            ]
    return [*files, *_put_together(tree, path)]


def _put_together(tree: ast.AST, module: Path) -> Iterator[Path]:
    """The files that a module may name in parts (``folder / "data" / "words.txt"``, an f-string, a
    pattern) or import by name.

    A folder that it lists is read whole; of another those files whose names, or patterns of them,
    it writes.
    """
    nodes = list(ast.walk(tree))
    texts = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    words = {text for text in texts if 0 < len(text) <= LONGEST and text.isprintable()}
    called = {
        name
        for node in nodes
        if isinstance(node, ast.Attribute | ast.Name)
        for name in [_name(node)]
    }
    if called & IMPORTS:
        names = [
            word.lstrip(".") for word in words if word.lstrip(".").replace(".", "_").isidentifier()
        ]
        yield from (
            file for name in names for file in _modules(name, module.parent) if not installed(file)
        )
    patterns = {word for word in words if "*" in word} | {
        _pattern(node) for node in nodes if isinstance(node, ast.JoinedStr)
    }
    patterns = {word for word in patterns if len(word.strip("*")) > 1}
    for home in (
        (module.parent, module.parent.parent)
        if called & UPWARD or ".." in words or _up_twice(nodes)
        else (module.parent,)
    ):
        yield from (
            file
            for file in home.iterdir()
            if file.is_file() and any(fnmatch(file.name, pattern) for pattern in patterns)
        )
        for folder in {
            (home / word).resolve() for word in words if word.strip("./") and _is_there(home / word)
        }:
            if folder.is_dir() and folder.is_relative_to(home.resolve()):
                yield from _of_folder(folder, words, patterns, whole=bool(called & LISTINGS))


def _of_folder(
    folder: Path, words: Collection[str], patterns: Collection[str], *, whole: bool
) -> Iterator[Path]:
    for number, file in enumerate(sorted(folder.rglob("*"))):
        if number >= MOST or "__pycache__" in file.parts or not file.is_file():
            continue
        named = file.name in words or file.relative_to(folder).as_posix() in words
        if whole or named or any(fnmatch(file.name, Path(pattern).name) for pattern in patterns):
            yield file


def _up_twice(nodes: Collection[ast.AST]) -> bool:
    inner = [
        node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "parent"
    ]
    return any(isinstance(node, ast.Attribute) and node.attr == "parent" for node in inner)


def _name(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _pattern(text: ast.JoinedStr) -> str:
    """An f-string with a star for what is put into it."""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "*" for part in text.values
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text too long or too odd for a name
        return False


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _beside(file: Path, module: Path, name: str) -> bool:
    """Whether a text in a module names a file by itself: what a name means in the current folder is
    another's matter.
    """
    return file.is_file() and (file.is_relative_to(module.parent) or os.path.isabs(name))


def _imported_from(node: ast.ImportFrom, folder: Path) -> list[Path]:
    if node.level == 0:
        names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        return [file for name in names for file in _modules(name, folder)]
    home = folder
    for _ in range(node.level - 1):
        home = home.parent
    inner = (node.module or "").split(".") if node.module else []
    base = home.joinpath(*inner)
    modules = [base, *(base / alias.name for alias in node.names)]
    return [
        file
        for module in modules
        for file in (module.with_suffix(".py"), module / "__init__.py")
        if file.is_file()
    ]


def _modules(dotted: str, folder: Path) -> list[Path]:
    """The files that an import of a dotted name would run, where they can be found without running
    any.
    """
    parts = dotted.split(".")
    if parts[0] in sys.stdlib_module_names:
        return []
    search: list[str] | None = [
        str(folder),
        str(SHIPPED.parent),
        *(entry or "." for entry in sys.path),
    ]
    files: list[Path] = []
    for part in parts:
        try:
            spec = PathFinder.find_spec(part, search)
        except (ImportError, ValueError):
            break
        if spec is None:
            break
        if spec.origin and spec.origin.endswith(".py"):
            files.append(Path(spec.origin).resolve())
        search = list(spec.submodule_search_locations or [])
    return files


def installed(path: Path) -> bool:
    """Whether a file is an installed package's or the standard library's, or llmpolicy's own."""
    ours = Path(__file__).resolve().parent.parent
    homes = {ours, *map(Path, site.getsitepackages()), Path(site.getusersitepackages())}
    homes |= {
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    if path.is_relative_to(SHIPPED):
        return False
    packaged = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(packaged) or any(path.is_relative_to(home.resolve()) for home in homes)
