"""Are two expressions equal? Exactly where they are fractions, else to as many digits as their size
asks for.

Expressions without variables that are fractions are compared as fractions, or modulo a prime when
they are too large. All others are evaluated at a few points. The digits grow with the largest and
the smallest number that occurs on the way, so that 2^1009 is not 2^1009 - 1 and 10^-20 is not its
sine. A computer algebra system has no bound on its time, and cannot be stopped in a thread.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
_NO_NUMBER = {None, POLE, STEEP}
_STEPPED = {"abs", "floor", "ceil", "max", "min", "mod"}
_COUNTED = {"gcd", "lcm", "!", "!!", "binomial", "sum", "product"}


class Expression:
    """An expression that has been read, and its values, each taken once."""

    def __init__(self, read: Tree) -> None:
        self.tree = read
        kinds, variables, bound = set(), set(), set()
        for node in nodes(read):
            kinds.add(node[0])
            if node[0] == "variable":
                variables.add(node[1])
            elif node[0] in ("sum", "product"):
                bound.add(node[1])
        self.variables = {name for name in variables if ("variable", name) not in bound}
        self.stepped, self.counted = bool(kinds & _STEPPED), bool(kinds & _COUNTED)
        self.summed, self.imaginary = bool(bound), "i" in kinds
        self._kept: dict[Any, Any] = {}

    def with_unit(self, name: str) -> "Expression":
        """The expression with the imaginary unit in the place of a variable."""

        def put(node: Any) -> Any:
            if node == ("variable", name):
                return ("i",)
            return tuple(map(put, node)) if isinstance(node, tuple) else node

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
    if variables and (gold.stepped or gold.counted or answer.stepped or answer.counted):
        whole_points = rationals.WHOLE_POINTS
    equal = 0
    for point in range(whole_points):
        pair = (gold.exactly(point), answer.exactly(point))
        if None not in pair:
            if pair[0] != pair[1]:
                return False
            equal += 1
    if equal and not variables:
        return True
    if whole_points > 1 and variables <= _COUNTERS and equal >= _ALL_SMALL:
        return True
    close = _same_digits(gold, answer)
    if close is not None:
        return close
    return equal >= _ENOUGH or _same_modulo(gold, answer)


def proportional(gold: Expression, answer: Expression, signed: bool = False) -> bool:
    """Whether one expression is the other times a constant (with signed, a positive one); raises as
    `same_value` does.
    """
    values = _to_enough_digits(gold, answer)
    if values.gold is None:
        raise Unreadable("no value can be taken")
    if values.answer is None or not _NO_NUMBER.isdisjoint([*values.gold, *values.answer]):
        return False
    with multiprecision.context(values.digits) as mp:
        ratios = []
        for raw, raw_answer in zip(values.gold, values.answer, strict=True):
            divisor = multiprecision.number(raw, mp)
            ratio = divisor and multiprecision.number(raw_answer, mp) / divisor
            if not ratio:
                return False
            ratios.append(ratio)
        constant = ratios.pop(0)
        slack = abs(constant) * mp.mpf(10) ** -values.share
        if signed and (abs(mp.im(constant)) > slack or mp.re(constant) < 0):
            return False
        return len(ratios) > 0 and all(abs(constant - ratio) <= slack for ratio in ratios)


def near(expected: Expression, approximate: Expression, rel_tol: float) -> bool:
    """Whether two expressions without variables have nearly the same value."""
    raw = [_at_once(expected), _at_once(approximate)]
    if None in raw:
        return False
    with multiprecision.context(DIGITS) as mp:
        a, b = (multiprecision.number(value, mp) for value in raw)
        return bool(abs(a - b) <= rel_tol * max(abs(a), abs(b)))


def _at_once(side: Expression) -> Any:
    """The raw value without variables to the usual digits, None for none that is finite."""
    values = side.digits([0], DIGITS)
    return None if values is None or values[0][0] == POLE else values[0][0]


def _same_digits(gold: Expression, answer: Expression) -> bool | None:
    """Whether all values agree; None when the gold one has none, or none could be compared."""
    values = _to_enough_digits(gold, answer)
    if values.gold is None:
        return None
    if values.answer is None:
        return False
    if STEEP in values.gold:
        return None
    pairs = []
    for x, y in zip(values.gold, values.answer, strict=True):
        if x is not None and y not in (None, STEEP) and (x, y) != (POLE, POLE):
            pairs.append((x, y))
    if not pairs:
        silent = not any(values.answer)
        return False if any(values.gold) and silent else None
    if any(POLE in pair for pair in pairs):
        return False
    with multiprecision.context(values.digits) as mp:
        return all(multiprecision.close(x, y, values.share, values.floor, mp) for x, y in pairs)


@dataclass(frozen=True, slots=True)
class _Values:
    """The raw values of both (None when too large), their digits, how many count, and how many
    zeros make a 0.
    """

    gold: list[Any] | None
    answer: list[Any] | None
    digits: int
    share: int
    floor: int | None


def _to_enough_digits(gold: Expression, answer: Expression) -> _Values:
    points: Iterable[int] = [0]
    if gold.variables or answer.variables:
        points = multiprecision.GENERIC
        if gold.stepped or answer.stepped:
            points = multiprecision.REAL
    digits = DIGITS
    values = [gold.digits(points, digits), answer.digits(points, digits)]
    scale = max([_SMALL, *(scale for _, scale in filter(None, values))])
    fine = scale <= _FINE
    if scale > _SMALL:
        digits += 4 * scale if fine else scale + scale // 2
        for number, side in enumerate((gold, answer)):
            values[number] = values[number] and side.digits(points, digits)
    raw_gold, raw_answer = (value and value[0] for value in values)
    if fine:
        share, floor = DIGITS - SPARE + 2 * scale, digits - scale - SPARE // 2
        return _Values(raw_gold, raw_answer, digits, share, floor)
    return _Values(raw_gold, raw_answer, digits, DIGITS - SPARE + scale + scale // 4, None)


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
    raw, values = _at_once(read), read.digits([0], DIGITS)
    if raw is None or values is None or values[1] > _FINE or len(raw) == 2:
        return None
    with multiprecision.context(DIGITS) as mp:
        sign, mantissa, exponent, _ = multiprecision.number(raw, mp)._mpf_
    return Fraction((-1) ** sign * mantissa) * Fraction(2) ** exponent
