"""Whether what a candidate computed is what was expected. Compared here, outside the sandbox, type
by type.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Literal

from llmpolicy.sandbox.inside.values import NotPlain, decode, encode, spread

_MOST = 10_000
_OUTER: dict[str, Any] = {
    "set": set, "frozenset": frozenset, "sorted": sorted, "list": list, "tuple": tuple, "len": len, "sum": sum,
    "round": round, "abs": abs, "str": str, "int": int, "float": float, "bool": bool, "max": max, "min": min,
}  # fmt: skip
OUTER = frozenset(_OUTER)
"""The builtin functions that a test may apply to a result before it compares."""
ITERATING = OUTER & {"set", "frozenset", "sorted", "list", "tuple", "sum", "max", "min"}
"""Those that take any iterable."""

_DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_SPACES = re.compile(r"( +)")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two floats agree when they differ by at most max(relative * the larger, absolute)."""

    relative: float = 1e-6
    absolute: float = 1e-9

    def close(self, a: float, b: float) -> bool:
        """Whether two floats agree; NaN agrees with NaN, and 0.0 with -0.0."""
        return math.isclose(a, b, rel_tol=self.relative, abs_tol=self.absolute) or (
            math.isnan(a) and math.isnan(b)
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What a result must be: equal to a value, different from it, true or false; after some builtin
    functions, if any.

    ``outer``: each function's name and its arguments after the result. ``json``: the value was
    written in JSON, which has no tuples and no keys but texts, so that a tuple may stand where a
    list is expected, and a key 1 where a key "1" is. ``wrapped``: a list of one item may stand for
    its item, as in APPS.
    """

    value: Any = None
    how: Literal["equal", "differs", "true", "false"] = "equal"
    outer: Sequence[tuple[str, tuple[Any, ...]]] = ()
    json: bool = False
    tolerance: Tolerance | None = None
    wrapped: bool = False


def agrees(expected: Expected, data: Any, tolerance: Tolerance) -> bool:
    """Whether an encoded result is as expected; what cannot be read, or not be compared, is not."""
    try:
        if (
            isinstance(data, dict)
            and data.keys() == {"items"}
            and expected.outer
            and expected.outer[0][0] in ITERATING
        ):
            data = data["items"]
        for name, more in expected.outer:
            data = encode(_OUTER[name](_decoded(data), *more))
        if expected.how in ("true", "false"):
            return bool(_decoded(data)) is (expected.how == "true")
        values = [expected.value, *(expected.value if expected.wrapped else ())]
        equal = any(
            _same(value, data, expected.tolerance or tolerance, expected.json) for value in values
        )
        return equal is (expected.how == "equal")
    except (NotPlain, ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return False


def _decoded(data: Any) -> Any:
    """A value small enough that even one made of colliding hashes is soon built; NotPlain for a
    larger one.
    """
    if _size(data) > _MOST:
        raise NotPlain("too many items")
    return decode(data)


def _size(data: Any) -> int:
    """How many values an encoded value is made of."""
    if isinstance(data, Mapping):
        return sum(map(_size, data.values()))
    return 1 + sum(map(_size, data)) if isinstance(data, list) else 1


def _same(expected: Any, data: Any, tolerance: Tolerance, json: bool) -> bool:
    """Equal and of the same type; an int and a float may be equal, a bool and a number may not."""
    kind = type(expected)
    if expected is None or kind in (bool, str):
        return type(data) is kind and bool(data == expected)
    if kind in (int, float):
        return _same_number(expected, data, tolerance)
    if kind in (list, tuple):
        items = _items(kind, data, json)
        return (
            items is not None
            and len(items) == len(expected)
            and all(
                _same(one, item, tolerance, json) for one, item in zip(expected, items, strict=True)
            )
        )
    if kind is dict:
        return _same_mapping(expected, data, tolerance, json)
    # Sizes first: nobody builds a large set of another's choice.
    if _size(data) != _size(encode(expected)):
        return False
    found = decode(data)
    return type(found) is kind and bool(found == expected)


def _same_number(expected: float, data: Any, tolerance: Tolerance) -> bool:
    found = decode(data) if isinstance(data, dict) and data.keys() <= {"int", "float"} else data
    if type(found) not in (int, float):
        return False
    if type(expected) is int:
        return bool(found == expected)
    return tolerance.close(float(expected), float(found))


def _items(kind: type, data: Any, json: bool) -> Sequence[Any] | None:
    if isinstance(data, list):
        return data if kind is list else None
    inner = data.get("tuple") if isinstance(data, dict) and (kind is tuple or json) else None
    return inner if isinstance(inner, list) else None


def _same_mapping(expected: Mapping[Any, Any], data: Any, tolerance: Tolerance, json: bool) -> bool:
    pairs = data.get("dict") if isinstance(data, dict) else None
    if not isinstance(pairs, list) or len(pairs) != len(expected):
        return False
    if _size([key for key, _ in pairs]) != _size(encode(list(expected))):
        return False
    keys = spread([_json_key(decode(key)) if json else decode(key) for key, _ in pairs])
    found = dict(zip(keys, (value for _, value in pairs), strict=True))
    return len(found) == len(expected) and all(
        key in found and _same(value, found[key], tolerance, json)
        for key, value in expected.items()
    )


def _json_key(key: Any) -> Any:
    """The text that JSON makes of a key."""
    return dumps(key) if key is None or type(key) in (bool, int, float) else key


def room(expected: Expected) -> int:
    """Bytes that a right result may need at most, written by `encode` or printed."""
    data = encode(expected.value)
    return 2 * len(dumps(data)) + 64 * _size(data)


def same_output(expected: str, printed: str, tolerance: Tolerance) -> bool:
    """Whether the same lines were printed: blanks at the ends of lines and empty lines at the end
    do not count.

    A decimal fraction that is expected may differ by the tolerance; all else is compared character
    by character.
    """
    wanted, found = _lines(expected), _lines(printed)
    return len(wanted) == len(found) and all(
        a == b or _same_line(a, b, tolerance) for a, b in zip(wanted, found, strict=True)
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip(" \t\r") for line in text.rstrip(" \t\r\n").split("\n")]


def _same_line(expected: str, printed: str, tolerance: Tolerance) -> bool:
    wanted, found = _SPACES.split(expected), _SPACES.split(printed)
    return len(wanted) == len(found) and all(
        a == b or (_is_float(a, b) and tolerance.close(float(a), float(b)))
        for a, b in zip(wanted, found, strict=True)
    )


def _is_float(expected: str, printed: str) -> bool:
    return bool(_DECIMAL.fullmatch(expected) and _NUMBER.fullmatch(printed))
