"""Numbers as languages write them: German 1.234,5 is 1,234.5."""

import re
from typing import Literal

Locale = Literal["en", "de", "fr", "es", "pt", "it", "ru", "zh", "ja", "ko"]

_COMMA, _POINT_GROUPS = {"de", "fr", "es", "pt", "it", "ru"}, {"de", "es", "pt", "it"}
_GROUPED = r"\d{1,3}(?:\.\d{3})+(?![\d.])"
_NUMBER = re.compile(
    rf"(?<![\w.,([])(?<!\\\{{)(?P<whole>{_GROUPED}|\d+)(?:(?:,|\{{,\}})(?P<decimals>\d+))?(?![.,]?\d|,\w)",
    re.ASCII,
)


def localised(text: str, locale: Locale) -> str:
    """The text with its numbers as English writes them, for a locale with a decimal comma.

    A comma right behind an opening bracket's first number, as in ``(1,2)``, still separates; so
    does one before a space.
    """
    return _NUMBER.sub(lambda number: _english(number, locale), text) if locale in _COMMA else text


def _english(number: re.Match[str], locale: Locale) -> str:
    whole = number["whole"].replace(".", "") if locale in _POINT_GROUPS else number["whole"]
    return f"{whole}.{number['decimals']}" if number["decimals"] else whole
