"""The value of an expression in whole numbers and fractions, exactly; where those grow too large,
modulo a prime.

Every step is measured before it is taken, so that no expression takes long.
"""

import hashlib
import math
import operator
import secrets
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

from .expression import Tree

MAX_BITS = 40_000
"""A larger number is compared modulo a prime: 2026! has 19,000 bits."""

_WORK = 20_000
_MAX_FACTORIAL = 20_000
_PRIME_BITS = 120
_LARGE = 6


class NotExact(ValueError):
    """The expression has no value here that is a fraction, or none that is known."""


class TooLarge(NotExact):
    """The value is too large to be written down."""


WHOLE_POINTS = 9


def whole_variable(name: str, point: int) -> Fraction:
    """A whole number for each variable at each point: small, with a factor common to all, and large
    ones.
    """
    number = drawn(f"{name}:{point}")
    if point >= _LARGE:
        return Fraction(number % 10 ** (7 * (point - _LARGE) + 7))
    return Fraction((number % 20 + 3) * (6 if point % 2 else 1))


@lru_cache(maxsize=4096)
def drawn(seed: str) -> int:
    """A number that a text stands for, always the same."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")


class Rational:
    """Evaluates a tree at one point, where variables are whole numbers; raises NotExact or
    ZeroDivisionError.
    """

    def __init__(self, point: int) -> None:
        self.point = point
        self.left = _WORK
        self.bound: dict[str, Fraction] = {}

    def value(self, node: Tree) -> Fraction:
        kind = node[0]
        if kind == "number":
            return self.sized(node[1])
        if kind == "variable":
            if node[1] in self.bound:
                return self.bound[node[1]]
            return whole_variable(node[1], self.point)
        if kind in ("sum", "product"):
            return Fraction(summed(node, self))
        apply = OPERATIONS.get(kind)
        if apply is None:
            raise NotExact(f"{kind} is no fraction")
        return self.sized(apply(*map(self.value, node[1:])))

    def integer(self, value: int) -> Fraction:
        return Fraction(value)

    def sized(self, value: Fraction) -> Fraction:
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        self.left -= 1 + (bits // 1_000) ** 2
        if bits > MAX_BITS or self.left < 0:
            raise TooLarge("too large a number")
        return value


def summed(node: Tree, arithmetic: Any) -> Any:
    """A sum or product with whole ends, term by term, in any arithmetic."""
    kind, index, start, end, term = node
    if index[0] != "variable" or index[1] in arithmetic.bound:
        raise NotExact("the index is no variable")
    begin, last = whole(arithmetic.value(start)), whole(arithmetic.value(end))
    if last - begin > _MAX_FACTORIAL:
        raise TooLarge("too many terms")
    total = arithmetic.integer(kind == "product")
    combine = operator.mul if kind == "product" else operator.add
    try:
        for position in range(begin, last + 1):
            arithmetic.bound[index[1]] = arithmetic.integer(position)
            total = arithmetic.sized(combine(total, arithmetic.value(term)))
    finally:
        arithmetic.bound.pop(index[1], None)
    return total


def whole(value: Any) -> int:
    """A value as the whole number that it is; raises NotExact for any other."""
    if value.imag or value.real != int(value.real):
        raise NotExact("not a whole number")
    return int(value.real)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    times = whole(exponent)
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size > 1 and abs(times) * size > 2 * MAX_BITS:
        raise TooLarge("too large a power")
    return base**times


def _root(value: Fraction, degree: Fraction) -> Fraction:
    if degree != 2 or value < 0:
        raise NotExact("no exact root")
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    if root * root != value:
        raise NotExact("no exact root")
    return root


def _factorial(value: Fraction, step: int = 1) -> Fraction:
    last = whole(value)
    if last < 0:
        raise NotExact("a factorial of a negative number")
    if last * max(1, last.bit_length() - 2) // step > MAX_BITS:
        raise TooLarge("too large a factorial")
    return Fraction(math.prod(range(last, 0, -step)))


def _binomial(total: Fraction, chosen: Fraction) -> Fraction:
    n, k = total, whole(chosen)
    if n.denominator == 1 and n >= 0:
        if n > MAX_BITS:
            raise TooLarge("too large a binomial")
        return Fraction(math.comb(int(n), k)) if k >= 0 else Fraction(0)
    if not 0 <= k <= 200:
        raise NotExact("no binomial")
    return Fraction(math.prod(n - i for i in range(k)), math.factorial(k))


def _modulo(value: Fraction, modulus: Fraction) -> Fraction:
    return value - modulus * math.floor(value / modulus)


PLAIN: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negative": operator.neg,
    "abs": abs,
}
"""Operations that mean the same in any arithmetic."""
OPERATIONS: Mapping[str, Callable[..., Fraction]] = {
    **PLAIN,
    "^": _power,
    "root": _root,
    "!": _factorial,
    "!!": lambda a: _factorial(a, 2),
    "binomial": _binomial,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "mod": _modulo,
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "gcd": lambda *values: Fraction(math.gcd(*map(whole, values))),
    "lcm": lambda *values: Fraction(math.lcm(*map(whole, values))),
}


class Modular:
    """Evaluates a tree modulo a prime, at a point where variables are whole numbers; raises
    NotExact.
    """

    def __init__(self, point: int) -> None:
        self.point, self.prime = point, prime()
        self.left = _WORK // 2

    def value(self, node: Tree) -> int:
        kind = node[0]
        if kind in ("+", "-", "*", "/", "negative"):
            parts = [self.value(part) for part in node[1:]]
            if kind == "/":
                return parts[0] * pow(self.nonzero(parts[1]), -1, self.prime) % self.prime
            return int(OPERATIONS[kind](*parts)) % self.prime
        if kind == "^":
            exponent = whole(self.exactly(node[2]))
            base = self.value(node[1])
            return pow(base if exponent >= 0 else self.nonzero(base), exponent, self.prime)
        if kind == "!":
            return self.factorial(whole(self.exactly(node[1])))
        exact = self.exactly(node)
        return exact.numerator * pow(exact.denominator, -1, self.prime) % self.prime

    def exactly(self, node: Tree) -> Fraction:
        evaluation = Rational(self.point)
        evaluation.left = self.left
        value = evaluation.value(node)
        self.left = evaluation.left
        return value

    def nonzero(self, value: int) -> int:
        if value == 0:
            raise NotExact("a division by zero")
        return value

    def factorial(self, last: int) -> int:
        if not 0 <= last <= _MAX_FACTORIAL:
            raise TooLarge("too large a factorial")
        *_, product = accumulate(range(1, last + 1), lambda a, b: a * b % self.prime, initial=1)
        return product


@cache
def prime() -> int:
    """A prime drawn anew in each process: no two numbers can be chosen to agree modulo it."""
    while True:
        candidate = secrets.randbits(_PRIME_BITS) | 1 << (_PRIME_BITS - 1) | 1
        if all(_witnesses(candidate, secrets.randbelow(candidate - 3) + 2) for _ in range(30)):
            return candidate


def _witnesses(candidate: int, base: int) -> bool:
    """Whether one base of Miller and Rabin's test takes the candidate for a prime."""
    twos = (candidate - 1 & 1 - candidate).bit_length() - 1
    power = pow(base, candidate - 1 >> twos, candidate)
    if power in (1, candidate - 1):
        return True
    return any((power := power * power % candidate) == candidate - 1 for _ in range(twos - 1))
