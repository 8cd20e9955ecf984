"""A rule first, and a judge for what the rule does not settle."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args

from llmpolicy.rewards import RewardError, RewardSpec, Sample, Score, reward
from llmpolicy.rewards.contract import Component, offered_single
from llmpolicy.rewards.verdict import as_score

from ._judges.asking import NOBODY
from .judge import score as judged

Asks = Literal["unpaid", "unread"]


_ASKED: dict[str, Any] = {
    "answer": "42",
    "rule": "math_answer:correct",
    "base_url": NOBODY["base_url"],
    "model": "none",
    "prompt": "What is 6 * 7?",
    "judge": {"api_key_env": None},
}


@reward(
    passes=[{"completion": "Answer: 42", **_ASKED}],
    fails=[{"completion": text, **_ASKED} for text in ("", ":", "Thought process:", "<think>42")],
    range=(0, 1),
    timeout=180.0,
    deterministic=False,
    kind="judge",
    settings=("rule", "rule_args", "base_url", "model", "judge", "api_key_env"),
)
async def score(
    completion: str,
    prompt: str = "",
    answer: Any = None,
    *,
    rule: str,
    base_url: str,
    model: str,
    rule_args: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
    asks: Asks = "unpaid",
    **columns: Any,
) -> Score:
    """What the rule pays where that is the top of its range; else what `judge:score` says, which is
    then asked.

    ``rule`` is a reward such as ``math_answer:correct`` (shipped, importable, or an absolute path),
    with its ``rule_args``; it is bound to the row's columns as in a recipe. ``judge`` holds the
    other arguments of `judge:score`. With ``asks: unread`` the judge is asked only where the rule
    gives None, so that a verdict of wrong stands. Raises as `judge:score` does, and RewardError for
    a rule that cannot be called.
    """
    if asks not in get_args(Asks):
        raise RewardError(
            f"rule_then_judge:score got asks {asks!r}; expected"
            f" {' or '.join(map(repr, get_args(Asks)))}."
        )
    spec = RewardSpec(rule, args=rule_args or {})
    settled, ruled = await _ruled(spec, completion, prompt, {**columns, "answer": answer})
    if settled or (asks == "unread" and ruled.value is not None):
        return Score(ruled.value, parsed=ruled.parsed, why=f"by {rule}: {ruled.why or 'right'}")
    try:
        verdict = await judged(
            completion, prompt, answer, base_url=base_url, model=model, **(judge or {})
        )
    except TypeError as error:
        raise RewardError(
            f"rule_then_judge:score got judge {dict(judge or {})!r:.80}: {error}."
        ) from error
    why = f"by the judge ({rule}: {ruled.why or 'not paid'}) {verdict.why}".strip()
    return Score(verdict.value, parsed=verdict.parsed, why=why)


async def _ruled(
    spec: RewardSpec, completion: str, prompt: str, columns: Mapping[str, Any]
) -> tuple[bool, Score]:
    """Whether the rule pays the top of its range, and what it says."""
    rule = Component.of(spec)
    rule.check(columns)
    returned = rule.call(rule.chosen(offered_single(Sample(completion, columns, prompt)), columns))
    if inspect.isawaitable(returned):
        returned = await returned
    score = as_score(returned, rule.name, 0)
    return score.value is not None and score.value >= (rule.contract.range or (0.0, 1.0))[1], score
