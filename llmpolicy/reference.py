"""From a reference string to a function: `module:function` or `path.py:function`. Nothing is added
to sys.path.

A bare module name that is a file of the shipped reward_fns means that file; another file of the
same name is reported.
"""

import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from llmpolicy.errors import RecipeError, RewardError, nearest

SHIPPED = Path(__file__).resolve().parents[1] / "reward_fns"
"""The folder of the reward functions that come with the package."""

# Libraries that the shipped file of their name is made from: they are no rewards that could be
# meant.
_NO_RIVAL = {"regex", "reasoning_gym"}

_kept: dict[Path, bytes] = {}

_reported: set[tuple[str, Path]] = set()


def resolve(
    reference: str, base_dir: Path | str | None = None, *, classes: bool = False
) -> Callable[..., Any]:
    """The function that a reference names, or with ``classes`` a class; ``path.py`` is relative to
    base_dir; RewardError with the nearest name.
    """
    place, colon, function = reference.rpartition(":")
    if not (place and colon and function):
        raise RewardError(
            f"Reward reference {reference!r} should read `module:function` or `path.py:function`."
        )
    base = Path(base_dir) if base_dir is not None else Path()
    module = (
        _load_file(reference, base, place)
        if place.endswith(".py")
        else _load_module(reference, place, base)
    )
    return _attribute(reference, module, function, classes)


def named(
    role: str,
    function: Any,
    base_dir: Path | str | None,
    error: type[Exception] = RecipeError,
    *,
    classes: bool = False,
) -> Callable[..., Any]:
    """The function behind a recipe's key, which is one already or names one; ``role`` begins the
    sentence of the error.
    """
    if callable(function):
        return function
    if not isinstance(function, str):
        raise error(f"{role}: found {function!r:.80}; expected module:function or path.py:function")
    try:
        return resolve(function, base_dir, classes=classes)
    except RewardError as reason:
        raise error(f"{role}: {re.sub('^Reward (reference )?', '', str(reason))}") from reason


def keep(path: Path, content: bytes) -> None:
    """From now on a reward file is what it was when it was first read, in whatever process: a run
    has one text of it.
    """
    _kept[path.resolve()] = content


def shipped_names() -> list[str]:
    """The bare module names that mean a file of reward_fns."""
    return sorted(path.stem for path in SHIPPED.glob("[!_]*.py"))


def _load_file(reference: str, base: Path, place: str) -> ModuleType:
    path = base / place
    content = _kept.get(path.resolve())
    if content is None and not path.is_file():
        raise RewardError(f"Reward {reference!r}: {_no_file(base, place)}")
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode() + (content or path.read_bytes())).hexdigest()[:12]
    name = f"llmpolicy_reward_{path.stem}_{digest}"
    if name not in sys.modules:
        _execute(
            reference, name, path, loader=_Kept(path, content) if content is not None else None
        )
    return sys.modules[name]


def _no_file(base: Path, place: str) -> str:
    """Why a file cannot be read, and where one of that name lies."""
    path, here = base / place, Path.cwd() / place
    if path.is_dir():
        return f"{path} is a folder; expected a Python file"
    if here.is_file():
        return (
            f"there is no file {path}, but {here} is in the current folder; a path written in a"
            " recipe starts from the recipe's folder, one given on the command line from the"
            " current folder"
        )
    nor = f", nor {here}" if here != path.absolute() else ""
    return (
        "there is no file"
        f" {path}{nor}{nearest(path.name, [p.name for p in path.parent.glob('*.py')])}"
    )


def _load_module(reference: str, place: str, base: Path) -> ModuleType:
    if place in shipped_names():
        _report_rivals(reference, place, base)
        return _load_shipped(reference, place)
    package, _, rest = place.partition(".")
    if package == "reward_fns" and rest in shipped_names():
        found = _found("reward_fns")
        if found in (None, SHIPPED / "__init__.py"):
            return _load_shipped(reference, rest)
        # A dotted name is a normal import, so here the other package wins.
        _report(reference, found or SHIPPED, SHIPPED / f"{rest}.py")
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(error.name + ".")):
            raise _import_failed(reference, place, error) from error
        raise RewardError(
            f"Reward {reference!r}: there is no module {place!r}{_hint(place, base)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(reference, place, error) from error


def _load_shipped(reference: str, place: str) -> ModuleType:
    if _found("reward_fns") in (None, SHIPPED / "__init__.py") and not _shadowed_in_memory():
        _ensure_package(reference, "reward_fns")
        return importlib.import_module(f"reward_fns.{place}")
    # Another reward_fns comes first on sys.path: the shipped one is loaded beside it, under a name
    # of its own.
    _ensure_package(reference, "llmpolicy_reward_fns")
    return importlib.import_module(f"llmpolicy_reward_fns.{place}")


def _ensure_package(reference: str, name: str) -> None:
    if name not in sys.modules:
        _execute(reference, name, SHIPPED / "__init__.py", package=True)


def _shadowed_in_memory() -> bool:
    loaded = sys.modules.get("reward_fns")
    return loaded is not None and SHIPPED not in [
        Path(p).resolve() for p in getattr(loaded, "__path__", [])
    ]


class _Kept(importlib.abc.InspectLoader):
    """Loads a module from the text that its file had."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.content)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, str(self.path))


def _execute(
    reference: str,
    name: str,
    path: Path,
    package: bool = False,
    loader: importlib.abc.Loader | None = None,
) -> None:
    search = [str(path.parent)] if package else None
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=search
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(reference, path.name, error) from error


def _import_failed(reference: str, place: str, error: BaseException) -> RewardError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == place] or frames
    # A syntax error says its own line, and none of the module has run.
    where = (
        ""
        if isinstance(error, SyntaxError)
        else f" ({Path(own[-1].filename).name}:{own[-1].lineno})"
    )
    return RewardError(
        f"Reward {reference!r}: importing {place} raised {type(error).__name__}: {error}{where}."
    )


def _attribute(
    reference: str, module: ModuleType, dotted: str, classes: bool
) -> Callable[..., Any]:
    value: Any = module
    for part in dotted.split("."):
        if not hasattr(value, part):
            own = [
                name
                for name, item in vars(value).items()
                if getattr(item, "__module__", "") == module.__name__
            ]
            offered = [
                name for name in own if callable(getattr(value, name)) and not name.startswith("_")
            ]
            where = getattr(module, "__file__", module.__name__)
            if module.__name__ == "__main__":
                raise RewardError(
                    f"Reward {reference!r} was a function of the Python session that wrote this"
                    " recipe; put it into a file and write FILE.py:NAME."
                )
            raise RewardError(
                f"Reward {reference!r}: {where} has no {part!r}{nearest(part, offered)}"
            )
        value = getattr(value, part)
    if not callable(value) or (inspect.isclass(value) and not classes):
        kind = "class" if inspect.isclass(value) else type(value).__name__
        raise RewardError(
            f"Reward {reference!r} names a {kind}; expected a function, or an object that can be"
            " called."
        )
    return value


def _hint(place: str, base: Path) -> str:
    for candidate in (f"{place}.py", f"reward_fns/{place}.py"):
        if (base / candidate).is_file() or Path(candidate).is_file():
            return f"; for the file write '{candidate}:...'"
    return nearest(place, shipped_names())


def _report_rivals(reference: str, place: str, base: Path) -> None:
    ours = SHIPPED / f"{place}.py"
    rivals = [
        base / f"{place}.py",
        base / "reward_fns" / f"{place}.py",
        Path("reward_fns") / f"{place}.py",
    ]
    importable = None if place in _NO_RIVAL else _found(place)
    for other in [*rivals, importable]:
        if other is not None and other.is_file() and other.resolve() != ours:
            _report(reference, ours, other.resolve())
    package = _found("reward_fns")
    if package not in (None, SHIPPED / "__init__.py"):
        _report(reference, ours, package)


def _report(reference: str, used: Path, other: Path | None) -> None:
    if other is None or (reference, other) in _reported:
        return
    _reported.add((reference, other))
    warnings.warn(
        f"Reward {reference!r} means {used}, and there is also {other}: write `path.py:function` to"
        " say which one.",
        stacklevel=2,
    )


def _found(name: str) -> Path | None:
    """The file, or the folder, that `import name` would load, without importing it."""
    spec = PathFinder.find_spec(name, _search_path())
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve()
    return next((Path(folder).resolve() for folder in spec.submodule_search_locations or []), None)


def _search_path() -> list[str]:
    return [entry or "." for entry in sys.path]
