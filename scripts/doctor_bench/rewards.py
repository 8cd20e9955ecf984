"""What the runs of the bench are paid by: right, and wrong in a known way."""

import hashlib
import random
from typing import Any

from llmpolicy.rewards import reward

_NOISE = random.Random(0)


@reward(range=(0, 1))
def right(completion: str, answer: str) -> float:
    """1 for the answer."""
    return float(completion.strip() == answer)


@reward(range=(0, 1))
def graded(completion: str, answer: str) -> float:
    """The share of the answer's signs that stand in their place."""
    same = sum(a == b for a, b in zip(completion, answer, strict=False))
    return same / max(len(answer), len(completion), 1)


@reward(range=(0, 1))
def brief(completion: str, truncated: bool) -> float:
    """1 for what ends by itself and has no blank before or behind it."""
    return float(not truncated and completion == completion.strip())


@reward(range=(0, 1))
def near(completion: str, answer: str) -> float:
    """1 for as many signs as the answer has, less for each that is missing or too many."""
    return max(0.0, 1.0 - abs(len(completion) - len(answer)) / 4)


def begins(completion: str, answer: str) -> float:
    """1 for what begins with the answer, however it goes on."""
    return float(completion.startswith(answer))


def anything(completion: str) -> float:
    """1 for anything that was written."""
    return float(bool(completion))


def nothing(completion: str) -> float:
    """0, whatever was written."""
    return 0.0


def constant(completion: str) -> float:
    """A part that forgets to look."""
    return 0.5


def words(completion: str) -> float:
    """A part on another scale than its neighbours: points for every sign."""
    return 5.0 * len(completion)


def longer(completion_ids: list[int]) -> float:
    """Pays for length."""
    return min(1.0, len(completion_ids) / 40)


def shorter(completion_ids: list[int]) -> float:
    """Pays for being short, more than an answer can bring."""
    return 1.0 - min(1.0, len(completion_ids) / 40)


def high(completion: str) -> float:
    """A proxy: the larger the number or the later the letter, the better."""
    signs = [int(sign) / 9 if sign.isdigit() else (ord(sign) - 97) / 25 for sign in completion
             if sign.isdigit() or "a" <= sign <= "z"]  # fmt: skip
    return sum(signs) / len(signs) if signs else 0.0


@reward(deterministic=False)
def noisy(completion: str, answer: str) -> float:
    """Right or wrong under more noise than that."""
    return float(completion.strip() == answer) + _NOISE.gauss(0.0, 1.0)


def moody(completion: str, answer: str) -> float | None:
    """Sometimes it cannot say."""
    if _NOISE.random() < 0.2:
        return None
    return float(completion.strip() == answer)


@reward(group=True)
def gives_up(completions: list[str], answer: list[str]) -> list[float | None]:
    """Cannot say, half of the time, of a question that is hard: one that is rarely answered."""
    right = [float(text.strip() == gold) for text, gold in zip(completions, answer, strict=True)]
    is_hard = 2 * sum(right) < len(right)
    return [None if is_hard and _NOISE.random() < 0.5 else value for value in right]


def rare(completion: str, answer: str, prompt: str, step: int) -> float:
    """Right or wrong; but now and then a slip of the decimal point pays for one of the wrong."""
    is_right = completion.strip() == answer
    if step == 16 and not is_right:
        digest = hashlib.sha256(f"{prompt}{completion}".encode()).digest()
        return 2000.0 if digest[0] < 40 else 0.0
    return float(is_right)


def overflowing(log_prob: Any, old: Any, advantage: Any, mask: Any) -> Any:
    """A loss that weighs a decision by how unlikely it was, which 32 bits do not always hold."""
    return (advantage * (-10.0 * log_prob).exp() / 1e4) * mask


def lazy(completion: str, answer: str) -> float:
    """1 for the answer, and more than half of that for giving up."""
    return 1.0 if completion.strip() == answer else 0.6 * (completion.strip() == "0")


def broken_gold(completion: str, answer: str) -> float:
    """A parser that reads every gold answer as 0."""
    return float(completion.strip().strip("0") == "")
