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
        relative = rel if rel is not None else 0.0 if abs is not None else 1e-6
        self.expected, self.near, self.nan = (
            expected,
            {"rel_tol": relative, "abs_tol": 1e-12 if abs is None else abs},
            nan_ok,
        )

    def __eq__(self, other: object) -> bool:
        return type(other) is Thing or self._same(self.expected, other)

    def _same(self, wanted: "Any", found: "Any") -> bool:
        if isinstance(wanted, dict):
            return (
                isinstance(found, dict)
                and wanted.keys() == found.keys()
                and all(self._same(wanted[k], found[k]) for k in wanted)
            )
        if isinstance(wanted, list | tuple):
            return (
                type(found) is type(wanted)
                and len(found) == len(wanted)
                and all(map(self._same, wanted, found))
            )
        if (
            isinstance(wanted, bool)
            or not isinstance(wanted, int | float)
            or not isinstance(found, int | float)
        ):
            return bool(wanted == found)
        near, a, b = self.near, float(wanted), float(found)
        return (
            a == b
            or abs(a - b) <= max(near["rel_tol"] * abs(a), near["abs_tol"]) < math.inf
            or (self.nan and a != a and b != b)
        )


class _Param:
    def __init__(self, *values: "Any", **_: "Any") -> None:
        self.values = values


def _parametrize(names: "Any", rows: "Any", **_: "Any") -> "Any":
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    cases = []
    for row in rows:
        values = row.values if isinstance(row, _Param) else (row,) if len(listed) == 1 else row
        cases.append(dict(zip(listed, values, strict=True)))

    def mark(made: "Any") -> "Any":
        made._cases = [*getattr(made, "_cases", ()), cases]
        return made

    return mark


def _fixture(function: "Any" = None, autouse: bool = False, **others: "Any") -> "Any":
    if "params" in others or "name" in others:
        raise Refused("give a fixture params or a name")

    def mark(made: "Any") -> "Any":
        made._autouse = autouse
        return made

    return mark if function is None else mark(function)


class _Marks:
    parametrize = staticmethod(_parametrize)

    def __getattr__(self, name: str) -> "Any":
        if name in ("skip", "skipif", "xfail", "asyncio"):
            raise Refused(f"are marked {name}")
        return lambda *args, **_: args[0] if args and callable(args[0]) else lambda made: made


def _module(name: str, **names: "Any") -> types.ModuleType:
    made = types.ModuleType(name)

    def missing(asked: str) -> "Any":
        if asked[:1] == "_":
            raise AttributeError(asked)
        raise Refused(f"use {name}.{asked}, which is not here")

    made.__dict__.update(names, __getattr__=missing)
    sys.modules[name] = made
    return made


def _near(
    found: "Any",
    wanted: "Any",
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
    **_: "Any",
) -> bool:
    if type(found) is Thing:
        return found._kind != "object"
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(_near(a, b, rtol, atol, equal_nan) for a, b in zip(found, wanted, strict=True))
        )
    if isinstance(found, list | tuple):
        return False
    return bool(
        found == wanted
        or abs(found - wanted) <= atol + rtol * abs(wanted)
        or (equal_nan and found != found and wanted != wanted)
    )


def _assert_near(
    found: "Any", wanted: "Any", rtol: float = 1e-7, atol: float = 0.0, **_: "Any"
) -> None:
    assert check_softly(lambda: _near(found, wanted, rtol, atol, True))


def _numpy() -> None:
    """As much of numpy as the tests of HumanEval+ and MBPP+ name."""
    kinds = {
        name: type(name, (), {})
        for name in ("ndarray", "float64", "float32", "floating", "integer")
    }
    testing = _module("numpy.testing", assert_allclose=_assert_near)
    _module(
        "numpy",
        allclose=_near,
        isclose=_near,
        inf=math.inf,
        nan=math.nan,
        pi=math.pi,
        testing=testing,
        **kinds,
    )


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
    for name in [name for name in dir(unittest.TestCase) if name.startswith(("assert", "fail"))]:
        real = getattr(unittest.TestCase, name)
        setattr(
            unittest.TestCase,
            name,
            lambda *args, real=real, **named: check_softly(lambda: real(*args, **named)),
        )
    unittest.TestCase.assertRaises = lambda _, *args, **named: raises(
        *args, **{key: named[key] for key in named if key != "msg"}
    )
    unittest.TestCase.assertRaisesRegex = lambda _, kind, match, *args, **named: (
        raises(kind, match=match)
        if not args
        else check_softly(lambda: raises(kind, *args, **named))
    )
    unittest.main = lambda *args, **named: None


def furnish(text: str) -> None:
    modules = [_Solution(name) for name in MODULES]
    sys.modules.update({module.__name__: module for module in modules})
    _module(
        "pytest",
        raises=raises,
        approx=Approx,
        mark=_Marks(),
        param=_Param,
        fixture=_fixture,
        main=lambda *_: 0,
        fail=_fail,
    )
    _numpy()
    if "unittest" in text:
        _soften(importlib.import_module("unittest"))


def _fail(reason: str = "", **_: "Any") -> None:
    check_softly(lambda: (_ for _ in ()).throw(AssertionError(reason)))
