"""Numeric equality: the final answer is a number, compared exactly or within a stated tolerance."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from llmpolicy.rewards import RewardError, Score, reward

from ._answers.final import Extract, Locale, Several, final_answer
from ._maths.chains import approximated
from ._maths.forms import value_of
from ._maths.numbers import agree
from ._text.completion import NoAnswer, ThinkingMarks, passed
from .math_answer import MARKS, Units, check_options, gold_of


@reward(
    passes=[
        {"completion": "Answer: 18", "answer": 18},
        {"completion": "\\boxed{1.8e1}", "answer": "18.0"},
        {"completion": "3.14", "answer": "3.14159", "rel_tol": 0.01},
    ],
    fails=[
        {"completion": "18.1", "answer": 18},
        {"completion": "\\boxed{\\text{NaN}}", "answer": 18},
        {"completion": "17 or 18", "answer": 18},
    ],
    range=(0, 1),
    kind="answer",
    formats=MARKS,
)
def equal(
    completion: str,
    answer: Any,
    prompt: str = "",
    rel_tol: float = 0.0,
    abs_tol: float = 0.0,
    extract: Extract = "strict",
    units: Units = "strict",
    several: Several = "agree",
    locale: Locale = "en",
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the final answer is a number within max(rel_tol * |answer|, abs_tol) of the answer
    column, else 0.0.

    The answer is found as by ``math_answer:correct``. None when the column holds no number;
    RewardError for a tolerance that is negative or not finite.
    """
    check_options("numeric:equal", extract, units, several, locale)
    if not 0 <= rel_tol < float("inf") or not 0 <= abs_tol < float("inf"):
        raise RewardError(
            f"numeric:equal got rel_tol {rel_tol!r} and abs_tol {abs_tol!r}; expected numbers from"
            " 0 up."
        )
    try:
        gold = gold_of(answer, locale).number
    except NoAnswer as reason:
        return Score(None, why=f"the answer column cannot be read: {reason}")
    if gold is None:
        return Score(None, why="the answer column holds no number")
    try:
        form, text = final_answer(completion, prompt, extract, several, locale, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    number = value_of(form).number
    if number is None and (rel_tol or abs_tol):
        number = approximated(form).number
    if number is None:
        return Score(0.0, parsed=text, why="not a number")
    tolerance = max(Fraction(rel_tol) * abs(gold.value), Fraction(abs_tol))
    if abs(number.value - gold.value) <= tolerance:
        number = replace(number, value=gold.value)
    return passed(agree(gold, number, units), "not equal to the answer", text)
