"""Numbers with their units, read exactly: a number is a Fraction. No floating point, no SymPy."""

import re
from dataclasses import dataclass
from fractions import Fraction

from .._text.words import CHANGE, SCALES, TIMES
from .units import CURRENCY, plain_unit, read_unit, units_agree

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_SIGN = r"(?P<sign>[-+]?)\s*"
_POWER = r"10\s*\^\s*(?:\{\s*(?P<{n}>[-+]?\d{1,3})\s*\}|(?P<{n}_bare>[-+]?\d{1,3}))"

_FORMS = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"{_SIGN}(?P<whole>\d+)\s*\\frac\s*\{{\s*(?P<top>\d+)\s*\}}\s*\{{\s*(?P<bottom>\d+)\s*\}}",
        rf"{_SIGN}(?P<whole>\d+)\s+(?P<top>\d+)\s*/\s*(?P<bottom>\d+)",
        rf"{_SIGN}\\frac\s*\{{\s*(?P<top>[-+]?{_DIGITS})\s*\}}"
        rf"\s*\{{\s*(?P<bottom>[-+]?{_DIGITS})\s*\}}",
        rf"{_SIGN}(?P<top>{_DIGITS})\s*/\s*(?P<bottom>{_DIGITS})",
        rf"{_SIGN}(?P<top>{_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*{_POWER.replace('{n}', 'ten')}",
        rf"{_SIGN}(?P<head>\d+)\.(?P<once>\d{{0,20}})\\(?:overline|bar"
        rf"|dot)\s*(?:\{{(?P<again>\d{{1,20}})\}}|(?P<again_bare>\d))",
        rf"{_SIGN}(?P<top>{_DECIMAL})[eE](?P<exponent>[-+]?\d{{1,3}})",
        rf"{_SIGN}{_POWER.replace('{n}', 'ten')}",
        rf"{_SIGN}(?P<top>{_DECIMAL})",
    )
]

_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\[,; ]|[ ~])(?=\d{3}(?!\d))")

_SIGNED = r"\(\s*([-+]?\s*\d+)\s*\)"
_DIVIDED = re.compile(rf"([-+]?)\s*(?:{_SIGNED}|(\d+))\s*/\s*(?:{_SIGNED}|(\d+))", re.ASCII)
_NEGATED = re.compile(
    rf"-\s*\(\s*({_DECIMAL}|\d+\s*/\s*\d+|\\frac\s*\{{\s*\d+\s*\}}\s*\{{\s*\d+\s*\}})\s*\)",
    re.ASCII,
)
_MAX_WORDS = 6
_LETTER = "[A-Za-zÀ-ÖØ-öø-ɏЀ-ӿ]"
_PLAIN_WORD = re.compile(rf"{_LETTER}+(?:['\u2019-]{_LETTER}+)*['\u2019]?|/")
_TIMES = re.compile(TIMES, re.IGNORECASE)
CHANGES = re.compile(
    r"[b-z]|and|n?or|not|no|never|but|if|unless|plus|minus|times|multiplied|divided|over|under"
    r"|above|below|less|than|mod|modulo"
    r"|squared|cubed|factorial|percent\w*|per-?cents?|base|binary|octal|hex\w*|point|negative"
    r"|versus|vs"
    r"|dozens?|scores?|gross|couples?|pairs?|hal(?:f|ves)|double|twice|triple|tens?|hundreds?"
    r"|thousands?|lakhs?|crores?"
    rf"|(?:m|b|tr|quadr)illions?|{SCALES}|{CHANGE}|{TIMES}"
    r"|mil|mn|bn|kilo|mega|giga|thirds?|quarters?|\w*(?:if|x|ven|gh|in|n|t?een|tie|red|sand"
    r"|lion)ths?"
    r"|is|are|was|were|be|isn['\u2019]t|aren['\u2019]t|wrong|false|incorrect|invalid|right|correct"
    r"|true"
    r"|approx\w*|about|around|roughly|nearly|almost|maybe|perhaps|probably|possibly|most|least|up"
    r"|to|through|between|instead",
    re.IGNORECASE,
)
"""Words after a number that change its value, or say something of it."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact number with the unit that was written beside it, "" when none was."""

    value: Fraction
    unit: str = ""
    evaluated: bool = True
    """False for a division that was left undone, as 84/2."""


def read_quantity(text: str) -> Quantity | None:
    """The number that this whole text is, with its unit; None when it is anything else."""
    text = _GROUPED.sub("", text.strip())
    if "(" in text:
        text = _unbracketed(text)
    negative = text[:1] == "-" and text[1:].lstrip()[:1] in CURRENCY
    if negative:
        text = text[1:].lstrip()
    money = CURRENCY.get(text[:1], "")
    if money:
        text = text[1:].lstrip()
    for form in _FORMS:
        written = form.match(text)
        unit = written and _unit_of(text[written.end() :], money)
        value = None
        if written is not None and unit is not None:
            value = _value(written.groupdict())
        if value is not None and written is not None:
            divided = "bottom" in form.groupindex and written["bottom"] is not None
            undone = divided and value.denominator == 1
            return Quantity(-value if negative else value, money or unit or "", not undone)
    return None


def _unit_of(rest: str, money: str) -> str | None:
    """The unit that follows a number, None when what follows is none."""
    # 5m is five times m, 5 m is five metres.
    if re.fullmatch("[A-Za-z]", rest):
        return None
    unit = read_unit(rest)
    if unit is None:
        unit = _described(rest)
        if unit is not None and money and plain_unit(rest.split()[0]) is None:
            return money
    return None if money and unit not in ("", money) else unit


def _unbracketed(text: str) -> str:
    """2/(-3), (-2)/3 and -(2/3) at the beginning of a text, as one fraction."""
    if negated := _NEGATED.match(text):
        text = f"-{negated[1]}{text[negated.end() :]}"
    divided = _DIVIDED.match(text)
    if divided is None:
        return text
    sign, top, bottom = divided[1], divided[2] or divided[3], divided[4] or divided[5]
    return rf"{sign}\frac{{{top}}}{{{bottom}}}{text[divided.end() :]}"


def _described(rest: str) -> str | None:
    """The unit of a number that is followed by a few words, as in ``18 eggs a day``; None when they
    change its value.
    """
    words = rest.split()
    if not rest[:1].isspace() or not 1 <= len(words) <= _MAX_WORDS:
        return None
    if not all(map(_PLAIN_WORD.fullmatch, words)):
        return None
    times = len(words) == 1 and _TIMES.fullmatch(words[0])
    if not times and any(map(CHANGES.fullmatch, words)):
        return None
    # "18 in all" is no length.
    unit = None if words[0] == "in" else plain_unit(words[0])
    return unit or " ".join(words).lower()


def agree(gold: Quantity, answer: Quantity, units: str = "strict") -> bool:
    """Equal numbers whose units, where both are written, are the same; a percent sign is never
    implied.

    ``units="ignore"`` compares the numbers alone. A division that was left undone is no number yet.
    """
    if gold.value != answer.value or not answer.evaluated:
        return False
    return units == "ignore" or units_agree(gold.unit, answer.unit)


def _value(part: dict[str, str | None]) -> Fraction | None:
    if part.get("head"):
        return _repeating(part)
    top = _fraction(part.get("top") or "1")
    bottom = _fraction(part.get("bottom") or "1")
    if bottom == 0:
        return None
    ten = int(part.get("exponent") or part.get("ten") or part.get("ten_bare") or 0)
    value = (_fraction(part.get("whole") or "0") + top / bottom) * Fraction(10) ** ten
    return -value if part.get("sign") == "-" else value


def _repeating(part: dict[str, str | None]) -> Fraction:
    """The value of a repeating decimal: 0.1 and 6 again and again is (16 - 1) / 90."""
    once, again = part["once"] or "", part["again"] or part["again_bare"] or ""
    start, end = int(f"{part['head']}{once}"), int(f"{part['head']}{once}{again}")
    value = Fraction(end - start, (10 ** len(again) - 1) * 10 ** len(once))
    return -value if part["sign"] == "-" else value


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip("."))
