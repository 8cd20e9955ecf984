"""The value of an expression to many digits, at points where variables are positive, negative,
complex or real.

Every power and every argument is measured before it is taken, and all work is counted, so that no
expression takes long.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from . import rationals
from .expression import Tree, Unreadable
from .rationals import PLAIN, NotExact, TooLarge

POLE = "pole"
"""Stands for a value that is not finite."""

STEEP = "steep"
"""Stands for a value at a far point that is too large to be taken."""

GENERIC = range(3)
"""A positive, a negative and a complex point."""
REAL = range(3, 15)
"""Real points of many sizes, for functions such as the absolute value that are not defined by their
formula.
"""

DIGITS = 60
SPARE = 20
"""Digits that may be lost on the way."""
MAX_SCALE = 6_000
_MAX_POWER = 14_000
_MAX_COARSE = 10**9
_FAR = 9
_MAX_ANGLE = 10**300
_MAX_GAMMA = 1_000
_MAX_GAMMA_DIGITS = 100
_WORK = 10_000
_INVERSES = ("asin", "acos", "atan")
_STEEP = ("sinh", "cosh", "tanh", "exp")
_BOUNDED = ("sin", "cos", "tan", "cot", "sec", "csc", "ln", "log10")
_TRANSCENDENTAL = {*_INVERSES, *_STEEP, *_BOUNDED}
_local = threading.local()


@contextmanager
def context(digits: int) -> Iterator[Any]:
    """mpmath with so many digits, of this thread alone: its shared context is not safe in
    threads.
    """
    import mpmath

    if not hasattr(_local, "context"):
        _local.context = mpmath.MPContext()
    _local.context.dps = digits
    yield _local.context


def evaluated(tree: Tree, points: Sequence[int], digits: int) -> tuple[list[Any], int]:
    """The raw value at each point (None for none that is known here), and the scale of the numbers
    on the way.

    The scale is the largest n of 10^n and 10^-n among them. Raises Unreadable when something is too
    large, or as large as the digits allow: a division by what is 0 in truth.
    """
    with context(digits) as mp:
        evaluation = _Floating(mp, digits)
        values = [evaluation.at(point, tree) for point in points]
    if evaluation.largest > digits - SPARE and digits > DIGITS:
        raise Unreadable("a pole")
    return values, evaluation.scale


def close(expected: Any, raw: Any, share: int, floor: int | None, mp: Any) -> bool:
    """Whether two raw values differ by no more than 10^-share of the larger, or are both 0 to
    10^-floor.
    """
    a, b = number(expected, mp), number(raw, mp)
    larger = max(abs(a), abs(b))
    # What is smaller by far than any rounding has vanished by itself, and is compared by its share
    # alone.
    rounded = floor and mp.mpf(10) ** (-4 * mp.dps) <= larger <= mp.mpf(10) ** -floor
    return bool(abs(a - b) <= larger * mp.mpf(10) ** -share or rounded)


def number(raw: Any, mp: Any) -> Any:
    """A raw value in the context of this thread."""
    return mp.make_mpc(raw) if len(raw) == 2 else mp.make_mpf(raw)


class _TooSteep(ValueError):
    """A power is enormous at a far point."""


class _Floating:
    """Evaluates a tree; keeps count of the work and of the scale."""

    def __init__(self, mp: Any, digits: int) -> None:
        self.mp, self.point = mp, 0
        self.scale = self.largest = 0
        self.left: float = _WORK
        self.slow = 1 + (digits / 130) ** 2
        self.fine = digits <= _MAX_GAMMA_DIGITS
        self.bound: dict[str, Any] = {}
        self.coarse = False

    def at(self, point: int, tree: Tree) -> Any:
        self.point, self.coarse = point, False
        try:
            value = self.mp.convert(self.value(tree))
        except (ZeroDivisionError, OverflowError):
            return POLE
        except TooLarge as reason:
            raise Unreadable(str(reason)) from None
        except _TooSteep:
            return STEEP
        except NotExact:
            return None
        if not self.mp.isfinite(value):
            return POLE
        return getattr(value, "_mpc_", None) or value._mpf_

    def value(self, node: Tree) -> Any:
        kind = node[0]
        if kind == "number":
            top, bottom = node[1].numerator, node[1].denominator
            self.scale = max(self.scale, (max(top.bit_length(), bottom.bit_length()) * 3) // 10)
            return self.sized(self.mp.mpf(top) / bottom)
        if kind == "variable":
            if node[1] in self.bound:
                return self.bound[node[1]]
            return self.variable(node[1])
        if kind in ("pi", "e"):
            return +getattr(self.mp, kind)
        if kind == "i":
            return self.mp.mpc(0, 1)
        if kind in ("sum", "product"):
            return rationals.summed(node, self)
        return self.sized(self.applied(kind, [self.value(part) for part in node[1:]]))

    def integer(self, value: int) -> Any:
        return self.mp.mpf(value)

    def sized(self, value: Any) -> Any:
        self.spend(1)
        if value and not self.coarse and self.mp.isfinite(value):
            size = int(self.mp.mag(value)) * 3 // 10
            self.scale, self.largest = max(self.scale, abs(size)), max(self.largest, size)
        return value

    def spend(self, work: float) -> None:
        self.left -= work
        if self.left < 0 or self.scale > MAX_SCALE:
            raise Unreadable("too much work")

    def variable(self, name: str) -> Any:
        size = self.mp.mpf(rationals.drawn(f"{name}/{self.point}") % 9_973 + 2_500) / 6_247
        if self.point in GENERIC:
            return (size, -size, self.mp.mpc(size, -size / 3))[self.point]
        # Four sizes; at each a sign for every variable, the other signs, and signs drawn anew.
        scale, turn = divmod(self.point - REAL.start, 3)
        sign = rationals.drawn(f"{scale}/{turn == 2}/{name}") >> 7 & 1
        return size * (1, 3, 30, 3_000)[scale] * (-1) ** (sign ^ (turn == 1))

    def applied(self, kind: str, parts: list[Any]) -> Any:
        if kind in PLAIN:
            return PLAIN[kind](*parts)
        if kind == "^":
            return self.raised(*parts)
        if kind == "root":
            if parts[1] == 2:
                return self.mp.sqrt(parts[0])
            return self.raised(parts[0], 1 / parts[1])
        if kind in _TRANSCENDENTAL:
            return self.function(kind, parts[0])
        if kind in ("!", "binomial"):
            return self.counted(kind, parts)
        if kind in ("floor", "ceil", "mod", "max", "min"):
            return self.stepped(kind, parts)
        raise NotExact(f"{kind} is for whole numbers")

    def raised(self, base: Any, exponent: Any) -> Any:
        """A power, measured before it is taken; raises Unreadable when it would be enormous."""
        if base == 0:
            return self.mp.mpf(0) ** exponent
        size = abs(exponent) * max(1, abs(self.mp.mag(base)))
        if size > _MAX_POWER * 1.5:
            if self.point < _FAR or size > _MAX_COARSE:
                raise Unreadable("too large a power")
            if self.mp.mag(base) <= 0 or self.mp.im(base) or self.mp.im(exponent) or exponent > 0:
                raise _TooSteep("too large a power")
            # What vanishes at a far point is told at the near ones.
            self.coarse = True
        self.spend(1 if exponent == int(exponent.real) else 2 * self.slow)
        return self.mp.power(base, exponent)

    def function(self, name: str, value: Any) -> Any:
        self.spend(self.slow)
        if name == "exp":
            return self.raised(+self.mp.e, value)
        if name in ("ln", "log10"):
            if value == 0:
                raise ZeroDivisionError
        elif name not in _INVERSES and abs(value) > (_MAX_POWER if name in _STEEP else _MAX_ANGLE):
            raise Unreadable("too large an argument")
        if name in _STEEP:
            self.scale = max(self.scale, int(abs(value)))
        return getattr(self.mp, name)(value)

    def counted(self, kind: str, parts: list[Any]) -> Any:
        """Factorials and binomials: of whole numbers exactly, of others by the gamma function."""
        if all(part == int(part.real) for part in parts):
            exact = rationals.OPERATIONS[kind](*(Fraction(int(part.real)) for part in parts))
            return self.mp.mpf(exact.numerator) / exact.denominator
        if kind == "binomial" and parts[1] == int(parts[1].real) and 0 <= parts[1].real <= 200:
            total, chosen = parts[0], int(parts[1].real)
            self.spend(chosen)
            return self.mp.fprod(total - i for i in range(chosen)) / math.factorial(chosen)
        if not self.fine or any(abs(part) > _MAX_GAMMA for part in parts):
            raise NotExact("no gamma function of this size")
        self.spend(50)
        return self.mp.factorial(parts[0]) if kind == "!" else self.mp.binomial(*parts)

    def stepped(self, kind: str, parts: list[Any]) -> Any:
        if any(self.mp.im(part) for part in parts):
            raise NotExact(f"{kind} is for real numbers")
        if kind == "max":
            return max(parts)
        if kind == "min":
            return min(parts)
        if kind == "mod":
            return parts[0] - parts[1] * self.mp.floor(parts[0] / parts[1])
        return getattr(self.mp, kind)(parts[0])
