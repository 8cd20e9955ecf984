"""What a manifest says of a recipe: where its functions come from, by hash, and what the reward
adds up to.
"""

from collections.abc import Mapping
from typing import Any

from llmpolicy.plan.plan import Plan
from llmpolicy.plan.reward import rewarded_tasks
from llmpolicy.recipe import Recipe
from llmpolicy.rewards import describe
from llmpolicy.rewards.compose import facts as composition_facts


def reward_facts(plan: Plan) -> dict[str, Any]:
    """Each reward's name, weight, role, arguments, file and hash, and what they add up to."""
    recipe, rewards = plan.recipe, plan.rewards
    facts = []
    for block, name in zip(recipe.reward_functions, rewards.names, strict=True):
        term = rewards.composition.term_of[name]
        how: dict[str, Any] = {"weight": term.weight, "role": term.role}
        if name != term.name:
            how["within"] = term.name
        facts.append(_function(recipe, block.fn, how, block.args))
    if recipe.evaluate and recipe.evaluate.correct:
        # No weight: it only judges the evaluation.
        facts.append(
            _function(recipe, recipe.evaluate.correct, {"weight": None}, recipe.evaluate.args)
        )
    composition = composition_facts(rewards.composition, rewarded_tasks(recipe))
    return {"rewards": facts, "composition": composition}


def _function(
    recipe: Recipe, fn: Any, how: Mapping[str, Any], args: Mapping[str, Any]
) -> dict[str, Any]:
    asked = {"fn": str(fn), **how, "args": recipe.portable(args, named=True)}
    return {**asked, **describe(fn, recipe.base_dir)}


def task_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """The file and hash of each function that a task calls."""
    functions = [fn for task in recipe.every_task for fn in (task.generator, task.canonical)]
    return [
        {"fn": getattr(fn, "__name__", str(fn)), **describe(fn, recipe.base_dir)}
        for fn in functions
        if callable(fn) or (fn and ":" in fn)
    ]


def function_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """The file and hash of each other function that a recipe is carried out with, and its key."""
    return [_function(recipe, fn, {"key": key}, args) for key, fn, args in recipe.functions]
