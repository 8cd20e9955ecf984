"""Numbers as languages write them: German 1.234,5 is 1,234.5."""

import re
from typing import Literal

Locale = Literal["en", "de", "fr", "es", "pt", "it", "ru", "zh", "ja", "ko"]

_COMMA, _POINT_GROUPS = {"de", "fr", "es", "pt", "it", "ru"}, {"de", "es", "pt", "it"}
_GROUPED = r"\d{1,3}(?:\.\d{3})+(?![\d.])"
_NUMBER = re.compile(
    rf"(?<![\w.,([])(?<!\\\{{)({_GROUPED}|\d+)(?:(?:,|\{{,\}})(\d+))?(?![.,]?\d|,\w)",
    re.ASCII,
)


def localised(text: str, locale: Locale) -> str:
    """The text with its numbers as English writes them, for a locale with a decimal comma.

    A comma right behind an opening bracket's first number, as in ``(1,2)``, still separates; so
    does one before a space.
    """
    if locale not in _COMMA:
        return text
    grouped = locale in _POINT_GROUPS
    return _NUMBER.sub(_in_groups if grouped else _with_point, text)


def _with_point(number: re.Match[str]) -> str:
    return ".".join(filter(None, number.groups()))


def _in_groups(number: re.Match[str]) -> str:
    return ".".join(filter(None, (number[1].replace(".", ""), number[2])))
