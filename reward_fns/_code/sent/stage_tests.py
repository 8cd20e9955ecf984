# ruff: noqa: BLE001, S102
"""Running tests that are programs, unit by unit, as far as there are answers; the functions that
are called are at the end.
"""

import ast
import builtins
import itertools
import json
import random
import sys
import types
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .stage import Desk, Lost, Refused, counted, is_guessing, sit, soft
    from .stage_tools import MODULES, caught, furnish, named


_ALIEN = (
    *("asyncio", "concurrent", "inspect", "multiprocessing", "signal", "socket", "subprocess"),
    *("threading", "tempfile", "pathlib", "shutil", "sqlite3"),
)
_BESIDE = (
    *("capsys", "capfd", "caplog", "monkeypatch", "mocker", "redirect_stdout", "tmp_path"),
    *("tmpdir", "mock", "patch", "open"),
)
_RAISING = ("raises", "assertRaises", "assertRaisesRegex")
_STREAMS = ("stdin", "stdout", "stderr", "argv", "modules")


class _Asserts(ast.NodeTransformer):
    """Makes each assert count, and fail only when the answers are known."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        def call(name: str) -> ast.Expr:
            return ast.Expr(ast.Call(ast.Name(name, ast.Load()), [], []))

        if isinstance(node.test, ast.Constant) and node.test.value:
            return node
        handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [call("_soft_")])
        return ast.copy_location(ast.Try([call("_counted_"), node], [handler], [], []), node)


def _tree(text: str) -> ast.Module:
    """The tests as they will run; raises Refused for what is known to fail here."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        caught.update(_expected_errors(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _refuse_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            _refuse_module(node.module or ".", node.names[0].name == "*")
        elif isinstance(node, ast.AsyncFunctionDef):
            raise Refused("are coroutines")
        else:
            _refuse_word(node)
    return ast.fix_missing_locations(_Asserts().visit(tree))


def _refuse_word(node: ast.AST) -> None:
    word, of_sys = "", False
    if isinstance(node, ast.Attribute):
        word, of_sys = node.attr, getattr(node.value, "id", "") == "sys"
    elif isinstance(node, ast.Name):
        word = node.id
    elif isinstance(node, ast.arg):
        word = node.arg
    if word in _BESIDE or (of_sys and word in _STREAMS):
        raise Refused(f"look beside the program ({word})")


def _expected_errors(node: ast.AST) -> "Iterator[str]":
    """The names of exceptions that are caught, or that a call wants raised."""
    within: ast.AST | None = None
    if isinstance(node, ast.ExceptHandler):
        within = node.type
    elif isinstance(node, ast.Call) and node.args and _last_name(node.func) in _RAISING:
        within = node.args[0]
    for name in ast.walk(within) if within else ():
        if isinstance(name, ast.Name):
            yield name.id


def _last_name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def _refuse_module(module: str, all_of_it: bool = False) -> None:
    package = module.split(".")[0]
    if package in MODULES:
        if all_of_it:
            raise Refused(f"import * from {module}")
        return
    known = package in sys.stdlib_module_names or package in ("numpy", "pytest", "__future__")
    if package in _ALIEN or module == "unittest.mock" or not known:
        raise Refused(f"import {module}")


def _free(tree: ast.Module, entry: "str | None") -> "set[str]":
    """Names that the tests use and nobody makes: those of the program."""
    used, bound = set[str](), {*dir(builtins)} - {entry}
    bound |= {"_counted_", "_soft_", "__name__", "__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return used - bound


def _is_parted(node: ast.stmt) -> bool:
    """Whether a statement is a unit of tests, or holds some."""
    if isinstance(node, ast.FunctionDef):
        return node.name.startswith(("test", "check"))
    return isinstance(node, ast.ClassDef)


def _calls_check(node: ast.stmt) -> bool:
    call = getattr(node, "value", None) if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check"


class Tests:
    """The tests of a text: units of which each starts anew."""

    def __init__(self, text: str, entry: "str | None") -> None:
        self.entry = entry
        self.tree = _tree(text)
        self.total = 1
        self.parted = any(map(_is_parted, self.tree.body))
        self.code = compile(self.tree, "tests.py", "exec", dont_inherit=True)
        self.free = _free(self.tree, entry)
        imported = {node.module for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)}
        if imported & set(MODULES) and self.free - {entry}:
            raise Refused(f"use {min(self.free)}, which nobody makes")
        self.called = any(map(_calls_check, self.tree.body))

    def run(self, number: int) -> None:
        """Run one unit. Raises whatever fails."""
        random.seed(0)
        space = types.ModuleType("tests")
        space.__dict__.update(_counted_=counted, _soft_=soft)
        for name in sorted(self.free):
            space.__dict__[name] = named(name)
        try:
            exec(self.code, space.__dict__)
        except BaseException as error:
            if self.parted and not isinstance(error, Refused) and is_guessing():
                raise Refused("ask the program for more before they begin") from error
            raise
        units = list(self._units(space.__dict__))
        self.total = max(1, len(units))
        if units:
            units[number]()

    def _checked(self, check: "Callable[..., Any]") -> "Any":
        return check(_target(self.entry or ""))

    def _units(self, space: "dict[str, Any]") -> "Iterator[Callable[[], Any]]":
        check = space.get("check")
        if isinstance(check, types.FunctionType) and self.entry and not self.called:
            yield partial(self._checked, check)
        fixtures = {name: value for name, value in space.items() if _is_fixture(value)}
        for name, value in list(space.items()):
            if isinstance(value, types.FunctionType):
                if name.startswith("test") and name not in fixtures:
                    tables = list(getattr(value, "_cases", ()))
                    yield from _with_cases(tables, partial(_itself, value), fixtures)
            elif isinstance(value, type) and value.__module__ == "tests":
                if _is_case(value):
                    yield from _of_case(value)
                elif name.startswith("Test"):
                    yield from _of_class(value, fixtures)


def _is_fixture(value: "Any") -> bool:
    return isinstance(value, types.FunctionType) and hasattr(value, "_autouse")


def _is_case(kind: type) -> bool:
    return "unittest" in sys.modules and issubclass(kind, sys.modules["unittest"].TestCase)


def _target(entry: str) -> "Any":
    """The function of a name, or the method of a new object for ``Class.method``."""
    owner, _, method = entry.rpartition(".")
    return getattr(named(owner)(), method) if owner else named(entry)


def _with_cases(
    tables: "list[Any]", bind: "Callable[[], Any]", fixtures: "dict[str, Any]"
) -> "Iterator[Callable[[], Any]]":
    for rows in itertools.product(*tables):
        arguments: dict[str, Any] = {}
        for row in rows:
            arguments |= row
        yield partial(_bound, bind, arguments, fixtures)


def _itself(function: "Any") -> "Any":
    return function


def _bound(
    bind: "Callable[[], Any]", arguments: "dict[str, Any]", fixtures: "dict[str, Any]"
) -> "Any":
    function = bind()
    prepared = Prepared(fixtures, getattr(function, "__self__", None))
    for name, fixture in fixtures.items():
        if fixture._autouse:
            prepared.value(name)
    return function(**prepared.named_for(function, arguments))


class Prepared:
    """The values of fixtures for one unit, each made once; ``owner``: the object of its method."""

    def __init__(self, fixtures: "dict[str, Any]", owner: "Any") -> None:
        self.fixtures, self.owner = fixtures, owner
        self.values: dict[str, Any] = {}

    def named_for(self, function: "Any", arguments: "dict[str, Any]") -> "dict[str, Any]":
        """What a function is called with: values of its table, and fixtures."""
        code = function.__code__
        named: dict[str, Any] = {}
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        names = names[hasattr(function, "__self__") :]
        missing = len(names) - len(function.__defaults__ or ())
        for number, name in enumerate(names):
            if name in arguments:
                named[name] = arguments[name]
            elif name in self.fixtures:
                named[name] = self.value(name)
            elif number < missing:
                raise Refused(f"ask for {name}, which is not here")
        return named

    def value(self, name: str) -> "Any":
        if name not in self.values:
            fixture = self.fixtures[name]
            if getattr(type(self.owner), name, None) is fixture:
                fixture = getattr(self.owner, name)
            value = fixture(**self.named_for(fixture, {}))
            if isinstance(value, types.GeneratorType):
                value = next(value)
            self.values[name] = value
        return self.values[name]


def _of_class(kind: "Any", fixtures: "dict[str, Any]") -> "Iterator[Callable[[], Any]]":
    members = {name: getattr(kind, name) for name in dir(kind)}
    inner = {name: member for name, member in members.items() if _is_fixture(member)}
    for name, member in members.items():
        if name.startswith("test") and name not in inner:
            tables = [*getattr(kind, "_cases", ()), *getattr(member, "_cases", ())]
            bind = partial(_set_up, kind, name, inner)
            yield from _with_cases(tables, bind, {**fixtures, **inner})


def _set_up(kind: "Any", name: str, fixtures: "dict[str, Any]") -> "Any":
    """The method of a new object, after what the class has for it to begin with."""
    held = kind()
    for before in ("setup_class", "setup_method", "setup", "setUp"):
        if hasattr(held, before) and before not in fixtures:
            method = getattr(held, before)
            method(*[None] * (method.__code__.co_argcount - 1))
    return getattr(held, name)


def _of_case(kind: "Any") -> "Iterator[Callable[[], Any]]":
    for name in dir(kind):
        if name.startswith("test"):
            yield partial(_run_case, kind, name)


def _run_case(kind: "Any", name: str) -> None:
    kind.setUpClass()
    held = kind(name)
    held.setUp()
    getattr(held, name)()
    held.tearDown()


def _run(tests: Tests, number: int, seat: Desk) -> str:
    """Run a unit at a desk: why it failed."""
    sit(seat)
    try:
        tests.run(number)
    except Lost:
        return ""
    except Refused:
        raise
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def survey(_: "Any", text: str, entry: "str | None") -> str:
    """What the units of a text ask as long as nothing is answered, as JSON; else why they are no
    tests.
    """
    try:
        furnish(text)
        tests = Tests(text, entry)
        return json.dumps({"units": _surveyed(tests)})
    except Refused as reason:
        return json.dumps({"refused": f"they {reason}"})
    except SyntaxError:
        return json.dumps({"refused": "they are no Python"})


def _surveyed(tests: Tests) -> "list[Any]":
    units: list[Any] = []
    while len(units) < tests.total:
        seat, again = Desk([]), Desk([])
        why = _run(tests, len(units), seat)
        _run(tests, len(units), again)
        if why and not seat.guessing:
            raise Refused(f"fail by themselves: {why}")
        if seat.asked != again.asked:
            raise Refused("ask something else each time")
        units.append(seat.asked)
    if not any(units):
        raise Refused("never call the program")
    for number, null in itertools.product(range(tests.total), (None, "\0nothing")):
        if _run(tests, number, Desk([], (null,))):
            return units
    raise Refused("pass whatever the program returns")


def verify(
    _: "Any", text: str, entry: "str | None", asked: str, answers: str, careful: bool
) -> str:
    """Each unit with the answers to what it asked: ``passed`` so many checks, ``failed`` and why,
    or ``asks`` for more.

    ``answers`` holds texts, each with the place from which it counts: an answer once given is kept.
    """
    furnish(text)
    tests = Tests(text, entry)
    questions, verdicts = json.loads(asked), {}
    for number, texts in json.loads(answers).items():
        verdicts[number] = _verdict(tests, int(number), questions[number], texts, careful)
    return json.dumps(verdicts)


def _verdict(
    tests: Tests, number: int, asked: "list[Any]", texts: "list[Any]", careful: bool
) -> "Any":
    answers: list[Any] = []
    for start, text in texts:
        answers[start:] = json.loads(text)[start:]
    seat = Desk(list(zip(asked, answers, strict=True)), careful=careful)
    try:
        why = _run(tests, number, seat)
    except Refused as reason:
        why = f"the tests {reason}"
    if seat.guessing:
        return {"asks": seat.asked, "kept": seat.kept}
    return {"failed": why} if why else {"passed": seat.checks}
