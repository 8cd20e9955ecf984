"""Assert statements as cases: the call, and what its result must be. They are read, never run."""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from llmpolicy.sandbox.inside.values import encode

from .values import BUILTINS, OUTER, Case, Expected, Tolerance, Unreadable

_MAKERS: Mapping[str, Callable[..., Any]] = {
    **BUILTINS, "dict": dict, "complex": complex, "range": lambda *bounds: _short(range(*bounds))
}  # fmt: skip
_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_CLOSE = ("isclose", "math.isclose", "np.isclose", "numpy.isclose")
_MOST = 100_000


def cases_of(text: str, function: str | None) -> list[Case]:
    """The cases of assert statements, alone or in a ``check(candidate)``; raises Unreadable for one
    that is no case.

    ``function`` is the name of what is tested where the text does not say it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"the asserts are no Python: {type(error).__name__}") from error
    reader = _Reader(function)
    cases = list(reader.read(body))
    if not cases:
        raise Unreadable("there is no assert")
    return cases


class _Reader:
    """Reads statements in order and remembers the constants that they name."""

    def __init__(self, function: str | None) -> None:
        self.function = function
        self.stand_in: str | None = None
        self.constants: dict[str, Any] = {}

    def read(self, body: Sequence[ast.stmt]) -> Iterator[Case]:
        self._find_check(body)
        for statement in body:
            match statement:
                case ast.Assert(test=ast.Constant(value=value)) if value:
                    continue
                case ast.Assert(test=test):
                    yield from self._case(test)
                case ast.FunctionDef(
                    name="check", body=inner, args=ast.arguments(args=[ast.arg(arg=name)])
                ):
                    self.stand_in = name
                    yield from self.read(inner)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.constants[name] = self._value(value)
                case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                    continue
                case ast.Expr(value=ast.Call(func=ast.Name(id="check"))):
                    continue
                case _:
                    _refuse(statement, "is no assert")

    def _find_check(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.Expr(value=ast.Call(func=ast.Name(id="check"), args=[ast.Name(id=name)])):
                    self.function = self.function or name

    def _case(self, test: ast.expr) -> Iterator[Case]:
        match test:
            case ast.BoolOp(op=ast.And(), values=parts):
                for part in parts:
                    yield from self._case(part)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                yield self._made(inner, Expected(how="false"))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield self._compared(left, op, right)
            case ast.Call(func=name, args=[left, right], keywords=options) if (
                ast.unparse(name) in _CLOSE
            ):
                yield self._close(left, right, options)
            case _:
                yield self._made(test, Expected(how="true"))

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Case:
        match (left, op):
            case (
                ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(left=a, op=ast.Sub(), right=b)]),
                ast.Lt() | ast.LtE(),
            ):
                called, value = self._sides(a, b)
                tolerance = Tolerance(0.0, float(self._value(right)))
                return self._made(called, Expected(float(self._value(value)), tolerance=tolerance))
        if not isinstance(op, ast.Eq | ast.Is | ast.NotEq | ast.IsNot):
            _refuse(left, "is compared by something other than ==")
        called, value = self._sides(left, right)
        how = "equal" if isinstance(op, ast.Eq | ast.Is) else "differs"
        return self._made(called, Expected(self._value(value), how))  # type: ignore[arg-type]

    def _close(self, left: ast.expr, right: ast.expr, options: Sequence[ast.keyword]) -> Case:
        called, value = self._sides(left, right)
        named = {option.arg: float(self._value(option.value)) for option in options}
        relative = named.get("rel_tol", named.get("rtol", 1e-9))
        tolerance = Tolerance(relative, named.get("abs_tol", named.get("atol", 0.0)))
        return self._made(called, Expected(float(self._value(value)), tolerance=tolerance))

    def _sides(self, left: ast.expr, right: ast.expr) -> tuple[ast.expr, ast.expr]:
        """The side that is the call, and the other."""
        return (left, right) if self._calls(left) else (right, left)

    def _calls(self, node: ast.expr) -> bool:
        """Whether this side is the call: of the function, of the stand-in, or of any name that
        makes no value.
        """
        while (name := _called(node)) in OUTER and node.args:  # type: ignore[attr-defined]
            if name in (self.function, self.stand_in):
                return True
            node = node.args[0]  # type: ignore[attr-defined]
        return isinstance(node, ast.Call) and name not in _MAKERS

    def _made(self, node: ast.expr, expected: Expected) -> Case:
        outer: list[tuple[str, tuple[Any, ...]]] = []
        while isinstance(node, ast.Call) and (name := _called(node)) in OUTER:
            if name in (self.function, self.stand_in):
                break
            if not 1 <= len(node.args) <= 1 + (name == "round") or node.keywords:
                _refuse(node, "applies more than a builtin function to the result")
            outer.insert(0, (name, tuple(map(self._value, node.args[1:]))))
            node = node.args[0]
        if not isinstance(node, ast.Call) or any(option.arg is None for option in node.keywords):
            _refuse(node, "is no call of the function")
        how = Expected(expected.value, expected.how, outer, False, expected.tolerance)
        args = list(map(self._value, node.args))
        kwargs = {str(option.arg): self._value(option.value) for option in node.keywords}
        return Case(how, call=self._name(node.func), args=args, kwargs=kwargs)

    def _name(self, function: ast.expr) -> str:
        match function:
            case ast.Name(id=name) if name == self.stand_in:
                return self.function or _refuse(
                    function, "stands for a function that nothing names (entry_point)"
                )
            case ast.Name(id=name):
                return name
            case ast.Attribute(
                attr=method, value=ast.Call(func=ast.Name(id=owner), args=[], keywords=[])
            ):
                return f"{owner}.{method}"
        return _refuse(function, "is no call by name")

    def _value(self, node: ast.expr) -> Any:
        """A constant expression's value; raises Unreadable for any other."""
        try:
            value = _small(self._constant(node))
            encode(value)
            return value
        except (ValueError, TypeError, ArithmeticError, KeyError, RecursionError, MemoryError):
            return _refuse(node, "is no constant")

    def _constant(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self.constants[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _bounded(op, self._constant(left), self._constant(right))
            case ast.BinOp(
                left=ast.Constant(value=int(a)), op=ast.Pow(), right=ast.Constant(value=int(b))
            ) if b >= 0:
                return a**b if a.bit_length() * b <= _MOST else _refuse(node, "is too large")
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _MAKERS:
                return _MAKERS[name](*map(self._constant, args))
            case ast.List(elts=items):
                return list(map(self._constant, items))
            case ast.Tuple(elts=items):
                return tuple(map(self._constant, items))
            case ast.Set(elts=items):
                return set(map(self._constant, items))
            case ast.Dict(keys=keys, values=items) if None not in keys:
                pairs = zip(filter(None, keys), items, strict=True)
                return {self._constant(key): self._constant(item) for key, item in pairs}
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._constant(inner)
        return ast.literal_eval(node)


def _called(node: ast.expr) -> str:
    """The name that a call calls; "" for all else."""
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return node.func.id if named else ""  # type: ignore[attr-defined]


def _bounded(op: ast.operator, left: Any, right: Any) -> Any:
    numbers = not hasattr(left, "__len__") and not hasattr(right, "__len__")
    if isinstance(op, ast.Mult) and _size(left) * _size(right) > _MOST and not numbers:
        raise ValueError("too large")
    if isinstance(op, ast.Mod) and isinstance(left, str | bytes):
        raise ValueError("a format can be of any length")
    return _small(_OPERATORS[type(op)](left, right))


def _size(value: Any) -> int:
    """The length of a sequence, or what a number makes of one."""
    return len(value) if hasattr(value, "__len__") else abs(int(value.real)) + 1


def _short(numbers: range) -> range:
    if len(numbers) > _MOST:
        raise ValueError("too large")
    return numbers


def _small(value: Any) -> Any:
    if (hasattr(value, "__len__") and len(value) > _MOST) or (
        isinstance(value, int) and value.bit_length() > _MOST
    ):
        raise ValueError("too large")
    return value


def _refuse(node: ast.AST, why: str) -> NoReturn:
    raise Unreadable(f"`{ast.unparse(node)[:60]}` {why}")
