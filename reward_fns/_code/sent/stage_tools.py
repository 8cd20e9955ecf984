"""The modules that tests import: that of the program, and as much as is needed of pytest, unittest
and numpy.
"""

import importlib
import math
import re
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .stage import Refused, Thing, check_softly, desk, errors

MODULES = ("solution", "main", "submission", "your_module", "candidate", "program")
"""Names under which tests import the program."""


class Raises:
    """pytest.raises and unittest's assertRaises."""

    def __init__(self, expected: "Any", match: "str | None" = None) -> None:
        if type(expected) is Thing:
            raise Refused("expect an exception that they take from the program by no name")
        self.expected, self.pattern = expected, match
        self.value: Any = Thing("derived")
        self.exception = self.value
        self.type = expected

    def __enter__(self) -> "Raises":
        return self

    def __exit__(self, kind: "Any", error: "Any", trace: "Any") -> bool:
        desk.checks += 1
        if kind is None or not issubclass(kind, self.expected):
            if kind is None and not desk.guessing:
                raise AssertionError(f"did not raise {self.expected}")
            return desk.guessing and isinstance(error, Exception)
        self.value = self.exception = error
        if self.pattern is not None:
            self.match(self.pattern)
        return True

    def match(self, pattern: str) -> None:
        """Raise AssertionError for another message."""
        if not desk.guessing and not re.search(pattern, str(self.value)):
            raise AssertionError("another message")


def raises(
    expected: "Any",
    function: "Any" = None,
    *args: "Any",
    match: "str | None" = None,
    **named: "Any",
) -> "Any":
    """The context, or the call within it."""
    if function is None or not callable(function):
        return Raises(expected, match)
    with Raises(expected) as context:
        function(*args, **named)
    return context


class Approx:
    """pytest.approx for numbers, and for lists, tuples and dicts of them."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        expected: "Any",
        rel: "float | None" = None,
        abs: "float | None" = None,
        nan_ok: bool = False,
    ) -> None:
        self.expected, self.nan = expected, nan_ok
        self.absolute = 1e-12 if abs is None else abs
        self.relative = float(abs is None) * 1e-6 if rel is None else rel

    def __eq__(self, value: object) -> bool:
        return type(value) is Thing or self._same(self.expected, value)

    def _same(self, wanted: "Any", value: "Any") -> bool:
        if isinstance(wanted, dict):
            if not isinstance(value, dict) or wanted.keys() != value.keys():
                return False
            return all(self._same(wanted[key], value[key]) for key in wanted)
        if isinstance(wanted, list | tuple):
            if type(value) is not type(wanted) or len(value) != len(wanted):
                return False
            return all(map(self._same, wanted, value))
        numbers = isinstance(wanted, int | float) and isinstance(value, int | float)
        if not numbers or isinstance(wanted, bool):
            return bool(wanted == value)
        a, b = float(wanted), float(value)
        if a == b or (self.nan and a != a and b != b):
            return True
        return abs(a - b) <= max(self.relative * abs(a), self.absolute) < math.inf


class _Param:
    def __init__(self, *values: "Any", **_: "Any") -> None:
        self.values = values


def _parametrize(names: "Any", rows: "Any", **_: "Any") -> "Any":
    listed = list(map(str.strip, names.split(","))) if isinstance(names, str) else list(names)
    cases = []
    for row in rows:
        values = (row,) if len(listed) == 1 else row
        if isinstance(row, _Param):
            values = row.values
        cases.append(dict(zip(listed, values, strict=True)))

    def mark(function: "Any") -> "Any":
        function._cases = [*getattr(function, "_cases", ()), cases]
        return function

    return mark


def _fixture(function: "Any" = None, autouse: bool = False, **options: "Any") -> "Any":
    if "params" in options or "name" in options:
        raise Refused("give a fixture params or a name")

    def mark(function: "Any") -> "Any":
        function._autouse = autouse
        return function

    return mark if function is None else mark(function)


def _unmarked(*args: "Any", **_: "Any") -> "Any":
    """A mark that says nothing here, with or without arguments."""
    return args[0] if args and callable(args[0]) else _unmarked


class _Marks:
    parametrize = staticmethod(_parametrize)

    def __getattr__(self, name: str) -> "Any":
        if name in ("skip", "skipif", "xfail", "asyncio"):
            raise Refused(f"are marked {name}")
        return _unmarked


def _module(name: str, **names: "Any") -> types.ModuleType:
    module = types.ModuleType(name)

    def missing(asked: str) -> "Any":
        if asked[:1] == "_":
            raise AttributeError(asked)
        raise Refused(f"use {name}.{asked}, which is not here")

    module.__dict__.update(names, __getattr__=missing)
    sys.modules[name] = module
    return module


def _near(
    value: "Any",
    wanted: "Any",
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
    **_: "Any",
) -> bool:
    if type(value) is Thing:
        return value._kind != "object"
    listed = isinstance(value, list | tuple)
    if isinstance(wanted, list | tuple):
        if not listed or len(value) != len(wanted):
            return False
        pairs = zip(value, wanted, strict=True)
        return all(_near(a, b, rtol, atol, equal_nan) for a, b in pairs)
    if listed:
        return False
    if value == wanted or (equal_nan and value != value and wanted != wanted):
        return True
    return bool(abs(value - wanted) <= atol + rtol * abs(wanted))


def _assert_near(
    value: "Any", wanted: "Any", rtol: float = 1e-7, atol: float = 0.0, **_: "Any"
) -> None:
    assert check_softly(lambda: _near(value, wanted, rtol, atol, True))


def _numpy() -> None:
    """As much of numpy as the tests of HumanEval+ and MBPP+ name."""
    testing = _module("numpy.testing", assert_allclose=_assert_near)
    numpy = _module("numpy", allclose=_near, isclose=_near, testing=testing)
    numpy.__dict__.update(inf=math.inf, nan=math.nan, pi=math.pi)
    for name in ("ndarray", "float64", "float32", "floating", "integer"):
        setattr(numpy, name, type(name, (), {}))


class _Solution(types.ModuleType):
    """The module of the program: every name is one of its."""

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__":
            raise AttributeError(name)
        return named(name)


def named(name: str) -> "Any":
    if re.search(r"(?:Error|Exception|Warning)$", name) or name in caught:
        return errors.setdefault(name, type(name, (Exception,), {"__module__": "solution"}))
    return Thing("name", name)


caught: "set[str]" = set()


def _soften(unittest: "Any") -> None:
    """unittest's own asserts, counted, and failing only when the answers are known."""
    case = unittest.TestCase
    for name in dir(case):
        if name.startswith(("assert", "fail")):
            setattr(case, name, _softly(getattr(case, name)))
    case.assertRaises, case.assertRaisesRegex = _assert_raises, _assert_raises_regex
    unittest.main = lambda *args, **named: None


def _softly(check: "Any") -> "Any":
    return lambda *args, **named: check_softly(lambda: check(*args, **named))


def _assert_raises(_: "Any", *args: "Any", msg: "Any" = None, **named: "Any") -> "Any":
    return raises(*args, **named)


def _assert_raises_regex(
    _: "Any", kind: "Any", match: "Any", *args: "Any", **named: "Any"
) -> "Any":
    if not args:
        return raises(kind, match=match)
    return check_softly(lambda: raises(kind, *args, **named))


def furnish(text: str) -> None:
    sys.modules.update(zip(MODULES, map(_Solution, MODULES), strict=True))
    pytest = _module("pytest", raises=raises, approx=Approx, fail=_fail, main=lambda *_: 0)
    pytest.__dict__.update(mark=_Marks(), param=_Param, fixture=_fixture)
    _numpy()
    if "unittest" in text:
        _soften(importlib.import_module("unittest"))


def _fail(reason: str = "", **_: "Any") -> None:
    def fail() -> None:
        raise AssertionError(reason)

    check_softly(fail)
