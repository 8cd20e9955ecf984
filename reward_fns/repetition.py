"""Repetition: n-grams that recur, lines that recur, and text that compresses too well. None of them
sees all repetition.

`penalty` sees words, and of what holds no words (digits, rules, blanks) only what repeats itself
for a hundred characters and more; it is blind to long words of many scripts that are written
without blanks, but where they repeat at once. `lines` is blind within a line and to lines of one
word. `compression` is blind below 400 bytes and to what recurs farther apart than 32 KiB. `worst`
is the largest of them.
"""

import re
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

from llmpolicy.rewards import RewardError, reward

from ._text.completion import NoAnswer, normalise

_WORD = re.compile(r"[^\W\d_]+")
_LONG, _LONGEST_RULE = 24, 120
"""A word of so many letters is looked into; rules, zeros and blanks up to this length are no
repetition.
"""
_STRETCH = re.compile(rf"[^\W\d_]+|(?<![\W\d_])[\W\d_]{{{_LONGEST_RULE},}}")
_FEW = re.compile(r"[\W\d_]{4}")
_RUN = re.compile(r"(.{1,16}?)\1{11,}", re.DOTALL)
_FLOOD = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]{24,}")
_LEAST_BYTES = 400
_LOOP, _PROSE = 0.05, 0.2

_FRESH = {
    "completion": (
        "Each sentence says another thing. Rain falls on hills. Nobody counts the birds at noon."
    )
}
_STUCK = {"completion": "I will try again and again.\n" * 200}


@reward(passes=[_FRESH], fails=[], range=(-1, 0), kind="style")
def penalty(
    completion: str,
    completion_ids: Sequence[int] = (),
    n: int = 3,
    max_penalty: float = -1.0,
    unit: Literal["words", "tokens"] = "words",
) -> float:
    """max_penalty * (1 - different n-grams / all n-grams): 0 when nothing recurs; 0 for fewer than
    n units.

    The n-gram penalty of Demystifying Long Chain-of-Thought (arXiv 2502.03373), averaged over the
    completion. Words are compared without case, numbers and punctuation, so that numbering does not
    hide a repeat. Where up to 16 characters repeat for ever (letters, signs, digits, blanks), each
    time is a unit. RewardError for n < 1, a positive or infinite max_penalty, an unknown unit.
    """
    if n < 1 or not float("-inf") < max_penalty <= 0 or unit not in ("words", "tokens"):
        raise RewardError(
            f"repetition:penalty got n {n}, max_penalty {max_penalty}, unit {unit!r}; expected n >="
            " 1, a penalty of at most 0, and words or tokens."
        )
    try:
        units: Sequence[Any] = completion_ids if unit == "tokens" else _units(completion)
    except NoAnswer:
        return max_penalty
    grams = [tuple(units[start : start + n]) for start in range(len(units) - n + 1)]
    return max_penalty * _recurring(grams) + 0.0


def _recurring(items: Sequence[Any]) -> float:
    """1 - different items / all items."""
    return 1 - len(set(items)) / len(items) if items else 0.0


@reward(passes=[_FRESH], fails=[], range=(-1, 0), kind="style")
def lines(completion: str, max_penalty: float = -1.0) -> float:
    """max_penalty * (1 - different lines / all lines), of the lines with two words or more,
    compared by their words alone.

    A table or a list whose lines differ in their numbers only counts as repetition. RewardError for
    a positive or infinite max_penalty.
    """
    _check_penalty("lines", max_penalty)
    try:
        text = normalise(completion).casefold()
    except NoAnswer:
        return max_penalty
    rows = [tuple(_WORD.findall(line)) for line in text.splitlines()]
    return max_penalty * _recurring([words for words in rows if len(words) > 1]) + 0.0


@reward(passes=[_FRESH], fails=[_STUCK], range=(-1, 0), kind="style")
def compression(
    completion: str, max_penalty: float = -1.0, low: float = _LOOP, high: float = _PROSE
) -> float:
    """0 for a text that zlib makes no smaller than ``high`` of its size, down to max_penalty at
    ``low`` and below.

    It sees loops of any length and in any script, but not whether anything is meant: base64 does
    not compress. Texts below 400 bytes have too little to compress and get 0. RewardError for a
    positive or infinite max_penalty, or unless 0 < low < high.
    """
    _check_penalty("compression", max_penalty)
    if not 0 < low < high:
        raise RewardError(
            f"repetition:compression got low {low} and high {high}; expected 0 < low < high."
        )
    try:
        content = normalise(_shown(completion)).encode("utf-8", "replace")
    except NoAnswer:
        return max_penalty
    if len(content) < _LEAST_BYTES:
        return 0.0
    ratio = len(zlib.compress(content, 6)) / len(content)
    return max_penalty * min(1.0, max(0.0, (high - ratio) / (high - low))) + 0.0


@reward(passes=[_FRESH], fails=[_STUCK], range=(-1, 0), kind="style")
def worst(
    completion: str, completion_ids: Sequence[int] = (), n: int = 3, max_penalty: float = -1.0
) -> float:
    """The largest of the penalties for n-grams of words, n-grams of tokens, lines, and
    compression.
    """
    return min(
        penalty(completion, n=n, max_penalty=max_penalty),
        penalty(completion, completion_ids, n, max_penalty, "tokens"),
        lines(completion, max_penalty),
        compression(completion, max_penalty),
    )


def _units(completion: str) -> list[str]:
    """The words of a text, and each time of what repeats itself at once without being words."""
    text = normalise(_shown(completion)).casefold()
    words = _WORD.findall(text)
    # Of every long stretch a few characters in a row are in a sample of the text.
    if max(map(len, words), default=0) < _LONG and not _FEW.search(text[:: _LONGEST_RULE // 4]):
        return words
    return list(chain.from_iterable(map(_parted, _STRETCH.findall(text))))


def _parted(stretch: str) -> list[str]:
    """A word as it is; what of a long stretch repeats itself, time by time."""
    if len(stretch) < _LONG:
        return [stretch]
    is_word = _WORD.match(stretch) is not None
    units: list[str] = []
    for run in _RUN.finditer(stretch):
        if is_word or len(run[0]) >= _LONGEST_RULE:
            units += [run[1]] * (len(run[0]) // len(run[1]))
    return units or [stretch] * is_word


def _shown(completion: str) -> str:
    """The text with blanks for a flood of characters that nobody sees: none of them is left when it
    is normalised.
    """
    if completion.isascii():
        return completion
    return _FLOOD.sub(lambda flood: " " * len(flood[0]), completion)


def _check_penalty(name: str, max_penalty: float) -> None:
    if not float("-inf") < max_penalty <= 0:
        raise RewardError(
            f"repetition:{name} got max_penalty {max_penalty}; expected a penalty of at most 0."
        )
