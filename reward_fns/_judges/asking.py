"""What every judge has in common: its options, and the way from a completion to its choices."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llmpolicy.endpoint import Endpoint
from llmpolicy.rewards import Score, reward

from .._text.completion import ThinkingMarks
from .canaries import Canary, canaries_of, judged
from .questionnaire import TEMPLATE, Case, Criterion, Questionnaire, candidate_of, check_template

Judge = Callable[..., Awaitable[Score]]
NOBODY = {"base_url": "http://127.0.0.1:9", "model": "none", "api_key_env": None}
"""An endpoint where nobody listens, for what is paid without being asked about."""


async def ask_judge(
    where: str,
    criteria: Sequence[Criterion],
    criterion: str,
    completion: str,
    prompt: str,
    answer: Any,
    usual: Sequence[Canary] = (),
    *,
    base_url: str,
    model: str,
    api_key_env: str | None = "OPENAI_API_KEY",
    template: str = TEMPLATE,
    canaries: Sequence[Mapping[str, Any]] | None = None,
    canary_rate: float = 0.05,
    budget: int | None = None,
    concurrency: int = 16,
    max_tokens: int = 512,
    request: Mapping[str, Any] | None = None,
    thinking_marks: ThinkingMarks = (),
) -> tuple[dict[str, str], str]:
    """The choice by each criterion, and the canaries' counts in words; raises NoAnswer for a
    completion that no judge needs to see.
    """
    endpoint = Endpoint(
        base_url,
        model,
        api_key_env=api_key_env,
        budget=budget,
        concurrency=concurrency,
        max_tokens=max_tokens,
    )
    check_template(template, where)
    form = Questionnaire(endpoint, criteria, criterion, template, request or {})
    known = usual if canaries is None else canaries_of(canaries, where)
    reference = None if answer is None else str(answer)
    candidate = candidate_of(completion, prompt, reference, thinking_marks)
    return await judged(form, Case(prompt, candidate, reference), known, canary_rate)


def judges(asked: Mapping[str, Any], say_nothing: Sequence[str]) -> Callable[[Judge], Judge]:
    """Declare a reward that asks a judge, but not about texts that say nothing, which get 0.

    It has the options of `ask_judge`, but those it has itself, in the place of its ``**options``.
    """
    declare = reward(
        fails=[{**asked, **NOBODY, "completion": text} for text in say_nothing],
        range=(0, 1),
        timeout=180.0,
        deterministic=False,
        kind="judge",
        settings=("base_url", "model", "api_key_env", "template", "request"),
    )
    return lambda score: declare(_with_options(score))


def _with_options(score: Judge) -> Judge:
    parameters = dict(inspect.signature(score).parameters)
    del parameters["options"]
    for name, option in inspect.signature(ask_judge).parameters.items():
        if option.kind is option.KEYWORD_ONLY:
            parameters.setdefault(name, option)
    score.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return score
