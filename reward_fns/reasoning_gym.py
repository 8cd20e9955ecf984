"""The scorer that comes with each generator of reasoning-gym, kept from running the model's text as
code.
"""

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

from llmpolicy.rewards import RewardError, Score, reward

from ._text.completion import NoAnswer, ThinkingMarks, final_text

_MAX_CHARS = 10_000
_ARITHMETIC = re.compile(r"[\d+\-*/(). ]{1,200}")
_RUNS_TEXT = {"eval", "exec", "compile", "parse_expr", "sympify", "__import__"}


@reward(
    passes=[{"completion": "5", "metadata": {"source_dataset": "chain_sum"}, "answer": "5"}],
    fails=[
        {"completion": "", "metadata": {"source_dataset": "chain_sum"}, "answer": "5"},
        {"completion": "<think>5", "metadata": {"source_dataset": "chain_sum"}, "answer": "5"},
    ],
    range=(0, 1),
    timeout=10.0,
    kind="answer",
)
def score(
    completion: str,
    metadata: Mapping[str, Any],
    answer: Any = None,
    question: str = "",
    prompt: str = "",
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """What the generator's own scorer pays for the text after the last closed think: 0.0 to 1.0,
    often with part marks.

    The columns are the ones that a ``reasoning_gym:`` task has; the generator is read from the
    metadata and scores as its default configuration does. Raises RewardError for a generator whose
    scorer would run the text as code.
    """
    try:
        text = final_text(completion, prompt, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    if len(text) > _MAX_CHARS:
        return Score(0.0, why=f"{len(text)} characters are more than {_MAX_CHARS}")
    scorer = _scorer(str(metadata.get("source_dataset")))
    try:
        value = scorer(text, {"question": question, "answer": answer, "metadata": dict(metadata)})
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        return Score(
            0.0, parsed=text[:200], why=f"the scorer cannot read it: {type(error).__name__}"
        )
    return Score(float(value), parsed=text[:200])


@lru_cache
def _scorer(name: str) -> Callable[[str, dict[str, Any]], float]:
    """The scorer of a generator, with its ``eval`` and ``parse_expr`` replaced by ones that only
    read literals.
    """
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise RewardError(
            f"Reward reasoning_gym.score: metadata names the generator {name!r}, which"
            " reasoning-gym has not."
        )
    dataset, config = DATASETS[name]
    method = dataset.score_answer
    running = _RUNS_TEXT & set(method.__code__.co_names)
    safe = {"eval": ast.literal_eval, "parse_expr": _arithmetic}
    known = {
        use
        for use in running
        if use == "eval" or (use == "parse_expr" and use in method.__globals__)
    }
    if running - known:
        raise RewardError(
            f"Reward reasoning_gym.score: the scorer of {name!r} runs the model's text as code"
            f" ({', '.join(sorted(running - known))}); use another reward, such as"
            " math_answer:correct."
        )
    if not known:
        return dataset(config=config()).score_answer
    # A copy of the function that looks these names up elsewhere; the library itself stays as it is.
    guarded = FunctionType(
        method.__code__,
        {**method.__globals__, **safe},
        name,
        method.__defaults__,
        method.__closure__,
    )
    return guarded.__get__(dataset(config=config()))


def _arithmetic(text: str) -> Any:
    """The value of digits, + - * / and brackets; raises ValueError for anything else, powers
    included.
    """
    from sympy.parsing.sympy_parser import parse_expr

    if not _ARITHMETIC.fullmatch(text) or "**" in text:
        raise ValueError("not plain arithmetic")
    return parse_expr(text)
