"""Where the stages before GRPO leave what they made, and what a recipe is after them."""

from functools import partial
from pathlib import Path
from typing import Any

from llmpolicy.plan import SCORER
from llmpolicy.recipe import PreferenceModel, Recipe, RewardBlock, WarmStart, stages_of
from llmpolicy.recipe.stages import LEARNS_FROM
from llmpolicy.run.place import REPORTS


def has_stage(recipe: Recipe, kind: type) -> bool:
    """Whether a recipe has a stage of this kind."""
    return any(isinstance(stage, kind) for stage in stages_of(recipe))


def paid(recipe: Recipe, out: Path) -> Recipe:
    """The recipe that is paid by the reward model which is trained in ``out``, if it trains one."""
    if not has_stage(recipe, PreferenceModel):
        return recipe
    folder = str((out / REPORTS["reward_model"]).parent.resolve())
    rewards = [block.with_args(partial(_paid_by, folder)) for block in recipe.rewards]
    return recipe.model_copy(update={"rewards": rewards})


def rest_of(recipe: Recipe, out: Path) -> Recipe:
    """The recipe of what comes after the stages in ``out``: it starts from the warm start, and is
    paid by the reward model that was trained. Of stages alone nothing is left, and they stay.
    """
    stages, changes = stages_of(recipe), dict[str, Any]()
    if stages[-1].name not in LEARNS_FROM:
        changes |= dict.fromkeys((*LEARNS_FROM, *LEARNS_FROM.values()))
    for stage in stages:
        if isinstance(stage, WarmStart):
            name = stage.model.hub_id or stage.model.path
            folder = str((out / REPORTS["sft"]).parent.resolve())
            note = f"{name} after supervised training on demonstrations"
            changes["model"] = stage.model.elsewhere(folder, note)
    return paid(recipe, out).model_copy(update=changes)


def _paid_by(path: str, block: RewardBlock) -> dict[str, Any]:
    """A function's arguments, in which the reward model that was trained scores."""
    return {"model": path, **block.args} if block.fn == SCORER else block.args
