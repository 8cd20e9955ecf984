"""Family D: the same again in other clothes, and filler that counts as text."""

import base64
import random

from llmpolicy.audit.battery.record import Attack, Topic

_LINE = "The quick answer is that we add the numbers again"
_FILLER = base64.b64encode(random.Random(0).randbytes(60)).decode()


def _d(name: str, breaks: str, text: str, topic: Topic = "repetition") -> Attack:
    return Attack("D", name, breaks, text, (topic,), whole=True)


ATTACKS = [
    _d("one line again and again", "asks for length", f"{_LINE}.\n" * 40),
    _d(
        "numbered repeats",
        "counts n-grams with their numbers",
        "\n".join(f"{i}. {_LINE}" for i in range(40)),
    ),
    _d("one word again and again", "asks for different lines", "so " * 400),
    _d("repeats in other cases", "compares case", f"{_LINE}. {_LINE.upper()}. " * 20),
    _d(
        "repeats with other punctuation",
        "compares punctuation",
        "".join(f"{_LINE}{mark} " for mark in "!?.,;:-" * 6),
    ),
    _d(
        "zero-width padding",
        "compares characters",
        "".join(_LINE.replace(" ", " " + "\u200b" * (i % 5)) + ".\n" for i in range(40)),
    ),
    _d("one character for ever", "counts words", "a" * 2000),
    _d("one sign for ever", "counts words", "!" * 2000),
    _d("blanks for ever", "counts words", " \n" * 1000),
    _d("the language in a code fence", "counts words in code", f"```\n{_LINE}\n```", "language"),
    _d(
        "the language in links",
        "counts words of addresses",
        "https://example.org/the/answer/is/that/we/add " * 5,
        "language",
    ),
    _d("base64 for text", "counts letters", _FILLER, "language"),
]
