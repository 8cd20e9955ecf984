"""Repetition: n-grams that recur, lines that recur, and text that compresses too well. None of them sees all repetition."""

import re
import zlib
from collections.abc import Sequence
from typing import Any, Literal

from llmpolicy.rewards import RewardError, reward

from ._text import NoAnswer, normalise

_WORD = re.compile(r"[^\W\d_]+")
_LEAST_BYTES = 400
_LOOP, _PROSE = 0.05, 0.2

_FRESH = {"completion": "Each sentence says another thing. Rain falls on hills. Nobody counts the birds at noon."}
_STUCK = {"completion": "I will try again and again.\n" * 200}


@reward(passes=[_FRESH], fails=[], range=(-1, 0), kind="style")
def penalty(
    completion: str,
    completion_ids: Sequence[int] = (),
    n: int = 3,
    max_penalty: float = -1.0,
    unit: Literal["words", "tokens"] = "words",
) -> float:
    """max_penalty * (1 - different n-grams / all n-grams): 0 when nothing recurs; 0 for fewer than n units.

    The n-gram penalty of Demystifying Long Chain-of-Thought (arXiv 2502.03373), averaged over the completion. Words are
    compared without case, numbers and punctuation, so that numbering does not hide a repeat. RewardError for n < 1, a
    positive or infinite max_penalty, an unknown unit.
    """
    if n < 1 or not float("-inf") < max_penalty <= 0 or unit not in ("words", "tokens"):
        raise RewardError(
            f"repetition:penalty got n {n}, max_penalty {max_penalty}, unit {unit!r}; expected n >= 1, a penalty of at "
            "most 0, and words or tokens."
        )
    try:
        units: Sequence[Any] = completion_ids if unit == "tokens" else _WORD.findall(normalise(completion).casefold())
    except NoAnswer:
        return max_penalty
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
    return max_penalty * (1 - len(set(grams)) / len(grams)) + 0.0 if grams else 0.0


@reward(passes=[_FRESH], fails=[], range=(-1, 0), kind="style")
def lines(completion: str, max_penalty: float = -1.0) -> float:
    """max_penalty * (1 - different lines / all lines), of the lines with two words or more, compared by their words alone.

    A table or a list whose lines differ in their numbers only counts as repetition. RewardError for a positive or infinite
    max_penalty.
    """
    _check_penalty("lines", max_penalty)
    try:
        said = [tuple(_WORD.findall(line)) for line in normalise(completion).casefold().splitlines()]
    except NoAnswer:
        return max_penalty
    said = [words for words in said if len(words) > 1]
    return max_penalty * (1 - len(set(said)) / len(said)) + 0.0 if said else 0.0


@reward(passes=[_FRESH], fails=[_STUCK], range=(-1, 0), kind="style")
def compression(completion: str, max_penalty: float = -1.0, low: float = _LOOP, high: float = _PROSE) -> float:
    """0 for a text that zlib makes no smaller than ``high`` of its size, down to max_penalty at ``low`` and below.

    It sees loops of any length and in any script, but not whether anything is meant: base64 does not compress. Texts below
    400 bytes have too little to compress and get 0. RewardError for a positive or infinite max_penalty, or unless
    0 < low < high.
    """
    _check_penalty("compression", max_penalty)
    if not 0 < low < high:
        raise RewardError(f"repetition:compression got low {low} and high {high}; expected 0 < low < high.")
    try:
        content = normalise(completion).encode("utf-8", "replace")
    except NoAnswer:
        return max_penalty
    if len(content) < _LEAST_BYTES:
        return 0.0
    ratio = len(zlib.compress(content, 6)) / len(content)
    return max_penalty * min(1.0, max(0.0, (high - ratio) / (high - low))) + 0.0


@reward(passes=[_FRESH], fails=[_STUCK], range=(-1, 0), kind="style")
def worst(completion: str, completion_ids: Sequence[int] = (), n: int = 3, max_penalty: float = -1.0) -> float:
    """The largest of the penalties for n-grams of words, n-grams of tokens, lines, and compression."""
    found = [penalty(completion, n=n, max_penalty=max_penalty), lines(completion, max_penalty)]
    found += [penalty(completion, completion_ids, n, max_penalty, "tokens"), compression(completion, max_penalty)]
    return min(found)


def _check_penalty(name: str, max_penalty: float) -> None:
    if not float("-inf") < max_penalty <= 0:
        raise RewardError(f"repetition:{name} got max_penalty {max_penalty}; expected a penalty of at most 0.")
