"""Where the stages before GRPO leave what they made, and what a recipe is after them."""

from functools import partial
from pathlib import Path
from typing import Any

from llmpolicy.plan import SCORER
from llmpolicy.recipe import ModelBlock, Recipe, RewardBlock

REPORTS = {
    "sft": Path("warm_start") / "warm_start.json",
    "reward_model": Path("reward_model") / "reward_model.json",
}
"""What a stage writes last, from the run's directory: a stage with its report is whole."""


def paid(recipe: Recipe, out: Path) -> Recipe:
    """The recipe that is paid by the reward model which is trained in ``out``, if it trains one."""
    if recipe.reward_model is None:
        return recipe
    folder = str((out / REPORTS["reward_model"]).parent.resolve())
    rewards = [block.with_args(partial(_paid_by, folder)) for block in recipe.rewards]
    return recipe.model_copy(update={"rewards": rewards})


def rest_of(recipe: Recipe, out: Path) -> Recipe:
    """The recipe of what comes after the stages in ``out``: it starts from the warm start, and is
    paid by the reward model that was trained.
    """
    changes: dict[str, Any] = dict.fromkeys(
        ("demonstrations", "sft", "preferences", "reward_model")
    )
    if recipe.sft is not None and recipe.model is not None:
        name = recipe.model.hub_id or recipe.model.path
        start = {
            "path": str((out / REPORTS["sft"]).parent.resolve()),
            "hub_id": None,
            "revision": None,
            "adapter": None,
            "note": f"{name} after supervised training on demonstrations",
        }
        changes["model"] = ModelBlock(**{**recipe.model.model_dump(), **start})
    return paid(recipe, out).model_copy(update=changes)


def _paid_by(path: str, block: RewardBlock) -> dict[str, Any]:
    """A function's arguments, in which the reward model that was trained scores."""
    return {"model": path, **block.args} if block.fn == SCORER else block.args
