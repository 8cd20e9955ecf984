"""The reward of a recipe: its functions read and inspected, and what they add up to, in words and
for a manifest, which says by hash where functions come from.
"""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.plan.looks import look_lines
from llmpolicy.plan.weights import from_recipe
from llmpolicy.recipe import Grpo, Recipe, RewardBlock
from llmpolicy.rewards import Rewards, RewardSpec, describe
from llmpolicy.rewards.compose import NORMALISED, sentences
from llmpolicy.rewards.compose import facts as composition_facts

if TYPE_CHECKING:
    from llmpolicy.plan.plan import Plan

SCORER = "reward_model:score"


def build_rewards(recipe: Recipe) -> Rewards:
    """The rewards of a recipe, found and inspected, and their composition checked."""

    placed = partial(_placed_args, recipe=recipe)
    return Rewards(
        [block.with_args(placed).mapping() for block in recipe.rewards],
        recipe.base_dir,
        tasks=rewarded_tasks(recipe),
        allow_inversion=recipe.allow_inversion,
        written_at=recipe.written_at,
    )


def build_truth(recipe: Recipe) -> Rewards | None:
    """The verifier that never trains, read as an entry of the reward is; None where there is
    none.
    """
    if recipe.truth is None:
        return None
    entry = recipe.truth.with_args(partial(_placed_args, recipe=recipe))
    return Rewards([entry.mapping()], recipe.base_dir, written_at=partial(_in_truth, recipe))


def _in_truth(recipe: Recipe, key: str) -> str:
    """What wrote a key of the one entry of ``truth``."""
    return recipe.written_at(key.replace("rewards.0", "truth", 1))


def build_correct(recipe: Recipe, truth: Rewards | None) -> Rewards | None:
    """The one function that says which held-out answers are right, the truth where no other is
    named; None without an evaluate block.
    """
    settings, base = recipe.evaluate, recipe.base_dir
    if settings is None or settings.correct is None:
        return truth
    args = _placed_model(settings.correct, settings.args, base)
    return Rewards([RewardSpec(settings.correct, 1.0, args, "correct")], base)


def rewarded_tasks(recipe: Recipe) -> list[str]:
    """The tasks that the reward is for: those of training, and the held-out one where a reward
    names it.
    """
    named = set(chain.from_iterable(block.tasks or () for block in recipe.rewards))
    labels = [task.label for task in recipe.task]
    labels += (task.label for task in recipe.every_task if task.label in named)
    return list(dict.fromkeys(labels))


def _placed_args(block: RewardBlock, recipe: Recipe) -> dict[str, Any]:
    return _placed_model(block.fn, block.args, recipe.base_dir)


def _placed_model(fn: Any, args: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """A function's arguments, in which a reward model's folder starts from where every path of a
    recipe does.
    """
    if not isinstance(fn, str) or not fn.endswith(SCORER) or not isinstance(args.get("model"), str):
        return dict(args)
    return {**args, "model": from_recipe(args["model"], base)}


def reward_lines(plan: "Plan") -> list[str]:
    """The reward as a formula, what right and wrong answers can get, and what is worth knowing
    about it.
    """
    recipe, composition, last = plan.recipe, plan.rewards.composition, plan.stages[-1]
    lines: list[str] = []
    if plan.rewards.components:
        lines += sentences(composition, rewarded_tasks(recipe))
    if isinstance(last, Grpo) and sum(map(bool, composition.weights)) > 1:
        how = last.settings.get("multi_objective_aggregation")
        if how == "normalize_then_sum":
            lines.append(f"note: {NORMALISED}")
    for task in recipe.task:
        if task.prefill:
            where = "messages" if task.chat else "prompt"
            lines.append(
                f"note: task {task.label}: `completion` is what the model writes after the prefill"
                f" {task.prefill!r:.60}; for a reward {where} ends with it (json_answer reads both"
                " together)"
            )
    return [*lines, *look_lines(plan)]


def reward_facts(plan: "Plan") -> dict[str, Any]:
    """Each reward's name, weight, role, arguments, file and hash, and what they add up to."""
    recipe, rewards = plan.recipe, plan.rewards
    facts = []
    for block, name in zip(recipe.reward_functions, rewards.names, strict=True):
        term = rewards.composition.term_of[name]
        how: dict[str, Any] = {"weight": term.weight, "role": term.role}
        if name != term.name:
            how["within"] = term.name
        facts.append(_function(recipe, block.fn, how, block.args))
    # No weight: they only judge held-out answers.
    facts += [_function(recipe, each.fn, {"weight": None}, each.args) for each in recipe.verifiers]
    composition = composition_facts(rewards.composition, rewarded_tasks(recipe))
    return {"rewards": facts, "composition": composition}


def _function(
    recipe: Recipe, fn: Any, how: Mapping[str, Any], args: Mapping[str, Any]
) -> dict[str, Any]:
    asked = {"fn": str(fn), **how, "args": recipe.portable(args, named=True)}
    return asked | describe(fn, recipe.base_dir)


def task_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """The file and hash of each function that a task calls."""
    facts = []
    for task in recipe.every_task:
        for fn in (task.generator, task.canonical):
            if callable(fn) or (fn and ":" in fn):
                name = getattr(fn, "__name__", str(fn))
                facts.append({"fn": name, **describe(fn, recipe.base_dir)})
    return facts


def function_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """The file and hash of each other function that a recipe is carried out with, and its key."""
    return [_function(recipe, fn, {"key": key}, args) for key, fn, args in recipe.functions]
