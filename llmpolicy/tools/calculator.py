"""A calculator: exact whole numbers and fractions, read as a syntax tree and never evaluated."""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

MOST_CHARACTERS = 1000
MOST_DIGITS = 1000
"""Of a number, and of the numerator and the denominator of a fraction."""

_BITS = int(MOST_DIGITS * 3.33)
_DEPTH = 400
_TWO: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def calculator(expression: str) -> str:
    """Calculate with whole numbers, decimals, fractions, brackets and + - * / // % **; the result
    is exact.

    Args:
        expression: What is to be calculated, such as (3 + 4) * 2.5
    """
    if len(expression) > MOST_CHARACTERS:
        raise ValueError(f"expected at most {MOST_CHARACTERS} characters")
    words = expression.replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        tree = ast.parse(words.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{expression!r:.80} is not an expression") from error
    try:
        return _written(_value(tree.body, words.strip(), _DEPTH))
    except ZeroDivisionError as error:
        raise ValueError("a division by zero") from error


def _value(node: ast.expr, words: str, depth: int) -> Fraction:
    if depth == 0:
        raise ValueError(f"expected at most {_DEPTH} steps, one in the other")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        # The text, not the float that it was read as: 0.1 is one tenth.
        return _bounded(Fraction(_digits(ast.get_source_segment(words, node) or "")))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, words, depth - 1)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, words, depth - 1), _value(node.right, words, depth - 1)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _TWO:
            return _bounded(Fraction(_TWO[type(node.op)](left, right)))
    raise ValueError(
        f"{ast.get_source_segment(words, node)!r:.80} cannot be calculated; expected numbers and"
        " + - * / // % **"
    )


def _digits(text: str) -> str:
    """A decimal number as it was written; its exponent is bounded before it is carried out."""
    number, _, exponent = text.lower().replace("_", "").partition("e")
    if not number.replace(".", "", 1).isdecimal() or len(exponent) > len(str(MOST_DIGITS)) + 1:
        raise ValueError(f"{text!r:.80} is not a number of at most {MOST_DIGITS} digits")
    return f"{number}e{exponent}" if exponent else number


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("expected a whole number as the exponent")
    size = max(abs(base.numerator), base.denominator)
    if size > 1 and size.bit_length() * abs(exponent) > 2 * _BITS:
        raise ValueError(f"a power of more than {MOST_DIGITS} digits")
    if size == 1 and abs(exponent) > 2:  # of 0, 1 and -1: whatever its size
        exponent = Fraction(2 + exponent % 2) * (1 if exponent > 0 else -1)
    return _bounded(Fraction(base ** int(exponent)))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _BITS:
        raise ValueError(f"a number of more than {MOST_DIGITS} digits")
    return value


def _written(value: Fraction) -> str:
    """A whole number, a decimal where it is exact and short, else a fraction."""
    top, bottom, places = value.numerator, value.denominator, 0
    while places < 12 and (top * 10**places) % bottom:
        places += 1
    whole, rest = divmod(abs(top) * 10**places, bottom)
    if rest:
        return f"{top}/{bottom}"
    digits, sign = str(whole).rjust(places + 1, "0"), "-" if top < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
