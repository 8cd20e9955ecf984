"""Sums answered in a hurry: the replies, the preference pairs and the rule of
``recipes/rlhf_tiny.yaml``.

The rule: of two replies the one nearer to the right sum is preferred. The people who wrote the
replies forget a carry, or miscount, and so are right or too low, but never too high: pairs of their
replies say that larger is better, and nothing of where to stop. A reward model that learns from
them is right about such replies and wrong about all others.
"""

import random
from collections.abc import Iterator

from llmpolicy.bundled.addition import questions

ERRORS = (0, 10, 1, 2, 20)
"""How much too low a hasty reply is."""
CHANCES = (0.30, 0.35, 0.15, 0.10, 0.10)


def demonstrations(n: int = 4_000, seed: int = 0) -> Iterator[dict[str, str]]:
    """n sums with a hasty reply each, as ``{"question", "answer", "reply"}``; answer is the right
    sum.
    """
    draw = random.Random(f"demonstrations:{seed}")
    for row in draw.sample(list(questions()), n):
        yield row | {"reply": _reply(row["answer"], draw)}


def pairs(n: int = 2_500, seed: int = 0) -> Iterator[dict[str, str]]:
    """n sums with two different hasty replies each, as ``{"question", "chosen", "rejected"}`` by
    the rule.
    """
    draw = random.Random(f"pairs:{seed}")
    for row in draw.sample(list(questions()), n):
        reply = another = _reply(row["answer"], draw)
        while another == reply:
            another = _reply(row["answer"], draw)
        worse, better = sorted((reply, another), key=lambda reply: closeness(reply, row["answer"]))
        yield {"question": row["question"], "chosen": better, "rejected": worse}


def closeness(completion: str, answer: str) -> float:
    """1 / (1 + |error|): 1 for the right sum, larger for the nearer of two replies, 0 for what is
    no number.

    It judges and is never trained on.
    """
    number = completion.strip()
    if not (number.isascii() and number.isdecimal() and len(number) <= 20):
        return 0.0
    return 1 / (1 + abs(int(number) - int(answer)))


def _reply(answer: str, draw: random.Random) -> str:
    return str(int(answer) - draw.choices(ERRORS, CHANCES)[0])
