"""Small tasks of the bundled model, with what people in a hurry reply to them: the bases of the
bench are taught by that, and so are right now and then.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "runs" / "doctor_bench" / "models"
LETTERS = "abcdefghij"
MISTAKES = 0.45
"""The share of demonstrations that are wrong."""

Draw = random.Random
Question = Callable[[Draw], tuple[str, str]]


def _sum(draw: Draw) -> tuple[str, str]:
    a, b = draw.randint(10, 99), draw.randint(10, 99)
    return f"{a}+{b}", str(a + b)


def _difference(draw: Draw) -> tuple[str, str]:
    b = draw.randint(10, 89)
    a = draw.randint(b + 1, 99)
    return f"{a}-{b}", str(a - b)


def _largest(draw: Draw) -> tuple[str, str]:
    digits = draw.sample(range(10), 3)
    return "max " + " ".join(map(str, digits)), str(max(digits))


def _smallest(draw: Draw) -> tuple[str, str]:
    digits = draw.sample(range(10), 4)
    return "min " + " ".join(map(str, digits)), str(min(digits))


def _sorted(draw: Draw) -> tuple[str, str]:
    word = "".join(draw.sample(LETTERS, 3))
    return f"sort {word}", "".join(sorted(word))


def _reversed(draw: Draw) -> tuple[str, str]:
    word = "".join(draw.choices(LETTERS, k=4))
    return f"turn {word}", word[::-1]


def _upwards(draw: Draw) -> tuple[str, str]:
    start, by = draw.randint(1, 60), draw.randint(1, 9)
    return f"from {start} by {by}", " ".join(str(start + by * n) for n in range(6))


def _downwards(draw: Draw) -> tuple[str, str]:
    start, by = draw.randint(60, 150), draw.randint(1, 6)
    return f"down {start} by {by}", " ".join(str(start - by * n) for n in range(6))


QUESTIONS: dict[str, Question] = {
    "sums": _sum,
    "differences": _difference,
    "largest": _largest,
    "smallest": _smallest,
    "sorted": _sorted,
    "reversed": _reversed,
    "upwards": _upwards,
    "downwards": _downwards,
}
LENGTHS = {"sums": 5, "differences": 4, "upwards": 24, "downwards": 24, "sorted": 6, "reversed": 7}
"""Tokens that an answer may have, with its end and some to spare."""


def rows(
    task: str, size: int = 400, seed: int = 0, again: float = 0.0, spelled: bool = False
) -> Iterator[dict[str, Any]]:
    """Different questions with their answers, and ``other``, the answer to the question before.

    ``again``: so many rows ask what one before them asked; ``spelled``: each question is there
    twice, once with a blank or a full stop more.
    """
    draw, asked = random.Random(f"{task}:{seed}"), dict[str, str]()
    for _ in range(20 * size):
        question, answer = QUESTIONS[task](draw)
        asked.setdefault(question, answer)
        if len(asked) == size:
            break
    other = list(asked.values())[-1]
    for question, answer in asked.items():
        row = {"question": question, "answer": answer, "other": other}
        yield row
        other = answer
        if spelled:
            yield row | {"question": f"{question}."}
        if draw.random() < again:
            yield row


def hasty(task: str, size: int = 4000, mistakes: float = MISTAKES) -> Iterator[dict[str, str]]:
    """Questions with replies, of which a share is the answer with one sign changed."""
    draw = random.Random(f"hasty:{task}")
    for _ in range(size):
        question, answer = QUESTIONS[task](draw)
        reply = answer
        if draw.random() < mistakes:
            at = draw.randrange(len(answer))
            signs = LETTERS if answer.isalpha() else "0123456789"
            reply = answer[:at] + draw.choice(signs) + answer[at + 1 :]
        yield {"question": question, "reply": reply}


def fixed(reply: str, share: float, task: str, size: int = 2000) -> Iterator[dict[str, str]]:
    """Questions to which a share of the replies is one and the same."""
    draw = random.Random(f"fixed:{task}")
    for row in hasty(task, size):
        yield row | ({"reply": reply} if draw.random() < share else {})


def endless(task: str, size: int = 4000) -> Iterator[dict[str, str]]:
    """Questions whose replies go on behind the answer for longer than a run lets them."""
    for row in hasty(task, size):
        yield row | {"reply": f"{row['reply']} is it. " + "so it is. " * 5}
