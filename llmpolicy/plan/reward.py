"""The reward of a recipe: its functions read and inspected, and what they add up to, in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.plan.weights import from_recipe
from llmpolicy.recipe import Grpo, Recipe, RewardBlock, stages_of
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.rewards.compose import NORMALISED, sentences
from llmpolicy.tasks import TaskSpec

SCORER = "reward_model:score"


def build_rewards(recipe: Recipe) -> Rewards:
    """The rewards of a recipe, found and inspected, and their composition checked."""

    def placed(block: RewardBlock) -> dict[str, Any]:
        return _placed_model(block.fn, block.args, recipe.base_dir)

    return Rewards(
        [block.with_args(placed).mapping() for block in recipe.rewards],
        recipe.base_dir,
        tasks=rewarded_tasks(recipe),
        allow_inversion=recipe.allow_inversion,
        written_at=recipe.written_at,
    )


def build_correct(recipe: Recipe) -> Rewards | None:
    """The one function that says which held-out answers are right, or None without an evaluate
    block.
    """
    settings, base = recipe.evaluate, recipe.base_dir
    if settings is None or settings.correct is None:
        return None
    args = _placed_model(settings.correct, settings.args, base)
    return Rewards([RewardSpec(settings.correct, 1.0, args, "correct")], base)


def rewarded_tasks(recipe: Recipe) -> list[str]:
    """The tasks that the reward is for: those of training, and the held-out one where a reward
    names it.
    """
    named = {task for block in recipe.rewards for task in block.tasks or ()}
    trained = [task.label for task in recipe.task]
    held_out = [task.label for task in recipe.every_task if task.label in named]
    return list(dict.fromkeys([*trained, *held_out]))


def _placed_model(fn: Any, args: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """A function's arguments, in which a reward model's folder starts from where every path of a
    recipe does.
    """
    if not isinstance(fn, str) or not fn.endswith(SCORER) or not isinstance(args.get("model"), str):
        return dict(args)
    return {**args, "model": from_recipe(args["model"], base)}


def reward_sentences(recipe: Recipe, rewards: Rewards) -> list[str]:
    """The reward as a formula, what right and wrong answers can get, and what is worth knowing
    about it.
    """
    composition, last = rewards.composition, stages_of(recipe)[-1]
    lines = sentences(composition, rewarded_tasks(recipe)) if rewards.components else []
    how = last.settings.get("multi_objective_aggregation") if isinstance(last, Grpo) else None
    if how == "normalize_then_sum" and sum(map(bool, composition.weights)) > 1:
        lines = [*lines, f"note: {NORMALISED}"]
    return [*lines, *(_prefill_line(task) for task in recipe.task if task.prefill)]


def _prefill_line(task: TaskSpec) -> str:
    """What a reward reads of an answer that was begun for the model."""
    where = "messages ends with it" if task.chat else "prompt ends with it"
    return (
        f"note: task {task.label}: `completion` is what the model writes after the prefill"
        f" {task.prefill!r:.60}; for a reward {where} (json_answer reads both together)"
    )
