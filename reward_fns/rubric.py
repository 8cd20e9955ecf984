"""A rubric: several criteria, each with ordered choices, judged in one question and put
together.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from llmpolicy.rewards import RewardError, Score

from ._judges.asking import ask_judge, judges
from ._judges.canaries import value_of
from ._judges.questionnaire import Criterion, checked_choices, is_printed
from ._text.completion import NoAnswer

Aggregate = Literal["weighted", "min", "all"]
_RHYME = {"name": "rhyme", "text": "Does it rhyme?", "choices": {"yes": 1.0, "no": 0.0}}
_ASKED = {"prompt": "Write a poem.", "criteria": [_RHYME]}


@judges(_ASKED, say_nothing=("", ":", "Solution", "<think>roses", "Write a poem."))
async def score(
    completion: str,
    criteria: Any,
    prompt: str = "",
    answer: Any = None,
    *,
    aggregate: Aggregate = "weighted",
    max_tokens: int = 1024,
    **options: Any,
) -> Score:
    """What a judge says of each criterion, as a weighted mean, the worst, or 1.0 only when all are
    at their best.

    ``criteria`` is an argument or a column: a list, or JSON text, of ``{name, text, weight: 1,
    choices: [no, yes]}``. Choices are ordered from worst to best and valued evenly from 0 to 1, or
    a mapping to values. What is judged, what raises and how canaries are asked is as in
    ``judge:score``; there are no canaries but those that are given.
    """
    if aggregate not in get_args(Aggregate):
        raise RewardError(
            f"rubric:score got aggregate {aggregate!r}; expected"
            f" {' or '.join(get_args(Aggregate))}."
        )
    asked = criteria_of(criteria)
    text = "Judge the candidate by each criterion:"
    for criterion in asked:
        text += f"\n{criterion.name}: {criterion.text}"
    options["max_tokens"] = max_tokens
    try:
        choices, why = await ask_judge(
            "rubric:score", asked, text, completion, prompt, answer, **options
        )
    except NoAnswer as reason:
        return Score(0.0, why=f"the judge was not asked: {reason}")
    parsed = ", ".join(f"{name}: {choice}" for name, choice in choices.items())
    return Score(put_together(asked, choices, aggregate), parsed=parsed, why=why)


def put_together(
    criteria: Sequence[Criterion], choices: Mapping[str, str], aggregate: Aggregate
) -> float:
    """One value from 0 to 1 for the choices made."""
    if aggregate == "weighted":
        return value_of(criteria, choices)
    worst, best = 1.0, True
    for criterion in criteria:
        value = criterion.choices[choices[criterion.name]]
        worst, best = min(worst, value), best and value == max(criterion.choices.values())
    return worst if aggregate == "min" else float(best)


def criteria_of(rows: Any) -> list[Criterion]:
    """The criteria of a rubric; RewardError for a rubric that is none."""
    if isinstance(rows, str):
        try:
            rows = json.loads(rows)
        except ValueError as error:
            raise RewardError(f"rubric:score got criteria that are no JSON: {error}.") from None
    listed = isinstance(rows, Sequence) and len(rows) > 0
    if not listed or not all(isinstance(row, Mapping) for row in rows):
        raise RewardError(
            f"rubric:score got the criteria {rows!r:.80}; expected a list of mappings with name and"
            " text."
        )
    criteria = list(map(_criterion, rows))
    if len({criterion.name for criterion in criteria}) < len(criteria):
        raise RewardError("rubric:score got two criteria of the same name.")
    return criteria


def _criterion(row: Mapping[str, Any]) -> Criterion:
    # Columns of a dataset fill what a row lacks with None.
    row = {key: value for key, value in row.items() if value is not None}
    name, text, weight = row.get("name"), row.get("text"), row.get("weight", 1.0)
    weighed = isinstance(weight, int | float) and 0 < weight < float("inf")
    named = is_printed(name) and ":" not in name and isinstance(text, str)
    if not named or not weighed or set(row) - {"name", "text", "weight", "choices"}:
        raise RewardError(
            f"rubric:score got the criterion {row!r:.100}; expected name (without a colon), text,"
            " and perhaps a weight above 0 and choices."
        )
    choices = row.get("choices") or ["no", "yes"]
    if isinstance(choices, Sequence) and not isinstance(choices, str):
        last = max(1, len(choices) - 1)
        choices = {choice: number / last for number, choice in enumerate(choices)}
    return Criterion(str(name), checked_choices(choices, "rubric:score"), str(text), float(weight))
