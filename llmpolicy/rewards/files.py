"""The files that decide what a function says: its own, the local modules it imports, and the files that these name."""

import ast
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from llmpolicy.rewards.resolve import SHIPPED, resolve

LONGEST = 200
"""Characters of a text in a module that may be the name of a file."""


def files_of(reference: str | Callable[..., Any], base_dir: Path | str | None = None) -> list[Path]:
    """The files of a function that are no installed package's: sorted, without those of the Python it runs in."""
    function = resolve(reference, base_dir) if isinstance(reference, str) else reference
    inner = inspect.unwrap(getattr(function, "func", function))
    try:
        source = inspect.getsourcefile(inner if hasattr(inner, "__code__") else type(inner))
    except (OSError, TypeError):
        return []
    if source is None or not Path(source).is_file():
        return []
    seen: dict[Path, None] = {}
    waiting = [Path(source).resolve()]
    while waiting:
        path = waiting.pop()
        if path not in seen and (not seen or not _installed(path)):
            seen[path] = None
            waiting += _named_in(path) if path.suffix == ".py" else []
    return sorted(seen)


def named_files(value: Any, base_dir: Path | None) -> Iterator[Path]:
    """The files and folders that the arguments of a function name, beside the recipe or in the current folder."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from named_files(item, base_dir)
    elif isinstance(value, str) and 0 < len(value) <= LONGEST and "\n" not in value and "\0" not in value:
        given = Path(os.path.expanduser(value))  # unlike Path.expanduser it leaves an unknown ~name as it is
        for place in ((base_dir or Path()) / given, given):
            if _is_there(place) and (place.is_file() or "/" in value or "\\" in value):
                yield place.resolve()
                return


def _named_in(path: Path) -> list[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [file for alias in node.names for file in _modules(alias.name, path.parent)]
        elif isinstance(node, ast.ImportFrom):
            found += _imported_from(node, path.parent)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [file for file in named_files(node.value, path.parent) if _beside(file, path, node.value)]
    return found


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):  # a text too long or too odd for a name
        return False


def _beside(file: Path, module: Path, name: str) -> bool:
    """Whether a text in a module names a file by itself: what a name means in the current folder is another's matter."""
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
    places = [base, *(base / alias.name for alias in node.names)]
    return [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]


def _modules(dotted: str, folder: Path) -> list[Path]:
    """The files that an import of a dotted name would run, where they can be found without running any."""
    parts = dotted.split(".")
    if parts[0] in sys.stdlib_module_names:
        return []
    search: list[str] | None = [str(folder), str(SHIPPED.parent), *(entry or "." for entry in sys.path)]
    found: list[Path] = []
    for part in parts:
        try:
            spec = PathFinder.find_spec(part, search)
        except (ImportError, ValueError):
            break
        if spec is None:
            break
        if spec.origin and spec.origin.endswith(".py"):
            found.append(Path(spec.origin).resolve())
        search = list(spec.submodule_search_locations or [])
    return found


def _installed(path: Path) -> bool:
    own = Path(__file__).resolve().parent.parent
    homes = {own, *map(Path, site.getsitepackages()), Path(site.getusersitepackages())}
    homes |= {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path.is_relative_to(SHIPPED):
        return False
    packaged = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(packaged) or any(path.is_relative_to(home.resolve()) for home in homes)
