"""Exact match: the whole completion is the answer, and nothing else."""

from collections.abc import Sequence
from typing import Any

from llmpolicy.rewards import Score, reward

from ._text.completion import NoAnswer, ThinkingMarks, final_text, gold_text, passed


@reward(
    passes=[
        {"completion": "Paris", "answer": "Paris"},
        {"completion": "<think>The capital.</think>\n Paris\n", "answer": "Paris"},
        {"completion": "42", "answer": 42},
        {"completion": "Lutetia", "answer": ["Paris", "Lutetia"]},
    ],
    fails=[
        {"completion": "", "answer": "Paris"},
        {"completion": "Paris or London", "answer": "Paris"},
        {"completion": "<think>Paris</think>", "answer": "Paris"},
        {"completion": "Paris, Lutetia", "answer": ["Paris", "Lutetia"]},
    ],
    range=(0, 1),
    kind="answer",
)
def match(
    completion: str,
    answer: Any,
    prompt: str = "",
    ignore_case: bool = False,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the text after the last closed think is the answer, up to Unicode form and
    whitespace; else 0.0.

    ``answer`` is text, a number, or a list of them of which one is enough; an empty one cannot be
    judged (None).
    """
    try:
        golds = [" ".join(gold_text(gold).split()) for gold in _several(answer)]
    except NoAnswer as reason:
        return Score(None, why=str(reason))
    try:
        text = " ".join(final_text(completion, prompt, thinking_marks).split())
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    same = text in golds or (ignore_case and text.casefold() in map(str.casefold, golds))
    return passed(same, "not the same text", text[:200])


def _several(answer: Any) -> Sequence[Any]:
    """The golds of a column: those of a list, else the one; raises NoAnswer for an empty list."""
    if not isinstance(answer, list | tuple):
        return [answer]
    if not answer:
        raise NoAnswer("the answer column holds an empty list")
    return answer
