"""The rows of a plan that a policy has room for."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmpolicy.errors import RecipeError
from llmpolicy.plan.plan import Plan, explained
from llmpolicy.plan.weights import completion_length, evaluated_length
from llmpolicy.recipe import Recipe
from llmpolicy.tasks import Row, within

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def fit(plan: Plan, policy: "CausalLMPolicy", *, processes: int = 1, target: str = "cpu") -> Plan:
    """The plan with the rows whose prompt and completion fit the context (and
    ``max_prompt_tokens``), the rest counted.

    Raises TaskError or RecipeError when too few are left to train on.
    """
    recipe = plan.recipe
    train = _fitting(policy, plan.train_rows, recipe, completion_length(recipe), "training")
    explanation = plan.explanation
    if len(train) < len(plan.train_rows):
        explanation = explained(recipe, train, processes, target)
    return fit_held_out(replace(plan, train_rows=train, explanation=explanation), policy)


def fit_held_out(plan: Plan, policy: "CausalLMPolicy") -> Plan:
    """The plan with the held-out rows whose prompt and completion fit, the rest counted."""
    if not plan.held_out:
        return plan
    length = evaluated_length(plan.recipe)
    return replace(plan, held_out=_fitting(policy, plan.held_out, plan.recipe, length, "held-out"))


def _fitting(
    policy: "CausalLMPolicy", rows: Sequence[Row], recipe: Recipe, completion: int, side: str
) -> Sequence[Row]:
    context = policy.context or 10**9
    limit = min(recipe.max_prompt_tokens or context, context - completion)
    if limit < 1:
        raise RecipeError(
            f"max_completion_length={completion} leaves no room for a prompt in the model's context"
            f" of {context} tokens"
        )
    begun = [row.prompt for row in rows if row.prompt]
    if not begun:  # an environment says what comes first
        return rows
    lengths = [len(ids) for ids in policy.encode(begun)]
    kept = within(rows, lengths, limit, recipe.over_long)
    if len(kept) < len(rows):
        logging.getLogger("llmpolicy").warning(
            "%d of %d %s prompts above %d tokens dropped",
            len(rows) - len(kept),
            len(rows),
            side,
            limit,
        )
    return kept
