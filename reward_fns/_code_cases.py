"""The tests of a row, in the forms that data sets have them."""

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from llmpolicy.sandbox.inside.values import NotPlain, encode

from ._code_asserts import cases_of
from ._code_case import Case, Unreadable
from ._code_values import Expected

_FUNCTION = ("function", "entry_point", "fn_name", "func_name")
_STDIN = ("stdin", "input")
_STDOUT = ("stdout", "output", "expected_output", "expected")
_RESULT = ("expected", "output", "expected_output")


def read_cases(tests: Any, answer: Any, entry_point: str | None) -> list[Case]:
    """The cases of the ``tests`` column, else of the ``answer`` column; raises Unreadable.

    An answer that is neither a list of tests in JSON nor assert statements is what the program must print.
    """
    if tests is not None:
        return _cases(_from_json(tests), entry_point)
    if answer is None:
        raise Unreadable("there are no tests and no answer")
    data = _from_json(answer)
    if isinstance(data, Mapping | list) and _looks_like_tests(data):
        return _cases(data, entry_point)
    if isinstance(answer, str) and _has_assert(answer):
        return cases_of(answer, entry_point)
    return [Case(Expected(_text(answer)))]


def _from_json(column: Any) -> Any:
    if not isinstance(column, str):
        return column
    try:
        return json.loads(column)
    except (ValueError, RecursionError):
        return column


def _looks_like_tests(data: Any) -> bool:
    if isinstance(data, Mapping):
        return "inputs" in data or any(name in data for name in (*_FUNCTION, "args", *_STDIN))
    return bool(data) and all(
        _looks_like_tests(one) if isinstance(one, Mapping) else isinstance(one, str) and _has_assert(one)
        for one in data
    )


def _has_assert(text: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _cases(data: Any, entry_point: str | None) -> list[Case]:
    if isinstance(data, str):
        return cases_of(data, entry_point)
    if isinstance(data, Mapping):
        data = _paired(data) if data.get("inputs") is not None else [data]
    if not isinstance(data, Sequence) or not data:
        raise Unreadable("tests are no list of tests")
    if all(isinstance(one, str) for one in data):
        # One text, so that what an earlier line names is known to a later one.
        return cases_of("\n".join(data), entry_point)
    return [_case(one, number, entry_point) for number, one in enumerate(data)]


def _paired(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``{"inputs": [...], "outputs": [...]}``, with ``fn_name`` when they are arguments and results."""
    inputs, outputs = data["inputs"], data.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise Unreadable("inputs and outputs are not two lists of one length")
    name = _first(data, _FUNCTION)
    if name is None:
        return [{"stdin": given, "stdout": wanted} for given, wanted in zip(inputs, outputs, strict=True)]
    return [{"function": name, "args": a, "expected": b} for a, b in zip(inputs, outputs, strict=True)]


def _case(test: Any, number: int, entry_point: str | None) -> Case:
    if isinstance(test, str):
        raise Unreadable(f"test {number} is text among records")
    if not isinstance(test, Mapping):
        raise Unreadable(f"test {number} is a {type(test).__name__}, not a record")
    name = _first(test, _FUNCTION)
    if name is None and _first(test, ("args", "kwargs")) is not None:
        name = entry_point
        if name is None:
            raise Unreadable(f"test {number} has arguments and names no function (function, or a column entry_point)")
    return _program_case(test, number) if name is None else _call_case(test, number, str(name))


def _call_case(test: Mapping[str, Any], number: int, name: str) -> Case:
    # A field that is None may be one that Arrow filled in, and is what is expected only where there is no other.
    wanted = sorted((key for key in _RESULT if key in test), key=lambda key: test[key] is None)
    args = _first(test, ("args", "input"))
    args = [] if args is None else args
    kwargs = test.get("kwargs") or {}
    if not wanted:
        raise Unreadable(f"test {number} says not what is expected")
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise Unreadable(f"test {number} has args that are no list, or kwargs that are no mapping")
    for value in (args, kwargs, test[wanted[0]]):
        try:
            encode(list(value) if isinstance(value, tuple) else value)
        except (NotPlain, RecursionError) as error:
            raise Unreadable(f"test {number} holds no plain value: {error}") from error
    return Case(Expected(test[wanted[0]], json=True), call=name, args=list(args), kwargs=dict(kwargs))


def _program_case(test: Mapping[str, Any], number: int) -> Case:
    wanted = [key for key in _STDOUT if test.get(key) is not None]
    if not wanted:
        raise Unreadable(f"test {number} says not what is expected")
    return Case(Expected(_text(test[wanted[0]])), stdin=_text(_first(test, _STDIN) or ""))


def _first(data: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((data[name] for name in names if data.get(name) is not None), None)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    if not isinstance(value, str | int | float):
        raise Unreadable(f"a {type(value).__name__} is no text of a program")
    return str(value)
