# ruff: noqa: BLE001
"""What runs beside a program: it does what the tests ask of it, one thing after the other, and
tells what came of it.

The tests themselves and what they expect are in another process. `wire` is put in front of
this text.
"""

import builtins
import itertools
import json
import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import pack, unpack

_LONGEST = 10_000
_dumps, _loads = json.dumps, json.loads


def perform(names: "dict[str, Any]", asked: str) -> str:
    """The answers to what is asked, as JSON, in the names that the program has made."""
    done: list[Any] = []
    inner: list[list[Any]] = []
    answers = []
    for what, *parts in _loads(asked):
        inner.append([])
        try:
            value, changed = _do(what, parts, lambda ref: _held(ref, names, done, inner))
            done.append(value)
            answers.append({"value": pack(value, _keeper(inner)), "changed": changed})
        except BaseException as error:  # SystemExit and the like are answers as well
            done.append(None)
            classes = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
            answers.append({"raised": classes, "said": _said(error)})
    return _dumps(answers)


def _keeper(inner: "list[list[Any]]") -> "Any":
    """Packs an object of the program's as its place among those of the newest answer."""

    def keep(value: "Any") -> "list[int]":
        inner[-1].append(value)
        return [len(inner) - 1, len(inner[-1]) - 1]

    return keep


def _held(
    ref: "Any", names: "dict[str, Any]", done: "list[Any]", inner: "list[list[Any]]"
) -> "Any":
    """An object by its reference: a name, the number of an answer, or a place within one."""
    if type(ref) is int:
        return done[ref]
    if type(ref) is list:
        return inner[ref[0]][ref[1]]
    if ref not in names and "Solution" in names:
        return getattr(names["Solution"](), ref)
    if ref not in names:
        raise NameError(f"name {ref!r} is not defined")
    return names[ref]


def _do(what: str, parts: "list[Any]", held: "Any") -> "tuple[Any, dict[str, Any]]":
    values = [unpack(part, held) for part in parts]
    if what != "call":
        return _DONE[what](*values), {}
    function, args, named = values
    before = list(map(_shown, args))
    changed: dict[str, Any] = {}
    value = function(*args, **named)
    after = list(map(_shown, args)) if value is None else []
    for number, packed in enumerate(after):
        if packed is not None and packed != before[number]:
            changed[str(number)] = packed
    return value, changed


def _shown(value: "Any") -> "Any":
    """What may change in place, packed; None for all else."""
    if type(value) not in (list, dict, set, bytearray):
        return None
    try:
        return pack(value, lambda _: None)
    except RecursionError:
        return None


def _listed(value: "Any") -> "list[Any]":
    return list(itertools.islice(value, _LONGEST + 1))


def _said(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except BaseException:
        return ""


_OPERATIONS = (
    "getitem setitem delitem contains add sub mul truediv floordiv mod pow neg and_ or_ xor matmul"
    " invert"
)
_BUILTINS = "len bool str repr int float abs round next hash isinstance"
_DONE: "dict[str, Any]" = {
    **{"value": lambda value: value, "get": getattr, "set": setattr, "list": _listed},
    "enter": lambda value: value.__enter__(),
    "exit": lambda value: value.__exit__(None, None, None),
    **{name: getattr(builtins, name) for name in _BUILTINS.split()},
    **{name: getattr(operator, name) for name in _OPERATIONS.split()},
}
