"""Length rewards, counted in tokens of the completion."""

import math
from collections.abc import Sequence
from typing import Any

from llmpolicy.rewards import RewardError, Score, resolve, reward


@reward(
    passes=[{"completion_ids": [1] * 60, "max_length": 100, "cache": 20}],
    fails=[{"completion_ids": [1] * 100, "max_length": 100, "cache": 20}],
    range=(-1, 0),
    kind="length",
)
def overlong(completion_ids: Sequence[int], max_length: int, cache: int) -> float:
    """Soft overlong punishment: 0 up to max_length - cache tokens, then linear down to -1 at
    max_length, -1 beyond.

    R(y) = 0, (L_max - L_cache - |y|) / L_cache, -1; DAPO (arXiv 2503.14476), eq. 13. RewardError
    unless 0 < cache < max_length.
    """
    if not 0 < cache < max_length:
        raise RewardError(
            f"length:overlong got max_length {max_length} and cache {cache}; expected 0 < cache <"
            " max_length."
        )
    free = max_length - cache
    return max(-1.0, min(0.0, (free - len(completion_ids)) / cache))


@reward(
    passes=[{"completion": "five words of plain text", "completion_ids": [1] * 5, "target": 5}],
    fails=[{"completion": " ", "completion_ids": [1] * 5, "target": 5}],
    range=(0, 1),
    kind="length",
)
def target(
    completion: str, completion_ids: Sequence[int], target: int, tolerance: int | None = None
) -> Score:
    """1 at ``target`` tokens, falling linearly to 0 at ``tolerance`` tokens away (default: target);
    0 for blank text.

    RewardError unless target and tolerance are positive.
    """
    width = target if tolerance is None else tolerance
    if target <= 0 or width <= 0:
        raise RewardError(
            f"length:target got target {target} and tolerance {tolerance}; expected positive"
            " numbers."
        )
    if not completion.strip():
        return Score(0.0, why="blank")
    return Score(max(0.0, 1 - abs(len(completion_ids) - target) / width))


@reward(
    passes=[{"completion": "Answer: 5", "completion_ids": [], "answer": "5", "max_length": 10}],
    fails=[{"completion": "Answer: 4", "completion_ids": [], "answer": "5", "max_length": 10}],
    range=(-1, 1),
    kind="answer",
    formats=("Answer: {}", "\\boxed{{{}}}"),
    settings=("correctness",),
)
def cosine(
    completion: str,
    completion_ids: Sequence[int],
    answer: Any,
    max_length: int,
    prompt: str = "",
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    correctness: str = "math_answer:correct",
) -> Score:
    """Right answers earn less the longer they are, wrong ones lose less: from one bound to the
    other along a cosine.

    R(y) = b + (a - b) (1 + cos(pi min(|y| / L_max, 1))) / 2, where a is paid at length 0 and b at
    L_max: max and min_value_correct for a right answer, min and max_value_wrong for a wrong one;
    Demystifying Long Chain-of-Thought (arXiv 2502.03373), appendix C.1. ``correctness`` names the
    reward, of completion, answer and prompt, that says 1 for right; what it does not judge is None.
    RewardError unless max_length is positive and wrong pays less than right.
    """
    bounds = (min_value_wrong, max_value_wrong, min_value_correct, max_value_correct)
    if max_length <= 0 or list(bounds) != sorted(bounds) or max_value_wrong >= min_value_correct:
        raise RewardError(
            f"length:cosine got max_length {max_length} and the values {bounds}; expected a"
            " positive length, values that rise, and a right answer that always earns more than a"
            " wrong one."
        )
    judged = resolve(correctness)(completion, answer, prompt=prompt)
    if not isinstance(judged, Score):
        judged = Score(judged)
    if judged.value is None:
        return Score(None, why=judged.why)
    short, long = min_value_wrong, max_value_wrong
    if judged.value >= 1:
        short, long = max_value_correct, min_value_correct
    cosine = math.cos(math.pi * min(len(completion_ids) / max_length, 1.0))
    value = long + (short - long) * (1 + cosine) / 2
    return Score(value, parsed=judged.parsed, why=judged.why)


@reward(
    passes=[{"completion": "It ends.", "truncated": False}],
    fails=[
        {"completion": "It does not", "truncated": True},
        {"completion": " ", "truncated": False},
    ],
    range=(0, 1),
    kind="length",
)
def truncation(completion: str, truncated: bool, penalty: float = 0.0) -> Score:
    """1.0 for a completion that ended by itself, ``penalty`` for one that the length limit cut off,
    or a blank one.

    RewardError for a penalty that is not finite or not below 1.
    """
    if not float("-inf") < penalty < 1:
        raise RewardError(
            f"length:truncation got penalty {penalty!r}; expected a finite number below 1."
        )
    if truncated or not completion.strip():
        return Score(penalty, why="cut off" if truncated else "blank")
    return Score(1.0)
