"""The task of the bundled model: two-digit addition, a + b, where b + a is the same question."""

import random
from collections.abc import Iterator, Mapping

Question = dict[str, str]


def questions(low: int = 10, high: int = 99, seed: int = 0) -> Iterator[Question]:
    """Every ordered sum of two numbers from low to high (both included), as ``{"question": "12+34",
    "answer": "46"}``.

    The order is random but fixed by ``seed``, so that a limit takes a fair sample.
    """
    pairs = [(a, b) for a in range(low, high + 1) for b in range(low, high + 1)]
    random.Random(seed).shuffle(pairs)
    for a, b in pairs:
        yield {"question": f"{a}+{b}", "answer": str(a + b)}


def canonical(row: Mapping[str, str]) -> str:
    """What a+b and b+a have in common: the question with its smaller number first."""
    return "+".join(sorted(row["question"].split("+"), key=int))
