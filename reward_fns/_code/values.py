"""Whether what a candidate computed is what was expected. Compared here, outside the sandbox, type
by type.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps
from typing import Any, Literal

from llmpolicy.sandbox import Execution, Job
from llmpolicy.sandbox.inside.values import NotPlain, decode, encode, spread

_MOST = 10_000


def by_name(*functions: Any) -> dict[str, Any]:
    """Functions by the name that each has."""
    return {function.__name__: function for function in functions}


BUILTINS = by_name(
    set, frozenset, sorted, list, tuple, len, sum, round, abs, str, int, float, bool
)  # fmt: skip
_OUTER = {**BUILTINS, "max": max, "min": min}
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
        walked = expected.outer and expected.outer[0][0] in ITERATING
        if walked and isinstance(data, dict) and data.keys() == {"items"}:
            data = data["items"]
        for name, more in expected.outer:
            data = encode(_OUTER[name](_decoded(data), *more))
        if expected.how in ("true", "false"):
            return bool(_decoded(data)) is (expected.how == "true")
        compared = _Compared(expected.tolerance or tolerance, expected.json)
        equal = compared.same(expected.value, data)
        if not equal and expected.wrapped:
            equal = any(compared.same(value, data) for value in expected.value)
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
    if isinstance(data, list):
        return 1 + sum(map(_size, data))
    return 1


@dataclass(frozen=True, slots=True)
class _Compared:
    """How a value is compared with an encoded one: equal and of the same type.

    An int and a float may be equal, a bool and a number may not.
    """

    tolerance: Tolerance
    json: bool

    def same(self, expected: Any, data: Any) -> bool:
        kind = type(expected)
        if expected is None or kind in (bool, str):
            return type(data) is kind and bool(data == expected)
        if kind in (int, float):
            return self.same_number(expected, data)
        if kind in (list, tuple):
            items = self.items(kind, data)
            if items is None or len(items) != len(expected):
                return False
            return all(map(self.same, expected, items))
        if kind is dict:
            return self.same_mapping(expected, data)
        # Sizes first: nobody builds a large set of another's choice.
        if _size(data) != _size(encode(expected)):
            return False
        value = decode(data)
        return type(value) is kind and bool(value == expected)

    def same_number(self, expected: float, data: Any) -> bool:
        number = data
        if isinstance(data, dict) and data.keys() <= {"int", "float"}:
            number = decode(data)
        if type(number) not in (int, float):
            return False
        if type(expected) is int:
            return bool(number == expected)
        return self.tolerance.close(float(expected), float(number))

    def items(self, kind: type, data: Any) -> Sequence[Any] | None:
        """The items of an encoded list or tuple, None for another value than is expected."""
        items = data if kind is list else None
        if isinstance(data, dict) and (kind is tuple or self.json):
            items = data.get("tuple")
        return items if isinstance(items, list) else None

    def same_mapping(self, expected: Mapping[Any, Any], data: Any) -> bool:
        pairs = data.get("dict") if isinstance(data, dict) else None
        if not isinstance(pairs, list) or len(pairs) != len(expected):
            return False
        encoded = [key for key, _ in pairs]
        if _size(encoded) != _size(encode(list(expected))):
            return False
        keys = list(map(decode, encoded))
        if self.json:
            keys = list(map(_json_key, keys))
        values = dict(zip(spread(keys), (value for _, value in pairs), strict=True))
        if values.keys() != expected.keys():
            return False
        return all(self.same(value, values[key]) for key, value in expected.items())


def _json_key(key: Any) -> Any:
    """The text that JSON makes of a key."""
    if key is None or type(key) in (bool, int, float):
        return dumps(key)
    return key


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
    wanted, lines = _lines(expected), _lines(printed)
    if len(wanted) != len(lines):
        return False
    pairs = zip(wanted, lines, strict=True)
    return all(a == b or _same_line(a, b, tolerance) for a, b in pairs)


def _lines(text: str) -> list[str]:
    return [line.rstrip(" \t\r") for line in text.rstrip(" \t\r\n").split("\n")]


def _same_line(expected: str, printed: str, tolerance: Tolerance) -> bool:
    wanted, words = _SPACES.split(expected), _SPACES.split(printed)
    if len(wanted) != len(words):
        return False
    for a, b in zip(wanted, words, strict=True):
        if a != b and not (_is_float(a, b) and tolerance.close(float(a), float(b))):
            return False
    return True


def _is_float(expected: str, printed: str) -> bool:
    return bool(_DECIMAL.fullmatch(expected) and _NUMBER.fullmatch(printed))


class Unreadable(ValueError):
    """The tests of a row cannot be used; the message says why."""


class IsProgram(Exception):
    """The tests of a row are a program, which is run and not read."""

    def __init__(self, text: str, name: str | None) -> None:
        super().__init__(text)
        self.text, self.name = text, name


@dataclass(frozen=True, slots=True)
class Case:
    """A call with its arguments, or, without ``call``, a program with its ``stdin``; ``expected``
    never leaves here.
    """

    expected: Expected
    call: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    stdin: str = ""

    def job(self, code: str, most: int) -> Job:
        """What enters the sandbox, and how many bytes of what comes out are looked at."""
        return Job(code, self.call, self.args, self.kwargs, self.stdin, most)

    def failed(self, outcome: Execution, tolerance: Tolerance) -> str:
        """Why an outcome is not as expected; an empty text when it is."""
        if outcome.ended == "returned":
            same, why = agrees(self.expected, outcome.value, tolerance), "returned something else"
        elif outcome.ended == "finished":
            same = same_output(self.expected.value, outcome.stdout, tolerance)
            why = "printed something else"
        else:
            return outcome.why
        return "" if same else why
