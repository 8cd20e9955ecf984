"""What a recipe means, before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

from llmpolicy import consent
from llmpolicy.plan import RecipeExplanation, plan_recipe, reward_lines, written_values
from llmpolicy.plan.ways import foreseen_ways
from llmpolicy.plan.weights import loaded_weights
from llmpolicy.recipe import Grpo, Reinforce, load_recipe, missing_packages
from llmpolicy.stages.rest import paid


def explain_recipe(
    name: str,
    overrides: Sequence[str] = (),
    *,
    target: str = "cpu",
    processes: int = 1,
    yes: bool = False,
) -> RecipeExplanation:
    """The explanation of a recipe file (or bundled recipe), with the rows counted that GRPO trains
    on.

    ``yes`` lets it run rewards and generators that have not run here before; see
    `llmpolicy.consent`.
    """
    recipe = load_recipe(name, overrides)
    consent.need(f"explaining {name}", recipe.model_dump(), recipe.base_dir, yes=yes)
    folder = recipe.run or Path(recipe.name)
    plan = plan_recipe(paid(recipe, folder), processes=processes, target=target)
    last = plan.stages[-1]
    if isinstance(last, Reinforce):
        from llmpolicy.stages.reinforce import check_settings  # which loads torch

        check_settings(last, len(plan.train_rows), plan.recipe.base_dir)
    reward = reward_lines(plan) if plan.rewards.components else []
    values, missing = tuple(written_values(recipe)), tuple(missing_packages(recipe))
    ways: dict[str, str] = {}
    if isinstance(last, Grpo | Reinforce):
        grpo = plan.explanation
        settings = None if grpo is None else {value.name: value.value for value in grpo.values}
        ways = foreseen_ways(loaded_weights(recipe), settings, processes)
    return RecipeExplanation(values, plan.explanation, tuple(reward), missing, ways)
