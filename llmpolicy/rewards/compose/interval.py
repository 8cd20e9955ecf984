"""Closed intervals of numbers: what a reward may be (Moore 1966, "Interval Analysis"). A known
value is a single point.

The same few functions serve the check of a recipe, where a reward may be anything in its declared
range, and the score of a row, where each reward is known or, if it could not be judged, anything in
its range.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """All numbers x with low <= x <= high."""

    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The number, where only one is left; else None."""
        return self.low if self.low == self.high else None

    @property
    def finite(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def spread(self) -> float:
        """high - low."""
        return self.high - self.low

    def nearest(self, x: float) -> float:
        """The nearest number of it."""
        return min(max(x, self.low), self.high)


ANYTHING = Interval(-math.inf, math.inf)


def point(value: float) -> Interval:
    """A known value."""
    return Interval(value, value)


def scaled(x: Interval, weight: float) -> Interval:
    """weight * x."""
    ends = _product(weight, x.low), _product(weight, x.high)
    return Interval(min(ends), max(ends))


def clipped(x: Interval, into: Interval) -> Interval:
    """Each number of x, moved to the nearest one of the second interval."""
    return Interval(into.nearest(x.low), into.nearest(x.high))


def hull(x: Interval, y: Interval) -> Interval:
    """The smallest interval that holds both."""
    return Interval(min(x.low, y.low), max(x.high, y.high))


def total(parts: Iterable[Interval]) -> Interval:
    """x + y + ..."""
    low, high = 0.0, 0.0
    for part in parts:
        low, high = low + part.low, high + part.high
    return Interval(low, high)


def smallest(parts: Sequence[Interval]) -> Interval:
    """min(x, y, ...)."""
    low, high = map(min, zip(*parts, strict=True))
    return Interval(low, high)


def product(parts: Iterable[Interval]) -> Interval:
    """x * y * ..."""
    joined = point(1.0)
    for part in parts:
        ends = [_product(a, b) for a in joined for b in part]
        joined = Interval(min(ends), max(ends))
    return joined


def difference(x: Interval) -> Interval:
    """x - y for any y of the same interval."""
    return Interval(x.low - x.high, x.high - x.low)


def _product(a: float, b: float) -> float:
    # Nothing times anything is nothing, also where it has no bound: infinity is no value here, but
    # the lack of one.
    return 0.0 if a == 0 or b == 0 else a * b
