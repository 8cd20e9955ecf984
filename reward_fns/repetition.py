"""Repetition: the share of n-grams that have been said before."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from llmpolicy.rewards import RewardError

from ._text import NoAnswer, normalise

_WORD = re.compile(r"[^\W\d_]+")


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
