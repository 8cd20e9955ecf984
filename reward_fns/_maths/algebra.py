"""Are two expressions equal? Exactly where they are fractions, else to as many digits as their size
asks for.

Expressions without variables that are fractions are compared as fractions, or modulo a prime when
they are too large. All others are evaluated at a few points. The digits grow with the largest and
the smallest number that occurs on the way, so that 2^1009 is not 2^1009 - 1 and 10^-20 is not its
sine. A computer algebra system has no bound on its time, and cannot be stopped in a thread.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from . import multiprecision, rationals
from .expression import Tree, Unreadable, nodes, tree
from .multiprecision import DIGITS, POLE, SPARE, STEEP

_SMALL = 5
"""Numbers between 10^-5 and 10^5 need no more digits than `DIGITS`."""
_FINE = 700
_ALL_SMALL = 6
_COUNTERS = frozenset("nkmNKM")
"""Variables that stand for whole numbers beside a floor or a factorial."""
_ENOUGH = 3
_STEPPED = {"abs", "floor", "ceil", "max", "min", "mod"}
_COUNTED = {"gcd", "lcm", "!", "!!", "binomial", "sum", "product"}


class Expression:
    """An expression that has been read, and its values, each taken once."""

    def __init__(self, read: Tree) -> None:
        self.tree = read
        kinds = {node[0] for node in nodes(read)}
        bound = [node[1] for node in nodes(read) if node[0] in ("sum", "product")]
        self.variables = {
            node[1] for node in nodes(read) if node[0] == "variable" and node not in bound
        }
        self.stepped, self.counted = bool(kinds & _STEPPED), bool(kinds & _COUNTED)
        self.summed, self.imaginary = bool(bound), "i" in kinds
        self._kept: dict[Any, Any] = {}

    def with_unit(self, name: str) -> "Expression":
        """The expression with the imaginary unit in the place of a variable."""

        def put(node: Tree) -> Tree:
            if node == ("variable", name):
                return ("i",)
            return tuple(put(part) if isinstance(part, tuple) else part for part in node)

        return Expression(put(self.tree))

    def exactly(self, point: int) -> Fraction | None:
        """The value at a point of whole numbers, None when it is no fraction or too large."""
        return self._once(("exactly", point), lambda: rationals.Rational(point).value(self.tree))

    def modulo(self, point: int) -> int | None:
        """The value at a point of whole numbers modulo a prime, None when it has none."""
        return self._once(("modulo", point), lambda: rationals.Modular(point).value(self.tree))

    def digits(self, points: Iterable[int], digits: int) -> tuple[list[Any], int] | None:
        """The raw values at the points and the scale of the numbers on the way; None when too
        large.
        """
        return self._once(
            (*points, digits), lambda: multiprecision.evaluated(self.tree, list(points), digits)
        )

    def _once(self, key: Any, evaluate: Callable[[], Any]) -> Any:
        if key not in self._kept:
            try:
                self._kept[key] = evaluate()
            except (rationals.NotExact, Unreadable, ZeroDivisionError):
                self._kept[key] = None
        return self._kept[key]


@lru_cache(maxsize=4096)
def expression(text: str) -> Expression | None:
    """What a text says; None when it cannot be read."""
    try:
        return Expression(tree(text))
    except Unreadable:
        return None


@lru_cache(maxsize=4096)
def plain(value: Fraction) -> Expression:
    """A number as an expression."""
    return Expression(("number", value))


@lru_cache(maxsize=4096)
def same_value(gold: Expression, answer: Expression) -> bool:
    """Whether two expressions are equal; raises Unreadable when the gold one has no value that can
    be taken.
    """
    if answer.summed and not gold.summed:
        return False
    variables = gold.variables | answer.variables
    whole_points = 1
    if variables and any(side.stepped or side.counted for side in (gold, answer)):
        whole_points = rationals.WHOLE_POINTS
    pairs = [(gold.exactly(point), answer.exactly(point)) for point in range(whole_points)]
    exact = [(a, b) for a, b in pairs if a is not None and b is not None]
    if any(a != b for a, b in exact):
        return False
    if exact and (
        not variables or (whole_points > 1 and variables <= _COUNTERS and len(exact) >= _ALL_SMALL)
    ):
        return True
    close = _same_digits(gold, answer)
    if close is not None:
        return close
    return True if len(exact) >= _ENOUGH else _same_modulo(gold, answer)


def proportional(gold: Expression, answer: Expression, signed: bool = False) -> bool:
    """Whether one expression is the other times a constant (with signed, a positive one); raises as
    `same_value` does.
    """
    (a, b), digits, tolerance, _ = _to_enough_digits(gold, answer)
    if a is None:
        raise Unreadable("no value can be taken")
    if b is None or any(raw in (None, POLE, STEEP) for raw in (*a, *b)):
        return False
    with multiprecision.context(digits) as mp:
        values = [
            (multiprecision.number(x, mp), multiprecision.number(y, mp))
            for x, y in zip(a, b, strict=True)
        ]
        if any(x == 0 or y == 0 for x, y in values):
            return False
        first, *others = [y / x for x, y in values]
        if signed and (
            abs(mp.im(first)) > abs(first) * mp.mpf(10) ** -tolerance or mp.re(first) < 0
        ):
            return False
        return len(others) > 0 and all(
            abs(first - ratio) <= abs(first) * mp.mpf(10) ** -tolerance for ratio in others
        )


def near(expected: Expression, found: Expression, rel_tol: float) -> bool:
    """Whether two expressions without variables have nearly the same value."""
    values = [side.digits([0], DIGITS) for side in (expected, found)]
    raw = [value[0][0] for value in values if value is not None and value[0][0] not in (None, POLE)]
    if len(raw) < 2:
        return False
    with multiprecision.context(DIGITS) as mp:
        a, b = (multiprecision.number(value, mp) for value in raw)
        return bool(abs(a - b) <= rel_tol * max(abs(a), abs(b)))


def _same_digits(gold: Expression, answer: Expression) -> bool | None:
    """Whether all values agree; None when the gold one has none, or none could be compared."""
    (a, b), digits, share, floor = _to_enough_digits(gold, answer)
    if a is None:
        return None
    if b is None:
        return False
    if STEEP in a:
        return None
    unknown = (None, STEEP)
    pairs = [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if x is not None and y not in unknown and (x, y) != (POLE, POLE)
    ]
    if not pairs:
        return False if any(x is not None for x in a) and all(y is None for y in b) else None
    if any(POLE in pair for pair in pairs):
        return False
    with multiprecision.context(digits) as mp:
        return all(multiprecision.close(x, y, share, floor, mp) for x, y in pairs)


def _to_enough_digits(
    gold: Expression, answer: Expression
) -> tuple[tuple[Any, Any], int, int, int | None]:
    """The values of both (None when too large), their digits, how many count, and how many zeros
    make a 0.
    """
    points: Iterable[int] = [0]
    if gold.variables or answer.variables:
        points = multiprecision.REAL if gold.stepped or answer.stepped else multiprecision.GENERIC
    digits = DIGITS
    values = [side.digits(points, digits) for side in (gold, answer)]
    scale = max([_SMALL, *(value[1] for value in values if value is not None)])
    fine = scale <= _FINE
    if scale > _SMALL:
        digits = DIGITS + (4 * scale if fine else scale + scale // 2)
        values = [
            value and side.digits(points, digits)
            for side, value in zip((gold, answer), values, strict=True)
        ]
    share = DIGITS - SPARE + (2 * scale if fine else scale + scale // 4)
    floor = digits - scale - SPARE // 2 if fine else None
    return (values[0] and values[0][0], values[1] and values[1][0]), digits, share, floor


def _same_modulo(gold: Expression, answer: Expression) -> bool:
    points = range(_ENOUGH if gold.variables | answer.variables else 1)
    expected = [gold.modulo(point) for point in points]
    if None in expected:
        raise Unreadable("no value can be taken")
    return expected == [answer.modulo(point) for point in points]


def real(read: Expression) -> Fraction | None:
    """The value of an expression without variables to many digits, None when it has none that is
    real.
    """
    if read.variables:
        return None
    exact = read.exactly(0)
    if exact is not None:
        return exact
    values = read.digits([0], DIGITS)
    if (
        values is None
        or values[0][0] in (None, POLE)
        or values[1] > _FINE
        or len(values[0][0]) == 2
    ):
        return None
    with multiprecision.context(DIGITS) as mp:
        sign, mantissa, exponent, _ = multiprecision.number(values[0][0], mp)._mpf_
    return Fraction(-mantissa if sign else mantissa) * Fraction(2) ** exponent
