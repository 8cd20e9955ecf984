"""A rubric: several criteria, each with ordered choices, judged in one question and put
together.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from llmpolicy.endpoint import Endpoint
from llmpolicy.rewards import RewardError, Score, reward

from ._judges.canaries import canaries_of, judged, value_of
from ._judges.questionnaire import (
    TEMPLATE,
    Case,
    Criterion,
    Questionnaire,
    candidate_of,
    check_template,
)
from ._text.completion import NoAnswer, ThinkingMarks
from .judge import checked_choices

Aggregate = Literal["weighted", "min", "all"]
_RHYME = {"name": "rhyme", "text": "Does it rhyme?", "choices": {"yes": 1.0, "no": 0.0}}


@reward(
    fails=[
        {
            "completion": text,
            "prompt": "Write a poem.",
            "criteria": [_RHYME],
            "base_url": "http://127.0.0.1:9",
            "model": "none",
            "api_key_env": None,
        }
        for text in ("", ":", "Solution", "<think>roses", "Write a poem.")
    ],
    range=(0, 1),
    timeout=180.0,
    deterministic=False,
    kind="judge",
    settings=("base_url", "model", "api_key_env", "template", "request"),
)
async def score(
    completion: str,
    criteria: Any,
    prompt: str = "",
    answer: Any = None,
    *,
    base_url: str,
    model: str,
    api_key_env: str | None = "OPENAI_API_KEY",
    aggregate: Aggregate = "weighted",
    template: str = TEMPLATE,
    canaries: Sequence[Mapping[str, Any]] | None = None,
    canary_rate: float = 0.05,
    budget: int | None = None,
    concurrency: int = 16,
    max_tokens: int = 1024,
    request: Mapping[str, Any] | None = None,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """What a judge says of each criterion, as a weighted mean, the worst, or 1.0 only when all are
    at their best.

    ``criteria`` is an argument or a column: a list, or JSON text, of ``{name, text, weight: 1,
    choices: [no, yes]}``. Choices are ordered from worst to best and valued evenly from 0 to 1, or
    a mapping to values. What is judged, what raises and how canaries are asked is as in
    ``judge:score``; there are no canaries but those that are given.
    """
    endpoint = Endpoint(
        base_url,
        model,
        api_key_env=api_key_env,
        budget=budget,
        concurrency=concurrency,
        max_tokens=max_tokens,
    )
    check_template(template, "rubric:score")
    if aggregate not in get_args(Aggregate):
        raise RewardError(
            f"rubric:score got aggregate {aggregate!r}; expected"
            f" {' or '.join(get_args(Aggregate))}."
        )
    asked = criteria_of(criteria)
    text = "Judge the candidate by each criterion:\n" + "\n".join(
        f"{one.name}: {one.text}" for one in asked
    )
    form = Questionnaire(endpoint, asked, text, template, request or {})
    known = canaries_of(canaries or [], "rubric:score")
    reference = None if answer is None else str(answer)
    try:
        candidate = candidate_of(completion, prompt, reference, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=f"the judge was not asked: {reason}")
    told, why = await judged(form, Case(prompt, candidate, reference), known, canary_rate)
    parsed = ", ".join(f"{name}: {choice}" for name, choice in told.items())
    return Score(put_together(asked, told, aggregate), parsed=parsed, why=why)


def put_together(
    criteria: Sequence[Criterion], told: Mapping[str, str], aggregate: Aggregate
) -> float:
    """One value from 0 to 1 for the choices made."""
    values = [criterion.choices[told[criterion.name]] for criterion in criteria]
    if aggregate == "weighted":
        return value_of(criteria, told)
    if aggregate == "min":
        return min(values)
    return float(
        all(value == max(one.choices.values()) for value, one in zip(values, criteria, strict=True))
    )


def criteria_of(rows: Any) -> list[Criterion]:
    """The criteria of a rubric; RewardError for a rubric that is none."""
    if isinstance(rows, str):
        try:
            rows = json.loads(rows)
        except ValueError as error:
            raise RewardError(f"rubric:score got criteria that are no JSON: {error}.") from None
    if (
        not isinstance(rows, Sequence)
        or not rows
        or not all(isinstance(row, Mapping) for row in rows)
    ):
        raise RewardError(
            f"rubric:score got the criteria {rows!r:.80}; expected a list of mappings with name and"
            " text."
        )
    # Columns of a dataset fill what a row lacks with None.
    found = [
        _criterion({key: value for key, value in row.items() if value is not None}) for row in rows
    ]
    if len({criterion.name for criterion in found}) < len(found):
        raise RewardError("rubric:score got two criteria of the same name.")
    return found


def _criterion(row: Mapping[str, Any]) -> Criterion:
    name, text, weight = row.get("name"), row.get("text"), row.get("weight", 1.0)
    named = (
        isinstance(name, str)
        and name.isprintable()
        and name == name.strip()
        and name
        and ":" not in name
    )
    weighed = isinstance(weight, int | float) and 0 < weight < float("inf")
    if (
        not named
        or not isinstance(text, str)
        or not weighed
        or set(row) - {"name", "text", "weight", "choices"}
    ):
        raise RewardError(
            f"rubric:score got the criterion {row!r:.100}; expected name (without a colon), text,"
            " and perhaps a weight above 0 and choices."
        )
    choices = row.get("choices") or ["no", "yes"]
    if isinstance(choices, Sequence) and not isinstance(choices, str):
        choices = {choice: i / max(1, len(choices) - 1) for i, choice in enumerate(choices)}
    return Criterion(str(name), checked_choices(choices, "rubric:score"), text, float(weight))
