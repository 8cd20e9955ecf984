"""The tests of a row, in the forms that data sets have them."""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from llmpolicy.sandbox.inside.values import NotPlain, encode

from .asserts import cases_of
from .case import Case, IsProgram, Unreadable
from .values import Expected

_FUNCTION = ("function", "entry_point", "fn_name", "func_name")
_STDIN = ("stdin", "input", "inputs")
_STDOUT = ("stdout", "output", "outputs", "expected_output", "expected")
_RESULT = ("expected", "output", "outputs", "expected_output")
_LISTS = (("inputs", "outputs"), ("input", "output"))
_PARTS = (
    "public_tests",
    "private_tests",
    "generated_tests",
    "public_test_cases",
    "private_test_cases",
    "official_tests",
)
_HOLDERS = (
    "input_output",
    "verification_info",
    "test_cases",
    "unit_tests",
    "test_list",
    "tests",
    "test",
    "ground_truth",
)
_SETUP = ("test_imports", "test_setup_code")
_CALLS = ("functional", "function_call", "call", "call_based")
_PROGRAMS = ("stdin", "stdin_stdout", "stdio", "standard_input")
_JUDGES = ("checker", "generated_checker", "special_judge", "spj")
_COMPRESSED = re.compile(r"[A-Za-z0-9+/]{16,}[A-Za-z0-9+/=\s]*")


def read_cases(tests: Any, answer: Any, entry_point: str | None) -> list[Case]:
    """The cases of the ``tests`` column, else of the ``answer`` column; raises Unreadable, or
    IsProgram for tests to be run.

    An answer that is neither a list of tests in JSON nor assert statements is what the program must
    print.
    """
    name = None if entry_point is None else entry_point.replace("()", "")
    if tests is not None:
        return _checked(_cases(tests, name))
    if answer is None:
        raise Unreadable("there are no tests and no answer")
    data = _from_json(answer)
    if isinstance(data, Mapping | list) and _looks_like_tests(data):
        return _checked(_cases(data, name))
    if isinstance(answer, str) and _has_assert(answer):
        return _of_text(answer, name)
    return _checked([Case(Expected(_text(answer)))])


def _checked(cases: Sequence[Case]) -> list[Case]:
    """The cases of a row; raises Unreadable when they would be passed by doing nothing."""
    if not cases:
        raise Unreadable("tests are no list of tests")
    if all(case.call is None and not str(case.expected.value).strip() for case in cases):
        raise Unreadable("no test expects any output")
    # Wrapped are all results of a row, or none.
    if not all(case.expected.wrapped for case in cases):
        return [replace(case, expected=replace(case.expected, wrapped=False)) for case in cases]
    return list(cases)


def _from_json(column: Any) -> Any:
    """What a text holds as JSON or as a literal of Python (the text of a list or dict), else the
    text itself.
    """
    if not isinstance(column, str):
        return column
    try:
        return json.loads(column)
    except (ValueError, RecursionError):
        if column.lstrip()[:1] not in ("[", "{"):
            return column
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.literal_eval(column.strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return column


def _looks_like_tests(data: Any) -> bool:
    if isinstance(data, Mapping):
        return any(name in data for name in (*_FUNCTION, *_STDIN, *_PARTS, *_HOLDERS, "args"))
    return bool(data) and all(
        (
            _looks_like_tests(one)
            if isinstance(one, Mapping)
            else isinstance(one, str) and _has_assert(one)
        )
        for one in data
    )


def _has_assert(text: str) -> bool:
    return _is_python(text) and any(
        isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))
    )


def _is_python(text: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _cases(data: Any, name: str | None) -> list[Case]:
    """The cases of a text, a record or a list of either; ``name`` is the function where they name
    none.
    """
    if isinstance(data, str):
        read = _from_json(data)
        if not isinstance(read, str):
            return _cases(read, name)
        if _COMPRESSED.fullmatch(data) and len(data) % 4 == 0:
            raise Unreadable(
                "the tests are packed (base64, as LiveCodeBench's private ones); unpack them"
                " beforehand"
            )
        return _of_text(data, name)
    if isinstance(data, Mapping):
        return list(_of_record(data, "the row", name, alone=True))
    if not isinstance(data, Sequence) or not data:
        raise Unreadable("tests are no list of tests")
    if all(isinstance(one, str) for one in data):
        records = [_from_json(one) for one in data]
        # One text, so that what an earlier line names is known to a later one.
        return _cases(
            records if any(isinstance(one, Mapping) for one in records) else "\n".join(data), name
        )
    return [
        case for number, one in enumerate(data) for case in _of_record(one, f"test {number}", name)
    ]


def _of_text(text: str, name: str | None) -> list[Case]:
    """The cases of asserts; raises IsProgram for tests that have to be run."""
    found = _read_text(text, name)
    if isinstance(found, Exception):
        raise found
    return list(found)


@lru_cache(maxsize=256)
def _read_text(text: str, name: str | None) -> Sequence[Case] | Exception:
    try:
        return cases_of(text, name)
    except Unreadable as reason:
        return IsProgram(text, name) if _is_python(text) else reason


def _of_record(data: Any, where: str, name: str | None, alone: bool = False) -> Iterator[Case]:
    """The cases of a record: one test, two lists of inputs and outputs, or what holds such;
    ``alone``: it is no item.
    """
    if isinstance(data, str):
        raise Unreadable(f"{where} is text among records")
    if not isinstance(data, Mapping):
        raise Unreadable(f"{where} is a {type(data).__name__}, not a record")
    _refuse_others_rules(data, where)
    name = _name_in(data) or name
    parts = [data[key] for key in _PARTS if data.get(key)]
    held = parts or [data[key] for key in _HOLDERS if data.get(key)][:1]
    if held:
        setup = [_text(data[key]) for key in _SETUP if data.get(key)]
        for one in held:
            yield from _cases(_with_setup(one, setup), name)
        return
    own = _name_in(data)
    for inputs, outputs in _LISTS:
        if not isinstance(data.get(inputs), list) or not isinstance(data.get(outputs), list):
            continue
        if (own is None and (alone or inputs == "inputs")) or (
            own and inputs == "inputs" and _all_lists(data[inputs])
        ):
            yield from _paired(data[inputs], data[outputs], where, own, name)
            return
        if own is None and len(data[inputs]) == len(data[outputs]) > 1:
            raise Unreadable(
                f"{where} has lists of several tests, or of the lines of one: name them inputs, or"
                " write text"
            )
    yield _case(data, where, name)


def _with_setup(tests: Any, setup: Sequence[str]) -> Any:
    """MBPP's asserts with the lines that go before them."""
    if not setup:
        return tests
    listed = _from_json(tests)
    return "\n".join([*setup, *(listed if isinstance(listed, list) else [str(tests)])])


def _refuse_others_rules(data: Mapping[str, Any], where: str) -> None:
    """What a comparison of outputs would judge wrong without a word."""
    for key in _JUDGES:
        if data.get(key):
            raise Unreadable(f"{where} is judged by a program of its own ({key}), which is not run")
    language = data.get("language")
    if isinstance(language, str) and not language.lower().startswith("py"):
        raise Unreadable(f"{where} is for {language:.20}, and only Python is run")
    if data.get("input_mode") == "file" or data.get("input_file") or data.get("output_file"):
        raise Unreadable(f"{where} wants files for input and output, and there are none")


def _name_in(data: Mapping[str, Any]) -> str | None:
    """The function that a record names, also in LiveCodeBench's ``metadata``."""
    more = _from_json(data.get("metadata"))
    name = _first(data, _FUNCTION) or (
        _first(more, _FUNCTION) if isinstance(more, Mapping) else None
    )
    return None if name is None else str(name).replace("()", "")


def _paired(
    given: list[Any], wanted: list[Any], where: str, own: str | None, name: str | None
) -> Iterator[Case]:
    """``{"inputs": [...], "outputs": [...]}``: arguments and results where a function is named,
    else texts.
    """
    if len(given) != len(wanted):
        raise Unreadable(f"{where}: inputs and outputs are not two lists of one length")
    called = own is not None or (
        name is not None and not any(isinstance(one, str) for one in given)
    )
    for number, (one, result) in enumerate(zip(given, wanted, strict=True)):
        test = (
            {"fn_name": name, "input": one, "output": result}
            if called
            else {"stdin": one, "stdout": result}
        )
        yield _case(test, f"test {number}", name)


def _all_lists(values: list[Any]) -> bool:
    return all(isinstance(one, list) for one in values)


def _case(test: Mapping[str, Any], where: str, name: str | None) -> Case:
    kind = _first(test, ("testtype", "type"))
    if kind is not None and kind not in (*_CALLS, *_PROGRAMS):
        raise Unreadable(
            f"{where} is of the type {kind!r:.30}, not one of"
            f" {', '.join((_CALLS[0], *_PROGRAMS[:2]))}"
        )
    own = _name_in(test)
    called = kind in _CALLS or _first(test, ("args", "kwargs")) is not None
    if kind in _PROGRAMS or not (called or own):
        return _program_case(test, where)
    if own is None and name is None:
        raise Unreadable(
            f"{where} has arguments and names no function (function, or a column entry_point)"
        )
    return _call_case(test, where, str(own or name), kind)


def _call_case(test: Mapping[str, Any], where: str, name: str, kind: Any) -> Case:
    # A field that is None may be one that Arrow filled in, and is what is expected only where there
    # is no other.
    wanted = sorted((key for key in _RESULT if key in test), key=lambda key: test[key] is None)
    if not wanted:
        raise Unreadable(f"{where} says not what is expected")
    expected = test[wanted[0]]
    args, kwargs = _first(test, ("args", "input", "inputs")), test.get("kwargs") or {}
    if kind in _CALLS and isinstance(args, str):
        args, expected = _lines_of_json(args, where), _json_of(expected, where)
    if isinstance(args, Mapping) and not kwargs:
        args, kwargs = [], args
    args = [] if args is None else args
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise Unreadable(f"{where} has args that are no list, or kwargs that are no mapping")
    for value in (args, kwargs, expected):
        try:
            encode(list(value) if isinstance(value, tuple) else value)
        except (NotPlain, RecursionError) as error:
            raise Unreadable(f"{where} holds no plain value: {error}") from error
    wrapped = (
        "fn_name" in test
        and wanted[0] != "expected"
        and isinstance(expected, list)
        and len(expected) == 1
    )
    return Case(
        Expected(expected, json=True, wrapped=wrapped),
        call=name,
        args=list(args),
        kwargs=dict(kwargs),
    )


def _lines_of_json(text: str, where: str) -> list[Any]:
    """The arguments that LiveCodeBench writes one a line."""
    return [_json_of(line, where) for line in text.split("\n") if line.strip()]


def _json_of(text: Any, where: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(
            f"{where} has the argument or result {text!r:.40}, which is no JSON"
        ) from error


def _program_case(test: Mapping[str, Any], where: str) -> Case:
    wanted = [key for key in _STDOUT if test.get(key) is not None]
    if not wanted:
        raise Unreadable(f"{where} says not what is expected")
    return Case(Expected(_text(test[wanted[0]])), stdin=_text(_first(test, _STDIN) or ""))


def _first(data: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((data[name] for name in names if data.get(name) is not None), None)


def _text(value: Any) -> str:
    """A text, a number, or a list of the lines of a text."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str | int | float):
        raise Unreadable(f"a {type(value).__name__} is no text of a program")
    return str(value)
