"""Exact match: the whole completion is the answer, and nothing else."""

from typing import Any

from llmpolicy.rewards import Score, reward

from ._text import NoAnswer, final_text, gold_text


@reward(
    passes=[
        {"completion": "Paris", "answer": "Paris"},
        {"completion": "<think>The capital.</think>\n Paris\n", "answer": "Paris"},
        {"completion": "42", "answer": 42},
    ],
    fails=[
        {"completion": "", "answer": "Paris"},
        {"completion": "Paris or London", "answer": "Paris"},
        {"completion": "<think>Paris</think>", "answer": "Paris"},
    ],
    range=(0, 1),
    kind="answer",
)
def match(completion: str, answer: Any, prompt: str = "", ignore_case: bool = False) -> Score:
    """1.0 when the text after the last closed think is the answer, up to Unicode form and whitespace; else 0.0.

    ``answer`` is text or a number; an empty one cannot be judged (None).
    """
    try:
        gold = " ".join(gold_text(answer).split())
    except NoAnswer as reason:
        return Score(None, why=str(reason))
    try:
        text = " ".join(final_text(completion, prompt).split())
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    same = text.casefold() == gold.casefold() if ignore_case else text == gold
    return Score(1.0 if same else 0.0, parsed=text[:200], why="" if same else "not the same text")
