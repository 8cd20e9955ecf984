"""What a function is beside its file: its code where no file holds it, and the values that are
bound to it, as hashes.
"""

import enum
import functools
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from llmpolicy.reference import SHIPPED, resolve

UNKNOWN = "unknown"
LARGEST = 2**28
"""Bytes of an array above which it is not read."""


def describe(
    reference: str | Callable[..., Any], base_dir: Path | str | None = None
) -> dict[str, str | None]:
    """Which file a function comes from (relative where it can be) and its sha256, for a
    manifest.
    """
    function = function_at(reference, base_dir)
    path = source_of(inspect.unwrap(getattr(function, "func", function)))
    if path is None:
        return {"file": None, "sha256": code_facts(function).get("code")}
    return {"file": _short(path, base_dir), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def function_at(
    reference: str | Callable[..., Any], base_dir: Path | str | None = None
) -> Callable[..., Any]:
    """What a reference names, or what it is already."""
    if isinstance(reference, str):
        return resolve(reference, base_dir, classes=True)
    return reference


def source_of(function: Any) -> Path | None:
    """The file of a function, a class, or of an object's class; None where there is none."""
    if not hasattr(function, "__code__") and not inspect.isclass(function):
        function = type(function)
    try:
        source = inspect.getsourcefile(function)
    except (OSError, TypeError):
        return None
    if source is None or not Path(source).is_file():
        return None
    return Path(source).resolve()


def _short(path: Path, base_dir: Path | str | None) -> str:
    for folder, prefix in ((SHIPPED, "reward_fns/"), (base_dir and Path(base_dir).resolve(), "")):
        if folder and path.is_relative_to(folder):
            return prefix + path.relative_to(folder).as_posix()
    return str(path)


def code_facts(function: Callable[..., Any]) -> dict[str, str]:
    """The sha256 of a function's ``code``, if no file holds it, and of the ``values`` it is bound
    to, if there are any.

    What no hash can be told of is ``unknown: `` and its kind.
    """
    seen = _Seen()
    try:
        facts = {"code": seen.code(function), "values": seen.values(function)}
    except RecursionError:
        return {"values": f"{UNKNOWN}: values in one another without end"}
    return {name: _sha256(fact) for name, fact in facts.items() if fact}


def _sha256(fact: Any) -> str:
    text = json.dumps(fact, sort_keys=True)
    kinds = sorted(set(re.findall(r'"unknown: ([^"]*)"', text)))
    if kinds:
        return f"{UNKNOWN}: {', '.join(kinds)}"
    return hashlib.sha256(text.encode()).hexdigest()


class _Seen:
    """Tells values as plain data, each function or object once."""

    def __init__(self) -> None:
        self.ids: set[int] = set()

    def code(self, function: Any) -> Any:
        """The code of a function, a class, or an object's class, that lies in no file; with the
        globals that it reads.
        """
        inner = _inner(function)
        if isinstance(inner, MethodType):
            return self.code(inner.__func__) and self._class(type(inner.__self__))
        if isinstance(inner, type):
            return self._class(inner)
        if not isinstance(inner, FunctionType):
            return self._class(type(inner))
        if Path(inner.__code__.co_filename).is_file():
            return None
        if id(inner) in self.ids:
            return inner.__qualname__
        self.ids.add(id(inner))
        values = {}
        for name in names_in(inner.__code__):
            if name in inner.__globals__:
                values[name] = self.plain(inner.__globals__[name])
        return [_text(inner), values]

    def _class(self, kind: type) -> Any:
        """The methods of a class that lie in no file."""
        codes = []
        for base in kind.__mro__:
            for item in vars(base).values():
                if isinstance(item, FunctionType):
                    codes.append(self.code(item))
        return list(filter(None, codes)) or None

    def values(self, function: Any) -> Any:
        """Arguments of a partial, the state of an object, what a closure holds, defaults."""
        if isinstance(function, functools.partial):
            bound = self.plain([function.args, function.keywords])
            return [*bound, self.values(function.func)]
        function = inspect.unwrap(function)
        if isinstance(function, MethodType):
            return [self.plain(function.__self__), self.values(function.__func__)]
        if not isinstance(function, FunctionType):
            return self.plain(function) if _state(function) else None
        cells = list(map(_content, function.__closure__ or ()))
        bound = [cells, function.__defaults__ or (), function.__kwdefaults__ or {}]
        return self.plain(bound) if any(bound) else None

    def plain(self, value: Any) -> Any:
        """A value as data that JSON holds, the same in every process."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(
            value, bytes | bytearray | complex | range | PurePath | re.Pattern | enum.Enum | slice
        ):
            return [type(value).__name__, str(value)]
        if isinstance(value, Mapping):
            return ["mapping", self.plain(list(value.items()))]
        if isinstance(value, list | tuple):
            return list(map(self.plain, value))
        if isinstance(value, set | frozenset):
            return ["set", sorted(map(self.plain, value), key=json.dumps)]
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, type):
            return [f"{value.__module__}.{value.__qualname__}", self._class(value)]
        if isinstance(value, BuiltinFunctionType):
            return [f"{value.__module__}.{value.__qualname__}", None]
        return self._deep(value)

    def _deep(self, value: Any) -> Any:
        if id(value) in self.ids:
            return type(value).__qualname__
        if isinstance(value, FunctionType | MethodType | functools.partial):
            inner = _inner(value)
            return [
                getattr(inner, "__qualname__", type(inner).__name__),
                self.code(value),
                self.values(value),
            ]
        self.ids.add(id(value))
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if hasattr(value, "nbytes") and (hasattr(value, "tobytes") or hasattr(value, "detach")):
            if value.nbytes > LARGEST:
                return f"unknown: {name}"
            return [name, hashlib.sha256(_array(value)).hexdigest()]
        state = _state(value)
        if state is None:
            return f"unknown: {name}"
        return [name, self.plain(state)]


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.unwrap(function)


def names_in(code: CodeType) -> list[str]:
    """The names that code, and what is defined in it, looks up."""
    names = set(code.co_names)
    for item in code.co_consts:
        if isinstance(item, CodeType):
            names.update(names_in(item))
    return sorted(names)


def _text(function: FunctionType) -> Any:
    """The source where it is known, as in a notebook, else the byte code."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return _bytes(function.__code__)


def _bytes(code: CodeType) -> Any:
    constants = list(map(_constant, code.co_consts))
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _bytes(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return repr(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _state(value: Any) -> dict[str, Any] | None:
    """The attributes of an object; None where Python does not show what it holds."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    slots: list[str] = []
    for kind in type(value).__mro__:
        slots += getattr(kind, "__slots__", ())
    if type(value).__flags__ & (1 << 9) == 0 or (
        not hasattr(value, "__dict__") and not slots
    ):  # no class statement made it
        return None
    state = dict(getattr(value, "__dict__", {}))
    for name in slots:
        if hasattr(value, name):
            state[name] = getattr(value, name)
    return state


def _array(value: Any) -> bytes:
    head = f"{value.dtype} {tuple(value.shape)}".encode()
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return head + bytes(value.tobytes())
