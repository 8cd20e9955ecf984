"""Is the final answer right? Own extraction, exact numbers, algebra to as many digits as it takes.

The answer must be marked (``\\boxed{}``, ``####``, ``Answer:``, ``<answer>``) or be all there is,
stand after the last closed think, and be asserted; several marked answers must agree. Numbers are
compared exactly; units, percent and bases must agree. Everything is capped, so that a call returns
soon from any thread.
"""

import re
from functools import lru_cache
from typing import Any, Literal, get_args

from llmpolicy.rewards import COMMON_FORMATS, RewardError, Score, reward

from ._answers.final import Extract, Locale, Several, final_answer, localised
from ._answers.marks import boxes
from ._maths.forms import Form, GoldUnreadable, read, same, value_of
from ._maths.latex import canonical, clean
from ._text.completion import NoAnswer, ThinkingMarks, gold_text, normalise, passed

Units = Literal["strict", "ignore"]

MARKS = tuple(dict.fromkeys(("\\boxed{{}}", *COMMON_FORMATS, "The answer is {}.")))
"""Ways to mark a final answer."""


@reward(
    passes=[
        {
            "completion": "<think>17?</think>The answer is \\boxed{18}.",
            "answer": "9 * 2 = 18\n#### 18",
        },
        {"completion": "Answer: 0.5", "answer": "\\frac{1}{2}"},
        {"completion": "#### 1,000 dollars", "answer": 1000, "locale": "en"},
        {"completion": "<answer>(x+1)^2</answer>", "answer": "x^2 + 2x + 1"},
        {"completion": "Perhaps \\boxed{17}. No: \\boxed{18}.", "answer": "18", "several": "last"},
        {
            "completion": "$x = \\boxed{1}$ or $x = \\boxed{-2}$",
            "answer": "1, -2",
            "several": "list",
        },
        {"completion": "Die Antwort lautet 1.234,5.", "answer": 1234.5, "locale": "de"},
    ],
    fails=[
        {"completion": "\\boxed{17} or \\boxed{18}", "answer": "18"},
        {"completion": "The answer is not 18.", "answer": "18"},
        {"completion": "<think>\\boxed{18}</think>", "answer": "18"},
        {"completion": "5 ft", "answer": "5 m", "units": "strict"},
        {"completion": "", "answer": "18"},
        {"completion": "\\boxed{18}. No: \\boxed{17}.", "answer": "18", "several": "last"},
        {"completion": "\\boxed{18} or \\boxed{17}", "answer": "18", "several": "list"},
        {"completion": "Antwort: 3,5", "answer": "35", "locale": "de"},
    ],
    range=(0, 1),
    kind="answer",
    formats=MARKS,
)
def correct(
    completion: str,
    answer: Any,
    prompt: str = "",
    extract: Extract = "strict",
    units: Units = "strict",
    several: Several = "agree",
    locale: Locale = "en",
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the one asserted final answer equals the answer column, else 0.0; None for an
    unreadable column.

    ``answer`` is a number or text: a plain answer, a GSM8K solution (``... #### 18``) or one with a
    ``\\boxed{}``. ``extract="last_number"`` also takes the last number of a completion that marks
    no answer. ``units="ignore"`` compares numbers without their units and percent signs. Several
    marked answers must agree, or with ``several="last"`` the last counts, with ``several="list"``
    all of them are one list. ``locale`` says whether numbers have a decimal comma. RewardError for
    another value of one of these.
    """
    check_options("math_answer:correct", extract, units, several, locale)
    try:
        gold = gold_of(answer, locale)
    except NoAnswer as reason:
        return Score(None, why=f"the answer column cannot be read: {reason}")
    try:
        form, text = final_answer(completion, prompt, extract, several, locale, thinking_marks)
        right = same(gold, form, units)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    except GoldUnreadable as reason:
        return Score(None, why=str(reason))
    if right and _restates(form, gold, prompt):
        return Score(0.0, parsed=text, why="the answer restates an expression of the question")
    return passed(right, "not equal to the answer", text)


def check_options(reward: str, extract: str, units: str, several: str, locale: str) -> None:
    """Raise RewardError for an option that does not exist."""
    options = {
        "extract": (extract, Extract),
        "units": (units, Units),
        "several": (several, Several),
        "locale": (locale, Locale),
    }
    for name, (value, type_) in options.items():
        if value not in get_args(type_):
            known = " or ".join(map(repr, get_args(type_)))
            raise RewardError(f"{reward} got {name} {value!r}; expected {known}.")


def gold_of(answer: Any, locale: Locale = "en") -> Form:
    """The final answer that a value of the column holds, text in the numbers of the locale; raises
    NoAnswer.
    """
    text = gold_text(answer)
    if isinstance(answer, str):
        text = localised(text, locale)
    return gold_form(text)


@lru_cache(maxsize=4096)
def gold_form(text: str) -> Form:
    """The final answer that a column holds: after ``####``, in the last box, or all of it; raises
    NoAnswer.
    """
    if "####" in text:
        text = text.rpartition("####")[2]
    elif "\\boxed" in text:
        text = next((box.content for box in reversed(boxes(text))), "")
    return read(text)


def _restates(form: Form, gold: Form, prompt: str) -> bool:
    """Whether an answer that is equal, but not written as the answer column is, was copied from the
    question.
    """
    worked = form.kind in ("expression", "matrix", "without") or (
        form.kind == "relation" and value_of(form) is form
    )
    worked = worked or (form.number is not None and bool(re.search(r"[/^]|frac", form.text)))
    if not prompt or not worked or form.text == gold.text:
        return False
    try:
        return form.text in canonical(clean(normalise(prompt)))
    except NoAnswer:
        return False
