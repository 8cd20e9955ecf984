"""Are two expressions equal? A small LaTeX grammar, evaluated as it is read, at a few points, to 40 digits.

Two expressions that agree at three generic points (a positive, a negative and a complex one) are equal. Reading is
linear in the tokens and every power is measured before it is taken, so that no expression within the caps takes long;
a computer algebra system has no such bound, and cannot be stopped in a thread.
"""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

MAX_CHARS = 300
MAX_TOKENS = 150
MAX_NESTING = 10
MAX_DIGITS = 40

_POINTS = 3
_DIGITS = 40
_MAX_LOG = 2_000
_MAX_ANGLE = 10**6
_FUNCTIONS = {name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp", "ln")}
_FUNCTIONS |= {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "log": "log10"}
_INVERSES = {"sin": "asin", "cos": "acos", "tan": "atan"}
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
).replace(" ", "|")
_SUBSCRIPT = r"(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,3}\}))?"
_TOKEN = re.compile(
    rf"\\(?P<function>{'|'.join(sorted(_FUNCTIONS, key=len, reverse=True))})(?![A-Za-z])"
    r"|\\(?P<command>frac|sqrt|pi|cdot|times|div)(?![A-Za-z])"
    rf"|(?P<variable>(?:[A-Za-z]|\\(?:{_GREEK})(?![A-Za-z])){_SUBSCRIPT})"
    r"|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<sign>[-+*/^|_(){}\[\]])|\s+",
    re.ASCII,
)
_PLAIN = re.compile(rf"(?<![\\A-Za-z])(pi|sqrt|{'|'.join(_FUNCTIONS)})(?![A-Za-z])")
_CLOSING = {"(": ")", "{": "}", "[": "]", "|": "|"}


class Unreadable(ValueError):
    """The expression is outside the caps or the grammar, or too large to be evaluated."""


def agree(expected: tuple[Any, ...], found: tuple[Any, ...], rel_tol: float = 10.0 ** (10 - _DIGITS)) -> bool:
    """Whether two expressions have the same values, at one point at least."""
    pairs = [(a, b) for a, b in zip(expected, found, strict=True) if a is not None or b is not None]
    return len(pairs) > 0 and all(_close(a, b, rel_tol) for a, b in pairs)


@lru_cache(maxsize=4096)
def values(text: str) -> tuple[Any, ...] | None:
    """The expression at each point, None where it has no value there; None when it cannot be read at all."""
    try:
        tokens = tokenise(text)
        return at_each_point(lambda point, context: _Reader(tokens, point, context).whole())
    except Unreadable:
        return None


def tokenise(text: str) -> list[tuple[str, str]]:
    """Kind and text of every token; raises Unreadable outside the caps or for anything unknown."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"more than {MAX_CHARS} characters")
    text = _PLAIN.sub(r"\\\1 ", text.replace("**", "^"))
    tokens: list[tuple[str, str]] = []
    position = depth = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise Unreadable(f"{text[position : position + 10]!r} is not known")
        if found.lastgroup:
            tokens.append((found.lastgroup, found[found.lastgroup]))
        depth += (found[0] in _CLOSING) - (found[0] in ")}]")
        position = found.end()
        if depth > MAX_NESTING or len(tokens) > MAX_TOKENS or (found["number"] and len(found[0]) > MAX_DIGITS):
            raise Unreadable("too large")
    return tokens


def at_each_point(evaluate: Callable[[int, Any], Any]) -> tuple[Any, ...]:
    """What an evaluation (of the point's index and an mpmath context) gives at each point; None for no finite value."""
    return tuple(_at(evaluate, point) for point in range(_POINTS))


def _at(evaluate: Callable[[int, Any], Any], point: int) -> Any:
    import mpmath

    # A context of its own: the shared one is not safe in threads.
    context = mpmath.MPContext()
    context.dps = _DIGITS
    try:
        value = evaluate(point, context)
    except (ZeroDivisionError, OverflowError):
        return None
    return value if context.isfinite(value) else None


def _close(a: Any, b: Any, rel_tol: float) -> bool:
    if a is None or b is None:
        return False
    return bool(abs(a - b) <= max(abs(a), abs(b)) * rel_tol)


class _Reader:
    """Reads tokens by recursive descent and returns the value of what it has read."""

    def __init__(self, tokens: list[tuple[str, str]], point: int, context: Any) -> None:
        self.tokens, self.point, self.context = tokens, point, context
        self.position = self.bars = 0

    def whole(self) -> Any:
        value = self.sum()
        if self.position < len(self.tokens):
            raise Unreadable(f"{self.look()!r} is not expected")
        return value

    def look(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token's text when it is one of these signs or commands, else ""."""
        if self.kind() in ("sign", "command") and self.look() in wanted:
            self.position += 1
            return self.tokens[self.position - 1][1]
        return ""

    def sum(self) -> Any:
        value = self.product()
        while sign := self.take("+", "-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> Any:
        value = self.factor()
        while True:
            if self.take("*", "cdot", "times"):
                value = value * self.factor()
            elif self.take("/", "div"):
                value = value / self.factor()
            elif self.starts_factor():
                value = value * self.power()
            else:
                return value

    def starts_factor(self, functions: bool = True) -> bool:
        """Whether what follows multiplies without a sign."""
        kind, text = self.kind(), self.look()
        if kind == "function":
            return functions
        return kind == "variable" or text in ("frac", "sqrt", "pi", "(", "{", "[") or (text == "|" and not self.bars)

    def factor(self) -> Any:
        if self.take("-"):
            return -self.factor()
        if self.take("+"):
            return self.factor()
        return self.power()

    def power(self) -> Any:
        base = self.atom()
        return raised(base, self.exponent(), self.context) if self.take("^") else base

    def exponent(self) -> Any:
        return -self.exponent() if self.take("-") else self.power()

    def atom(self) -> Any:
        kind, text = self.kind(), self.look()
        if kind == "number":
            self.position += 1
            # mpmath cannot read ".0".
            return self.context.mpf(f"0{text}")
        if kind == "variable":
            self.position += 1
            return variable(text, self.point, self.context)
        if kind == "function":
            self.position += 1
            return self.function(text)
        if self.take("pi"):
            return +self.context.pi
        if self.take("frac"):
            top = self.atom()
            return top / self.atom()
        if self.take("sqrt"):
            return self.root()
        return self.group()

    def group(self) -> Any:
        opening = self.take(*_CLOSING)
        if not opening:
            raise Unreadable(f"{self.look()!r} is not expected")
        bars, self.bars = self.bars, opening == "|"
        value = self.sum()
        self.bars = bars
        if not self.take(_CLOSING[opening]):
            raise Unreadable(f"{opening!r} is not closed")
        return abs(value) if opening == "|" else value

    def root(self) -> Any:
        degree = self.context.mpf(2)
        if self.look() == "[":
            degree = self.group()
        return raised(self.atom(), 1 / degree, self.context)

    def function(self, name: str) -> Any:
        base = self.atom() if name == "log" and self.take("_") else None
        exponent = self.exponent() if self.take("^") else None
        value = self.operand()
        if exponent == -1 and name in _INVERSES:
            return applied(_INVERSES[name], value, self.context)
        result = applied(_FUNCTIONS[name] if base is None else "ln", value, self.context)
        if base is not None:
            result = result / applied("ln", base, self.context)
        return result if exponent is None else raised(result, exponent, self.context)

    def operand(self) -> Any:
        """What a function is applied to: a group, or all that multiplies without a sign, as in sin 2x cos x."""
        if self.take("-"):
            return -self.operand()
        if self.kind() == "function":
            return self.atom()
        grouped = self.look() in _CLOSING
        value = self.power()
        while not grouped and self.starts_factor(functions=False):
            value = value * self.power()
        return value


def applied(name: str, value: Any, context: Any) -> Any:
    """A function of mpmath; raises Unreadable for an argument so large that its value would cost much."""
    if name == "exp":
        return raised(+context.e, value, context)
    if abs(value) > _MAX_ANGLE and name not in ("ln", "log10"):
        raise Unreadable("too large an argument")
    if value == 0 and name in ("ln", "log10"):
        raise ZeroDivisionError
    return getattr(context, name)(value)


def variable(name: str, point: int, context: Any) -> Any:
    """A fixed value of each variable at each point; e and i are what they usually are."""
    if name in ("e", "i"):
        return +context.e if name == "e" else context.mpc(0, 1)
    plain = name.replace("{", "").replace("}", "").replace("\\", "")
    size = context.mpf(zlib.crc32(f"{plain}/{point}".encode()) % 9_973 + 1) / 4_987
    return (size, -size, context.mpc(size, -size / 3))[point]


def raised(base: Any, exponent: Any, context: Any) -> Any:
    """A power, measured before it is taken; raises Unreadable when it would be enormous."""
    if base == 0:
        return context.mpf(0) ** exponent
    if abs(exponent) * max(1, abs(context.ln(base))) > _MAX_LOG:
        raise Unreadable("too large a power")
    return context.power(base, exponent)
