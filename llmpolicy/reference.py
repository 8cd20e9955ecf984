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
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
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
    reference: str,
    base_dir: Path | str | None = None,
    *,
    role: str = "Reward",
    classes: bool = False,
) -> Callable[..., Any]:
    """The function that a reference names, or with ``classes`` a class; ``path.py`` is relative to
    base_dir; RewardError, whose sentence ``role`` begins, with the nearest name.
    """
    source, colon, function = reference.rpartition(":")
    asked = f"{role} {reference!r}"
    if not (source and colon and function):
        raise RewardError(f"{asked} should read `module:function` or `path.py:function`.")
    load = _load_file if source.endswith(".py") else _load_module
    return _attribute(asked, load(asked, Path(base_dir or ""), source), function, classes)


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
        return resolve(function, base_dir, role=f"{role}:", classes=classes)
    except RewardError as reason:
        raise error(str(reason)) from reason


def name_of(function: Any) -> str:
    """What a function, or the text that names one, is called in a sentence."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, str):
        return function
    return str(getattr(function, "__name__", type(function).__name__))


def keep(path: Path, content: bytes) -> None:
    """From now on a reward file is what it was when it was first read, in whatever process: a run
    has one text of it.
    """
    _kept[path.resolve()] = content


def shipped_names() -> list[str]:
    """The bare module names that mean a file of reward_fns."""
    return sorted(path.stem for path in SHIPPED.glob("[!_]*.py"))


def _load_file(asked: str, base: Path, source: str) -> ModuleType:
    path = base / source
    content = _kept.get(path.resolve())
    if content is None and not path.is_file():
        raise RewardError(f"{asked}: {_no_file(base, source)}")
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode() + (content or path.read_bytes())).hexdigest()[:12]
    name = f"llmpolicy_reward_{path.stem}_{digest}"
    if name not in sys.modules:
        _execute(asked, name, path, loader=None if content is None else _Kept(path, content))
    return sys.modules[name]


def _no_file(base: Path, source: str) -> str:
    """Why a file cannot be read, and where one of that name lies."""
    path, here = base / source, Path.cwd() / source
    if path.is_dir():
        return f"{path} is a folder; expected a Python file"
    if here.is_file():
        return (
            f"there is no file {path}, but {here} is in the current folder; a path written in a"
            " recipe starts from the recipe's folder, one given on the command line from the"
            " current folder"
        )
    nor = "" if here == path.absolute() else f", nor {here}"
    beside = [file.name for file in path.parent.glob("*.py")]
    return f"there is no file {path}{nor}{nearest(path.name, beside)}"


def _load_module(asked: str, base: Path, source: str) -> ModuleType:
    if source in shipped_names():
        _report_rivals(asked, source, base)
        return _load_shipped(asked, source)
    package, _, rest = source.partition(".")
    if package == "reward_fns" and rest in shipped_names():
        package_file = _found("reward_fns")
        if package_file in (None, SHIPPED / "__init__.py"):
            return _load_shipped(asked, rest)
        # A dotted name is a normal import, so here the other package wins.
        _report(asked, package_file or SHIPPED, SHIPPED / f"{rest}.py")
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is None or not (source == error.name or source.startswith(error.name + ".")):
            raise _import_failed(asked, source, error) from error
        raise RewardError(f"{asked}: there is no module {source!r}{_hint(source, base)}") from error
    except (Exception, SystemExit) as error:
        raise _import_failed(asked, source, error) from error


def _load_shipped(asked: str, module: str) -> ModuleType:
    package = "reward_fns"
    if _found(package) not in (None, SHIPPED / "__init__.py") or _shadowed_in_memory():
        # Another one comes first on sys.path: the shipped one is loaded beside it, under a name of
        # its own.
        package = "llmpolicy_reward_fns"
    if package not in sys.modules:
        _execute(asked, package, SHIPPED / "__init__.py", package=True)
    return importlib.import_module(f"{package}.{module}")


def _shadowed_in_memory() -> bool:
    loaded = sys.modules.get("reward_fns")
    folders = map(Path, getattr(loaded, "__path__", ()))
    return loaded is not None and SHIPPED not in map(Path.resolve, folders)


class _Kept(importlib.abc.InspectLoader):
    """Loads a module from the text that its file had."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.content)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, str(self.path))


def _execute(
    asked: str,
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
        raise _import_failed(asked, path.name, error) from error


def _import_failed(asked: str, source: str, error: BaseException) -> RewardError:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).name == source] or frames
    reason = f"{asked}: importing {source} raised {type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):  # it says its own line, and none of the module has run
        return RewardError(f"{reason}.")
    return RewardError(f"{reason} ({Path(inside[-1].filename).name}:{inside[-1].lineno}).")


def _attribute(asked: str, module: ModuleType, dotted: str, classes: bool) -> Callable[..., Any]:
    value: Any = module
    for part in dotted.split("."):
        if not hasattr(value, part):
            if module.__name__ == "__main__":
                raise RewardError(
                    f"{asked} was a function of the Python session that wrote this"
                    " recipe; put it into a file and write FILE.py:NAME."
                )
            where = getattr(module, "__file__", module.__name__)
            offered = nearest(part, _offered(value, module))
            raise RewardError(f"{asked}: {where} has no {part!r}{offered}")
        value = getattr(value, part)
    if not callable(value) or (inspect.isclass(value) and not classes):
        kind = "class" if inspect.isclass(value) else type(value).__name__
        raise RewardError(
            f"{asked} names a {kind}; expected a function, or an object that can be called."
        )
    return value


def _offered(holder: Any, module: ModuleType) -> list[str]:
    """The public functions and classes of a module, or of a class in it, that it defines."""
    names = []
    for name, item in vars(holder).items():
        mine = getattr(item, "__module__", "") == module.__name__
        if mine and callable(getattr(holder, name)) and not name.startswith("_"):
            names.append(name)
    return names


def _hint(module: str, base: Path) -> str:
    for candidate in (f"{module}.py", f"reward_fns/{module}.py"):
        if (base / candidate).is_file() or Path(candidate).is_file():
            return f"; for the file write '{candidate}:...'"
    return nearest(module, shipped_names())


def _report_rivals(asked: str, module: str, base: Path) -> None:
    ours = SHIPPED / f"{module}.py"
    rivals: list[Path | None] = [base / ours.name]
    rivals += [folder / "reward_fns" / ours.name for folder in (base, Path())]
    if module not in _NO_RIVAL:
        rivals.append(_found(module))
    for rival in filter(None, rivals):
        if rival.is_file() and rival.resolve() != ours:
            _report(asked, ours, rival.resolve())
    package = _found("reward_fns")
    if package not in (None, SHIPPED / "__init__.py"):
        _report(asked, ours, package)


def _report(asked: str, used: Path, rival: Path | None) -> None:
    if rival is None or (asked, rival) in _reported:
        return
    _reported.add((asked, rival))
    warnings.warn(
        f"{asked} means {used}, and there is also {rival}: write `path.py:function` to"
        " say which one.",
        stacklevel=2,
    )


def _found(name: str) -> Path | None:
    """The file, or the folder, that `import name` would load, without importing it."""
    spec = PathFinder.find_spec(name, [entry or "." for entry in sys.path])
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve()
    folders = spec.submodule_search_locations
    return Path(next(iter(folders))).resolve() if folders else None
