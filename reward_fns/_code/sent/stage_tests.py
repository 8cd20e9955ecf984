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
    "asyncio",
    "concurrent",
    "inspect",
    "multiprocessing",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "tempfile",
    "pathlib",
    "shutil",
    "sqlite3",
)
_BESIDE = (
    "capsys",
    "capfd",
    "caplog",
    "monkeypatch",
    "mocker",
    "redirect_stdout",
    "tmp_path",
    "tmpdir",
    "mock",
    "patch",
    "open",
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
    caught.update(name.id for node in ast.walk(tree) for name in _expected_errors(node))
    for node in ast.walk(tree):
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            _refuse_module(module, node)
        word = (
            node.attr
            if isinstance(node, ast.Attribute)
            else node.id
            if isinstance(node, ast.Name)
            else ""
        )
        word = node.arg if isinstance(node, ast.arg) else word
        if word in _BESIDE or (
            isinstance(node, ast.Attribute)
            and word in _STREAMS
            and getattr(node.value, "id", "") == "sys"
        ):
            raise Refused(f"look beside the program ({word})")
        if isinstance(node, ast.AsyncFunctionDef):
            raise Refused("are coroutines")
    return ast.fix_missing_locations(_Asserts().visit(tree))


def _expected_errors(node: ast.AST) -> "Iterator[ast.Name]":
    """The names of exceptions that are caught, or that a call wants raised."""
    within = node.type if isinstance(node, ast.ExceptHandler) else None
    if (
        isinstance(node, ast.Call)
        and node.args
        and ast.unparse(node.func).rpartition(".")[2] in _RAISING
    ):
        within = node.args[0]
    yield from (name for name in ast.walk(within) if isinstance(name, ast.Name)) if within else ()


def _refuse_module(module: str, node: ast.AST) -> None:
    first = module.split(".")[0]
    if first in MODULES and not any(one.name == "*" for one in getattr(node, "names", [])):
        return
    known = first in sys.stdlib_module_names or first in ("numpy", "pytest", "__future__")
    if first in MODULES or first in _ALIEN or module == "unittest.mock" or not known:
        raise Refused(f"import {'* from ' if first in MODULES else ''}{module}")


def _free(tree: ast.Module, entry: "str | None") -> "set[str]":
    """Names that the tests use and nobody makes: those of the program."""
    used, made = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            made.update((one.asname or one.name).split(".")[0] for one in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    given = {name for name in dir(builtins) if name != entry} | {
        "_counted_",
        "_soft_",
        "__name__",
        "__file__",
    }
    return used - made - given


class Tests:
    """The tests of a text: units of which each starts anew."""

    def __init__(self, text: str, entry: "str | None") -> None:
        self.entry = entry
        self.tree = _tree(text)
        self.total = 1
        self.parted = any(
            isinstance(node, ast.ClassDef)
            or (isinstance(node, ast.FunctionDef) and node.name.startswith(("test", "check")))
            for node in self.tree.body
        )
        self.code = compile(self.tree, "tests.py", "exec", dont_inherit=True)
        self.free = _free(self.tree, entry)
        imported = {node.module for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)}
        if imported & set(MODULES) and self.free - {entry}:
            raise Refused(f"use {min(self.free)}, which nobody makes")
        self.called = any(
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "id", "") == "check"
            for node in self.tree.body
        )

    def run(self, number: int) -> None:
        """Run one unit. Raises whatever fails."""
        random.seed(0)
        space = types.ModuleType("tests")
        space.__dict__.update(
            {name: named(name) for name in sorted(self.free)}, _counted_=counted, _soft_=soft
        )
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
        fixtures = {name: made for name, made in space.items() if _is_fixture(made)}
        for name, made in list(space.items()):
            if (
                isinstance(made, types.FunctionType)
                and name.startswith("test")
                and name not in fixtures
            ):
                yield from _with_cases(
                    list(getattr(made, "_cases", ())), partial(_itself, made), fixtures
                )
            elif isinstance(made, type) and made.__module__ == "tests":
                if "unittest" in sys.modules and issubclass(made, sys.modules["unittest"].TestCase):
                    yield from _of_case(made)
                elif name.startswith("Test"):
                    yield from _of_class(made, fixtures)


def _is_fixture(made: "Any") -> bool:
    return isinstance(made, types.FunctionType) and hasattr(made, "_autouse")


def _target(entry: str) -> "Any":
    """The function of a name, or the method of a new object for ``Class.method``."""
    owner, _, method = entry.rpartition(".")
    return getattr(named(owner)(), method) if owner else named(entry)


def _with_cases(
    tables: "list[Any]", bind: "Callable[[], Any]", fixtures: "dict[str, Any]"
) -> "Iterator[Callable[[], Any]]":
    for rows in itertools.product(*tables):
        yield partial(
            _bound, bind, {name: value for row in rows for name, value in row.items()}, fixtures
        )


def _itself(made: "Any") -> "Any":
    return made


def _bound(bind: "Callable[[], Any]", given: "dict[str, Any]", fixtures: "dict[str, Any]") -> "Any":
    made: dict[str, Any] = {}
    function = bind()
    owner = getattr(function, "__self__", None)
    for name, fixture in fixtures.items():
        if fixture._autouse:
            _made(name, fixtures, owner, made)
    return function(**_named_for(function, given, fixtures, owner, made))


def _named_for(
    function: "Any",
    given: "dict[str, Any]",
    fixtures: "dict[str, Any]",
    owner: "Any",
    made: "dict[str, Any]",
) -> "dict[str, Any]":
    """What a function is called with: values of its table, and fixtures, each made once."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount][
        hasattr(function, "__self__") :
    ]
    missing = len(names) - len(function.__defaults__ or ())
    named = {}
    for place, name in enumerate(names):
        if name in given:
            named[name] = given[name]
        elif name in fixtures:
            named[name] = _made(name, fixtures, owner, made)
        elif place < missing:
            raise Refused(f"ask for {name}, which is not here")
    return named


def _made(name: str, fixtures: "dict[str, Any]", owner: "Any", made: "dict[str, Any]") -> "Any":
    if name not in made:
        fixture = fixtures[name]
        if getattr(type(owner), name, None) is fixture:
            fixture = getattr(owner, name)
        value = fixture(**_named_for(fixture, {}, fixtures, owner, made))
        made[name] = next(value) if isinstance(value, types.GeneratorType) else value
    return made[name]


def _of_class(made: "Any", fixtures: "dict[str, Any]") -> "Iterator[Callable[[], Any]]":
    own = {name: getattr(made, name) for name in dir(made) if _is_fixture(getattr(made, name))}
    for name in [name for name in dir(made) if name.startswith("test") and name not in own]:

        def bind(name: str = name) -> "Any":
            held = made()
            for before in ("setup_class", "setup_method", "setup", "setUp"):
                if hasattr(held, before) and before not in own:
                    method = getattr(held, before)
                    method(*[None] * (method.__code__.co_argcount - 1))
            return getattr(held, name)

        tables = [*getattr(made, "_cases", ()), *getattr(getattr(made, name), "_cases", ())]
        yield from _with_cases(tables, bind, {**fixtures, **own})


def _of_case(made: "Any") -> "Iterator[Callable[[], Any]]":
    for name in [name for name in dir(made) if name.startswith("test")]:

        def run(name: str = name) -> None:
            made.setUpClass()
            held = made(name)
            held.setUp()
            getattr(held, name)()
            held.tearDown()

        yield run


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
        first, again = Desk([]), Desk([])
        why = _run(tests, len(units), first)
        _run(tests, len(units), again)
        if why and not first.guessing:
            raise Refused(f"fail by themselves: {why}")
        if first.asked != again.asked:
            raise Refused("ask something else each time")
        units.append(first.asked)
    if not any(units):
        raise Refused("never call the program")
    if all(
        not _run(tests, number, Desk([], (null,)))
        for number in range(tests.total)
        for null in (None, "\0nothing")
    ):
        raise Refused("pass whatever the program returns")
    return units


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
    for number, told in json.loads(answers).items():
        verdicts[number] = _verdict(tests, int(number), questions[number], told, careful)
    return json.dumps(verdicts)


def _verdict(
    tests: Tests, number: int, asked: "list[Any]", told: "list[Any]", careful: bool
) -> "Any":
    answers: list[Any] = []
    for start, text in told:
        answers[start:] = json.loads(text)[start:]
    seat = Desk(list(zip(asked, answers, strict=True)), careful=careful)
    try:
        why = _run(tests, number, seat)
    except Refused as reason:
        why = f"the tests {reason}"
    if seat.guessing:
        return {"asks": seat.asked, "kept": seat.kept}
    return {"failed": why} if why else {"passed": seat.checks}
