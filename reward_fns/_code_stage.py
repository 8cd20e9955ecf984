# ruff: noqa: BLE001, S102
"""Where tests are run that are programs themselves: in a sandbox of their own, without the program that they test.

What they ask of it is written down and answered elsewhere (`_code_perform`). As long as there is no answer they go on with
a stand-in that agrees with everything, to find out what else they will ask. `_code_wire` is put in front of this text.
"""

import ast
import builtins
import importlib
import itertools
import json
import math
import random
import re
import sys
import types
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._code_wire import pack, unpack

MODULES = ("solution", "main", "submission", "your_module", "candidate", "program")
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
)
_STREAMS = ("stdin", "stdout", "stderr", "argv", "modules")


class Refused(BaseException):
    """The tests do what cannot be done here; the message says what."""


class Lost(BaseException):
    """What comes next hangs on an answer that is not there yet."""


class Desk:
    """What one test asks, and what was answered so far; ``null``: a value that answers everything, to see what tests hold."""

    def __init__(self, answers: "list[tuple[Any, Any]]", null: "tuple[Any, ...]" = ()) -> None:
        self.answers = answers
        self.null = null
        self.asked: list[Any] = []
        self.guessing = False
        self.checks = 0

    def ask(self, what: str, *parts: "Any") -> "Any":
        """The answer to an operation, or a stand-in for it."""
        packed = [what, *(pack(part, _reference) for part in parts)]
        number = len(self.asked)
        self.asked.append(packed)
        if self.null:
            return self.null[0]
        if self.guessing or number >= len(self.answers) or self.answers[number][0] != packed:
            self.guessing = True
            return Thing("unknown", number, _is_built(packed))
        return _answered(self.answers[number][1], number, packed, parts)


desk = Desk([])


def _is_built(packed: "list[Any]") -> bool:
    """Whether an object comes from a class of the program that the tests name, or is made of such."""
    what, target = packed[0], packed[1] if len(packed) > 1 else None
    ref = target.get("ref") if type(target) is dict else None
    return what == "call" and type(ref) is str and ref[:1].isupper()


def _answered(answer: "dict[str, Any]", number: int, packed: "list[Any]", parts: "tuple[Any, ...]") -> "Any":
    if "raised" in answer:
        raise _raised(answer["raised"], answer["said"])
    for place, now in answer["changed"].items():
        _change(parts[1][int(place)], unpack(now, lambda ref: None))
    built = _is_built(packed)
    return unpack(answer["value"], lambda ref: Thing("object", ref if ref != [number, 0] else number, built))


def _change(held: "Any", now: "Any") -> None:
    if type(held) is list or type(held) is bytearray:
        held[:] = now
    elif type(held) is dict or type(held) is set:
        held.clear()
        held.update(now)


def _raised(names: "list[str]", said: str) -> BaseException:
    """An exception as the program raised it: of a class of Python's, or of one that is named alike."""
    bases = [found for name in names if (found := _class_of(name)) is not None]
    own = bases[0] if bases else Exception
    if _class_of(names[0]) is None:
        own = type(names[0].rpartition(".")[2], (own,), {})
    try:
        return own(said)
    except Exception:
        made = own.__new__(own)
        made.args = (said,)
        return made


def _class_of(name: str) -> "type[BaseException] | None":
    module, _, last = name.rpartition(".")
    if last in _errors and module == "solution":
        return _errors[last]
    found = getattr(sys.modules.get(module), last, None) if module != "solution" else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


_errors: "dict[str, type[BaseException]]" = {}


def _reference(value: "Any") -> "Any":
    if type(value) is Thing and value._kind != "derived":
        return value._ref
    for name, made in _errors.items():
        if value is made:
            return name
    if desk.guessing and type(value) is Thing:
        raise Lost
    raise Refused(f"hand the program a {type(value).__name__}, which cannot be carried over")


class Thing:
    """Something of the program's, seen from the tests: a name, an object, an answer not known yet, or what derives from one."""

    def __init__(self, kind: str, ref: "Any" = None, built: bool = False) -> None:
        self.__dict__.update(_kind=kind, _ref=ref, _built=built)

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__":
            raise AttributeError(name)
        return Thing("derived") if self._kind == "derived" else desk.ask("get", self, name)

    def __setattr__(self, name: str, value: "Any") -> None:
        if self._kind != "derived":
            desk.ask("set", self, name, value)

    def __call__(self, *args: "Any", **named: "Any") -> "Any":
        return Thing("derived") if self._kind == "derived" else desk.ask("call", self, list(args), named)

    def __instancecheck__(self, value: "Any") -> "Any":
        return type(value) is Thing and (value._kind == "derived" or desk.ask("isinstance", value, self))


_COMPARED = {"eq": True, "ne": True, "lt": True, "le": True, "gt": True, "ge": True, "contains": True, "bool": True}
_PLAIN = {"len": 1, "int": 1, "float": 1.0, "index": 1, "str": "?", "repr": "?", "format": "?"}
_PAIRS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul")
_ALONE = ("neg", "abs", "round", "invert")
_KEYED = ("getitem", "setitem", "delitem")
_WALKED = ("iter", "next", "enter", "exit", "hash")


def _dunder(name: str) -> "Callable[..., Any]":
    def method(thing: Thing, *others: "Any") -> "Any":
        if thing._kind == "name":
            return _of_name(name, thing, others)
        return _of_object(name, thing, others) if thing._kind == "object" else _of_unknown(name, thing, others)

    return method


for _name in (*_COMPARED, *_PLAIN, *_PAIRS, *(f"r{one}" for one in _PAIRS), *_ALONE, *_KEYED, *_WALKED):
    setattr(Thing, f"__{_name}__", _dunder(_name))


def _of_name(name: str, thing: Thing, others: "tuple[Any, ...]") -> "Any":
    if name == "hash" or (name in ("eq", "ne") and others[0] is thing):
        return hash(thing._ref) if name == "hash" else name == "eq"
    value = desk.ask("value", thing)
    return getattr(value, f"__{name}__")(*others)


def _of_unknown(name: str, thing: Thing, others: "tuple[Any, ...]") -> "Any":
    if name in ("eq", "ne") and type(others[0]) is Thing and (thing._built or others[0]._built):
        raise Refused("compare objects of the program's own classes, which only the program itself could do")
    if name in _COMPARED or name in _PLAIN:
        return {**_COMPARED, **_PLAIN}[name]
    if name in ("iter", "next", "hash", "exit", "setitem", "delitem"):
        return iter(()) if name == "iter" else id(thing) if name == "hash" else None
    return thing if name == "enter" else Thing("derived")


def _of_object(name: str, thing: Thing, others: "tuple[Any, ...]") -> "Any":
    """An operation on an object; what is expected stands beside it and must not reach it, so it is equal to itself alone."""
    if name in ("eq", "ne"):
        return (type(others[0]) is Thing and others[0]._ref == thing._ref) is (name == "eq")
    if name == "hash":
        return hash(str(thing._ref))
    if name == "iter":
        return iter(desk.ask("list", thing))
    if name in ("len", "bool", "str", "repr", "getitem", "next", "enter", "exit"):
        return desk.ask(name, thing, *(others if name == "getitem" else ()))
    plain = name.removeprefix("r") if name.removeprefix("r") in _PAIRS and name not in _PAIRS else name
    if not thing._built or name in ("lt", "le", "gt", "ge", "index", "format"):
        raise TypeError(f"an object of the program's own has no {name} here")
    pair = (others[0], thing) if plain != name else (thing, *others)
    return desk.ask(f"{plain}_" if plain in ("and", "or") else plain, *pair)


def _check(body: "Callable[[], Any]") -> "Any":
    """Do what may fail; while guessing, its failure says nothing."""
    desk.checks += 1
    try:
        return body()
    except Exception:
        if not desk.guessing:
            raise
        return Thing("derived")


def _counted() -> None:
    desk.checks += 1


def _soft() -> None:
    if isinstance(sys.exc_info()[1], MemoryError):
        raise Refused("need too much memory")
    if not desk.guessing:
        raise


class _Asserts(ast.NodeTransformer):
    """Makes each assert count, and fail only when the answers are known."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        def call(name: str) -> ast.Expr:
            return ast.Expr(ast.Call(ast.Name(name, ast.Load()), [], []))

        if isinstance(node.test, ast.Constant) and node.test.value:
            return node
        handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [call("_soft_")])
        return ast.copy_location(ast.Try([call("_counted_"), node], [handler], [], []), node)


class Raises:
    """pytest.raises and unittest's assertRaises."""

    def __init__(self, expected: "Any", match: "str | None" = None) -> None:
        if type(expected) is Thing:
            raise Refused("expect an exception that they take from the program by no name")
        self.expected, self.match = expected, match
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
        if self.match is not None and not re.search(self.match, str(error)) and not desk.guessing:
            raise AssertionError("another message")
        return True


def raises(expected: "Any", function: "Any" = None, *args: "Any", match: "str | None" = None, **named: "Any") -> "Any":
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
        self, expected: "Any", rel: "float | None" = None, abs: "float | None" = None, nan_ok: bool = False
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
            return type(found) is type(wanted) and len(found) == len(wanted) and all(map(self._same, wanted, found))
        if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not isinstance(found, int | float):
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

    def mark(function: "Any") -> "Any":
        function.__dict__.setdefault("_cases", []).append(cases)
        return function

    return mark


def _fixture(function: "Any" = None, **_: "Any") -> "Any":
    def mark(made: "Any") -> "Any":
        made._fixture = True
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
    found: "Any", wanted: "Any", rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False, **_: "Any"
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


def _assert_near(found: "Any", wanted: "Any", rtol: float = 1e-7, atol: float = 0.0, **_: "Any") -> None:
    assert _check(lambda: _near(found, wanted, rtol, atol, True))


def _numpy() -> None:
    """As much of numpy as the tests of HumanEval+ and MBPP+ name."""
    kinds = {name: type(name, (), {}) for name in ("ndarray", "float64", "float32", "floating", "integer")}
    testing = _module("numpy.testing", assert_allclose=_assert_near)
    _module("numpy", allclose=_near, isclose=_near, inf=math.inf, nan=math.nan, pi=math.pi, testing=testing, **kinds)


class _Solution(types.ModuleType):
    """The module of the program: every name is one of its."""

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__":
            raise AttributeError(name)
        return _named(name)


def _named(name: str) -> "Any":
    if re.search(r"(?:Error|Exception|Warning)$", name) or name in _caught:
        return _errors.setdefault(name, type(name, (Exception,), {"__module__": "solution"}))
    return Thing("name", name)


_caught: "set[str]" = set()


def _tree(text: str) -> ast.Module:
    """The tests as they will run; raises Refused for what is known to fail here."""
    tree = ast.parse(text)
    _caught.update(
        name.id for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type
        for name in ast.walk(node.type) if isinstance(name, ast.Name)
    )  # fmt: skip
    for node in ast.walk(tree):
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            _refuse_module(module, node)
        word = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        word = node.arg if isinstance(node, ast.arg) else word
        if word in _BESIDE or (
            isinstance(node, ast.Attribute) and word in _STREAMS and getattr(node.value, "id", "") == "sys"
        ):
            raise Refused(f"look beside the program ({word})")
        if isinstance(node, ast.AsyncFunctionDef):
            raise Refused("are coroutines")
    return ast.fix_missing_locations(_Asserts().visit(tree))


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
    given = {name for name in dir(builtins) if name != entry} | {"_counted_", "_soft_", "__name__", "__file__"}
    return used - made - given


class Tests:
    """The tests of a text: units of which each starts anew."""

    def __init__(self, text: str, entry: "str | None") -> None:
        self.entry = entry
        self.tree = _tree(text)
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

    def run(self, number: int) -> int:
        """Run one unit; the number of all of them. Raises whatever fails."""
        random.seed(0)
        space = types.ModuleType("tests")
        space.__dict__.update({name: _named(name) for name in sorted(self.free)}, _counted_=_counted, _soft_=_soft)
        exec(self.code, space.__dict__)
        units = list(self._units(space.__dict__))
        if units:
            units[number]()
        return max(1, len(units))

    def _checked(self, check: "Callable[..., Any]") -> "Any":
        return check(_target(self.entry or ""))

    def _units(self, space: "dict[str, Any]") -> "Iterator[Callable[[], Any]]":
        check = space.get("check")
        if isinstance(check, types.FunctionType) and self.entry and not self.called:
            yield partial(self._checked, check)
        fixtures = {name: made for name, made in space.items() if _is_fixture(made)}
        for name, made in list(space.items()):
            if isinstance(made, types.FunctionType) and name.startswith("test") and name not in fixtures:
                yield from _with_cases(made, partial(_itself, made), fixtures)
            elif isinstance(made, type) and made.__module__ == "tests":
                if "unittest" in sys.modules and issubclass(made, sys.modules["unittest"].TestCase):
                    yield from _of_case(made)
                elif name.startswith("Test"):
                    yield from _of_class(made, fixtures)


def _is_fixture(made: "Any") -> bool:
    return isinstance(made, types.FunctionType) and hasattr(made, "_fixture")


def _target(entry: str) -> "Any":
    """The function of a name, or the method of a new object for ``Class.method``."""
    owner, _, method = entry.rpartition(".")
    return getattr(_named(owner)(), method) if owner else _named(entry)


def _with_cases(
    function: "Any", bind: "Callable[[], Any]", fixtures: "dict[str, Any]"
) -> "Iterator[Callable[[], Any]]":
    for rows in itertools.product(*getattr(function, "_cases", [])):
        given = {name: value for row in rows for name, value in row.items()}
        yield partial(_bound, bind, given, fixtures)


def _itself(made: "Any") -> "Any":
    return made


def _bound(bind: "Callable[[], Any]", given: "dict[str, Any]", fixtures: "dict[str, Any]") -> "Any":
    return _called(bind(), given, fixtures)


def _called(function: "Any", given: "dict[str, Any]", fixtures: "dict[str, Any]") -> "Any":
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount][hasattr(function, "__self__") :]
    missing = len(names) - len(function.__defaults__ or ())
    named = {}
    for place, name in enumerate(names):
        if name in given:
            named[name] = given[name]
        elif name in fixtures:
            made = _called(fixtures[name], {}, fixtures)
            named[name] = next(made) if isinstance(made, types.GeneratorType) else made
        elif place < missing:
            raise Refused(f"ask for {name}, which is not here")
    return function(**named)


def _of_class(made: type, fixtures: "dict[str, Any]") -> "Iterator[Callable[[], Any]]":
    for name in [name for name in dir(made) if name.startswith("test")]:

        def bind(name: str = name) -> "Any":
            held = made()
            for before in ("setup_class", "setup_method", "setup", "setUp"):
                if hasattr(held, before):
                    method = getattr(held, before)
                    method(*[None] * (method.__code__.co_argcount - 1))
            return getattr(held, name)

        own = {one: getattr(made(), one) for one in dir(made) if _is_fixture(getattr(made, one))}
        yield from _with_cases(getattr(made, name), bind, {**fixtures, **own})


def _of_case(made: "Any") -> "Iterator[Callable[[], Any]]":
    for name in [name for name in dir(made) if name.startswith("test")]:

        def run(name: str = name) -> None:
            made.setUpClass()
            held = made(name)
            held.setUp()
            getattr(held, name)()
            held.tearDown()

        yield run


def _soften(unittest: "Any") -> None:
    """unittest's own asserts, counted, and failing only when the answers are known."""
    for name in [name for name in dir(unittest.TestCase) if name.startswith(("assert", "fail"))]:
        real = getattr(unittest.TestCase, name)
        setattr(unittest.TestCase, name, lambda *args, real=real, **named: _check(lambda: real(*args, **named)))
    unittest.TestCase.assertRaises = lambda _, *args, **named: raises(
        *args, **{key: named[key] for key in named if key != "msg"}
    )
    unittest.TestCase.assertRaisesRegex = lambda _, kind, match, *args, **named: (
        raises(kind, match=match) if not args else _check(lambda: raises(kind, *args, **named))
    )
    unittest.main = lambda *args, **named: None


def _furnish(text: str) -> None:
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
    _check(lambda: (_ for _ in ()).throw(AssertionError(reason)))


def _run(tests: Tests, number: int, seat: Desk) -> "tuple[int, str]":
    """Run a unit at a desk: how many there are, and why it failed."""
    global desk
    desk = seat
    try:
        return tests.run(number), ""
    except Lost:
        return 0, ""
    except Refused:
        raise
    except BaseException as error:
        return 0, f"{type(error).__name__}: {error}"[:200]


def survey(text: str, entry: "str | None") -> str:
    """What the units of a text ask as long as nothing is answered, as JSON; else why they are no tests."""
    try:
        _furnish(text)
        tests = Tests(text, entry)
        return json.dumps({"units": _surveyed(tests)})
    except Refused as reason:
        return json.dumps({"refused": f"they {reason}"})
    except SyntaxError:
        return json.dumps({"refused": "they are no Python"})


def _surveyed(tests: Tests) -> "list[Any]":
    units: list[Any] = []
    total = 1
    while len(units) < total:
        first, again = Desk([]), Desk([])
        count, why = _run(tests, len(units), first)
        _run(tests, len(units), again)
        if why and not first.guessing:
            raise Refused(f"fail by themselves: {why}")
        total = max(total, count)
        if first.asked != again.asked:
            raise Refused("ask something else each time")
        if not first.asked:
            raise Refused("never call the program")
        units.append(first.asked)
    if all(not _run(tests, number, Desk([], (null,)))[1] for number in range(total) for null in (None, "\0nothing")):
        raise Refused("pass whatever the program returns")
    return units


def verify(text: str, entry: "str | None", asked: str, answers: str) -> str:
    """Each unit with the answers to what it asked: ``passed`` so many checks, ``failed`` and why, or ``asks`` for more."""
    _furnish(text)
    tests = Tests(text, entry)
    questions, verdicts = json.loads(asked), {}
    for number, told in json.loads(answers).items():
        verdicts[number] = _verdict(tests, int(number), questions[number], told)
    return json.dumps(verdicts)


def _verdict(tests: Tests, number: int, asked: "list[Any]", told: str) -> "Any":
    answers = json.loads(told)
    seat = Desk(list(zip(asked, answers, strict=True)))
    try:
        _, why = _run(tests, number, seat)
    except Refused as reason:
        why = f"the tests {reason}"
    if seat.guessing:
        return {"asks": seat.asked}
    return {"failed": why} if why else {"passed": seat.checks}
