"""A language model as the judge of one completion, behind any OpenAI-compatible endpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpolicy.endpoint import Endpoint
from llmpolicy.rewards import RewardError, Score, reward

from ._judges.canaries import ARITHMETIC, canaries_of, judged
from ._judges.questionnaire import (
    TEMPLATE,
    Case,
    Criterion,
    Questionnaire,
    candidate_of,
    check_template,
)
from ._text.completion import NoAnswer, ThinkingMarks

CRITERION = (
    "Is the candidate a correct and complete answer to the question? Compare its final answer with"
    " the reference answer where there is one. An answer that only talks about the question is"
    " incorrect."
)
CHOICES: Mapping[str, float] = {"correct": 1.0, "incorrect": 0.0}


@reward(
    fails=[
        {
            "completion": text,
            "prompt": "What is 6 * 7?",
            "answer": "42",
            "base_url": "http://127.0.0.1:9",
            "model": "none",
        }
        | {"api_key_env": None}
        for text in ("", ":", "Thought process:", "<think>42", "What is 6 * 7?")
    ],
    range=(0, 1),
    timeout=180.0,
    deterministic=False,
    kind="judge",
    settings=("base_url", "model", "api_key_env", "template", "request"),
)
async def score(
    completion: str,
    prompt: str = "",
    answer: Any = None,
    *,
    base_url: str,
    model: str,
    api_key_env: str | None = "OPENAI_API_KEY",
    criterion: str = CRITERION,
    choices: Mapping[str, float] | None = None,
    template: str = TEMPLATE,
    canaries: Sequence[Mapping[str, Any]] | None = None,
    canary_rate: float = 0.05,
    budget: int | None = None,
    concurrency: int = 16,
    max_tokens: int = 512,
    request: Mapping[str, Any] | None = None,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """The value of the choice that a judge makes for the text after the last closed think; 0.0
    unasked for what says nothing.

    The judge sees the prompt as the question, the column ``answer`` as the reference where there is
    one, and the criterion. ``choices`` maps each verdict to a value from 0 to 1. With every
    1/canary_rate-th question of a process a canary is asked too; ``Score.why`` tells its counts. A
    custom criterion needs ``canaries`` of its own (prompt, completion, good). Raises EndpointError
    or JudgeError when there is no verdict, which is no fault of the model; RewardError for wrong
    arguments, a missing key, a spent budget, and a judge that misjudges too many canaries. See
    `Endpoint`.
    """
    endpoint = Endpoint(
        base_url,
        model,
        api_key_env=api_key_env,
        budget=budget,
        concurrency=concurrency,
        max_tokens=max_tokens,
    )
    check_template(template, "judge:score")
    asked = Criterion("verdict", checked_choices(choices or CHOICES, "judge:score"))
    form = Questionnaire(endpoint, [asked], criterion, template, request or {})
    known = (
        ARITHMETIC
        if (criterion, asked.choices) == (CRITERION, CHOICES) and canaries is None
        else canaries or []
    )
    known = known if known is ARITHMETIC else canaries_of(known, "judge:score")  # type: ignore[arg-type]
    reference = None if answer is None else str(answer)
    try:
        candidate = candidate_of(completion, prompt, reference, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=f"the judge was not asked: {reason}")
    told, why = await judged(form, Case(prompt, candidate, reference), known, canary_rate)
    return Score(asked.choices[told["verdict"]], parsed=told["verdict"], why=why)


def checked_choices(choices: Mapping[str, float], where: str) -> dict[str, float]:
    """The choices and their values; RewardError unless there are two or more short names with
    values from 0 to 1.
    """
    told = dict(choices) if isinstance(choices, Mapping) else {}
    sound = all(
        isinstance(name, str)
        and name == name.strip()
        and 0 < len(name) < 60
        and name.isprintable()
        and name != "CHOICE"
        for name in told
    ) and all(isinstance(value, int | float) and 0 <= value <= 1 for value in told.values())
    if len(told) < 2 or not sound:
        raise RewardError(
            f"{where} got the choices {choices!r:.100}; expected two or more names with values from"
            " 0 to 1."
        )
    return {name: float(value) for name, value in told.items()}
