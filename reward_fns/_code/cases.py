"""The tests of a row, in the forms that data sets have them."""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from llmpolicy.sandbox.inside.values import NotPlain, encode

from .asserts import cases_of
from .values import Case, Expected, IsProgram, Unreadable

_FUNCTION = ("function", "entry_point", "fn_name", "func_name")
_STDIN = ("stdin", "input", "inputs")
_STDOUT = ("stdout", "output", "outputs", "expected_output", "expected")
_RESULT = ("expected", "output", "outputs", "expected_output")
_LISTS = (("inputs", "outputs"), ("input", "output"))
_PARTS = (
    *("public_tests", "private_tests", "generated_tests"),
    *("public_test_cases", "private_test_cases", "official_tests"),
)
_HOLDERS = (
    *("input_output", "verification_info", "test_cases", "unit_tests"),
    *("test_list", "tests", "test", "ground_truth"),
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
    return bool(data) and all(map(_looks_like_a_test, data))


def _looks_like_a_test(item: Any) -> bool:
    if isinstance(item, Mapping):
        return _looks_like_tests(item)
    return isinstance(item, str) and _has_assert(item)


def _has_assert(text: str) -> bool:
    tree = _parsed(text)
    return tree is not None and any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def _parsed(text: str) -> ast.Module | None:
    """A text of Python, None for any other."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


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
    if _all_of(str, data):
        records = list(map(_from_json, data))
        if any(isinstance(record, Mapping) for record in records):
            return _cases(records, name)
        # One text, so that what an earlier line names is known to a later one.
        return _cases("\n".join(data), name)
    cases: list[Case] = []
    for number, record in enumerate(data):
        cases += _of_record(record, f"test {number}", name)
    return cases


def _all_of(kind: type, items: Iterable[Any]) -> bool:
    return all(isinstance(item, kind) for item in items)


def _of_text(text: str, name: str | None) -> list[Case]:
    """The cases of asserts; raises IsProgram for tests that have to be run."""
    cases = _read_text(text, name)
    if isinstance(cases, Exception):
        raise cases
    return list(cases)


@lru_cache(maxsize=256)
def _read_text(text: str, name: str | None) -> Sequence[Case] | Exception:
    try:
        return cases_of(text, name)
    except Unreadable as reason:
        return IsProgram(text, name) if _parsed(text) else reason


def _of_record(data: Any, where: str, name: str | None, alone: bool = False) -> Iterator[Case]:
    """The cases of a record: one test, two lists of inputs and outputs, or what holds such;
    ``alone``: it is no item.
    """
    if isinstance(data, str):
        raise Unreadable(f"{where} is text among records")
    if not isinstance(data, Mapping):
        raise Unreadable(f"{where} is a {type(data).__name__}, not a record")
    _refuse_others_rules(data, where)
    called = _name_in(data)
    name = called or name
    held = _filled(data, _PARTS) or _filled(data, _HOLDERS)[:1]
    if held:
        setup = list(map(_text, _filled(data, _SETUP)))
        for tests in held:
            yield from _cases(_with_setup(tests, setup), name)
        return
    for inputs, outputs in _LISTS:
        if not isinstance(data.get(inputs), list) or not isinstance(data.get(outputs), list):
            continue
        if called is None:
            several = alone or inputs == "inputs"
        else:
            several = called != "" and inputs == "inputs" and _all_of(list, data[inputs])
        if several:
            yield from _paired(data[inputs], data[outputs], where, called, name)
            return
        if called is None and len(data[inputs]) == len(data[outputs]) > 1:
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
    if not isinstance(listed, list):
        listed = [str(tests)]
    return "\n".join([*setup, *listed])


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
    name = _first(data, _FUNCTION)
    if not name:
        more = _from_json(data.get("metadata"))
        name = _first(more, _FUNCTION) if isinstance(more, Mapping) else None
    return None if name is None else str(name).replace("()", "")


def _paired(
    inputs: list[Any], outputs: list[Any], where: str, called: str | None, name: str | None
) -> Iterator[Case]:
    """``{"inputs": [...], "outputs": [...]}``: arguments and results where a function is named,
    else texts.
    """
    if len(inputs) != len(outputs):
        raise Unreadable(f"{where}: inputs and outputs are not two lists of one length")
    texts = called is None and (name is None or any(isinstance(item, str) for item in inputs))
    for number, (read, result) in enumerate(zip(inputs, outputs, strict=True)):
        test = {"stdin": read, "stdout": result}
        if not texts:
            test = {"fn_name": name, "input": read, "output": result}
        yield _case(test, f"test {number}", name)


def _filled(data: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
    """What stands under these keys, and is not empty."""
    return list(filter(None, map(data.get, keys)))


def _case(test: Mapping[str, Any], where: str, name: str | None) -> Case:
    kind = _first(test, ("testtype", "type"))
    if kind is not None and kind not in (*_CALLS, *_PROGRAMS):
        raise Unreadable(
            f"{where} is of the type {kind!r:.30}, not one of"
            f" {', '.join((_CALLS[0], *_PROGRAMS[:2]))}"
        )
    called = _name_in(test)
    calls = called or kind in _CALLS or _first(test, ("args", "kwargs")) is not None
    if kind in _PROGRAMS or not calls:
        return _program_case(test, where)
    if called is None and name is None:
        raise Unreadable(
            f"{where} has arguments and names no function (function, or a column entry_point)"
        )
    return _call_case(test, where, str(called or name), kind)


def _call_case(test: Mapping[str, Any], where: str, name: str, kind: Any) -> Case:
    # A field that is None may be one that Arrow filled in, and is what is expected only where there
    # is no other.
    results = list(filter(test.__contains__, _RESULT))
    if not results:
        raise Unreadable(f"{where} says not what is expected")
    result = min(results, key=lambda key: test[key] is None)
    expected = test[result]
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
    item = isinstance(expected, list) and len(expected) == 1
    wrapped = item and "fn_name" in test and result != "expected"
    how = Expected(expected, json=True, wrapped=wrapped)
    return Case(how, call=name, args=list(args), kwargs=dict(kwargs))


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
    printed = _first(test, _STDOUT)
    if printed is None:
        raise Unreadable(f"{where} says not what is expected")
    return Case(Expected(_text(printed)), stdin=_text(_first(test, _STDIN) or ""))


def _first(data: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if data.get(name) is not None:
            return data[name]
    return None


def _text(value: Any) -> str:
    """A text, a number, or a list of the lines of a text."""
    if isinstance(value, list) and _all_of(str, value):
        return "\n".join(value)
    if not isinstance(value, str | int | float):
        raise Unreadable(f"a {type(value).__name__} is no text of a program")
    return str(value)
