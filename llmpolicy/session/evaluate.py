"""What a recipe means before anything is trained, and how good a run, a model or an adapter is on
its held-out prompts.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmpolicy import consent
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.plan import (
    Plan,
    RecipeExplanation,
    fit_held_out,
    loaded_weights,
    plan_recipe,
    require_sandbox,
    reward_lines,
    written_values,
)
from llmpolicy.plan.ways import foreseen_ways
from llmpolicy.recipe import Grpo, Play, Recipe, Reinforce, load_recipe, missing_packages, stages_of
from llmpolicy.rewards.printed import printed
from llmpolicy.run import Run, facts_of
from llmpolicy.stages.evaluation import evaluate_policy
from llmpolicy.stages.partner import check_environment, dialogue_lines
from llmpolicy.stages.policy import policy_at
from llmpolicy.stages.process import by_itself, placed, target
from llmpolicy.stages.rest import paid, rest_of
from llmpolicy.stages.sources import (
    refuse_changes,
    refuse_damaged_arguments,
    refuse_other_base,
    source_facts,
)
from llmpolicy.tasks import check_disjoint
from llmpolicy.terminal import Say, quiet, tell


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
    reward = tuple(reward_lines(plan)) if plan.rewards.components else ()
    check_environment(recipe, [*plan.train_rows, *plan.held_out])
    values, missing = tuple(written_values(recipe)), tuple(missing_packages(recipe))
    ways: dict[str, str] = {}
    if isinstance(last, Grpo | Reinforce):
        grpo = plan.explanation
        settings = None if grpo is None else {value.name: value.value for value in grpo.values}
        ways = foreseen_ways(loaded_weights(recipe), settings, processes)
    dialogue = tuple(dialogue_lines(recipe))
    return RecipeExplanation(values, plan.explanation, reward, missing, ways, dialogue)


@by_itself()
def evaluate_model(
    model: str,
    recipe_name: str | None = None,
    overrides: Sequence[str] = (),
    say: Say = tell,
    *,
    accept_changes: bool = False,
    yes: bool = False,
) -> dict[str, Any]:
    """Evaluate a run, a model folder, an adapter, a merged model or a Hub id on a recipe's held-out
    prompts.

    A run whose files changed since it was made is refused, unless the changes are accepted; code of
    it or of the recipe that has not run here before is asked for, unless it is allowed by ``yes``.
    """
    folder = Path(model)
    run = Run.open(folder) if (folder / "manifest.json").is_file() else None
    recipe = _recipe_for(model, recipe_name, overrides, run)
    consent.need(f"evaluating {model}", recipe.model_dump(), recipe.base_dir, yes=yes)
    last = stages_of(recipe)[-1]
    if isinstance(last, Play):
        from llmpolicy.stages.environment import evaluate_environment  # which loads torch

        return evaluate_environment(run, recipe, last, say)
    if recipe.evaluate is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has no evaluate block: write `evaluate: {{correct:"
            " module:function}`"
        )
    if run is not None and not run.policy_dir.is_dir():
        state = run.manifest.get("status", "unknown")
        instead = "go on with it by --resume" if run.checkpoints() else "train it anew"
        raise RunError(f"{model} has no policy to evaluate (the run's status: {state}); {instead}")
    quiet()
    if run is not None:
        recipe = rest_of(recipe.within(run.path), run.path)
    plan = plan_recipe(recipe, target=target())
    require_sandbox(plan)
    refuse_damaged_arguments(recipe)
    if run is None and (folder / "adapter_config.json").is_file():
        refuse_other_base(folder, loaded_weights(recipe))
    changed: list[str] = []
    log: AbstractContextManager[None] = nullcontext()  # what rewards print is shown
    if run is not None:
        changed = _checked(run, plan, accept=accept_changes, yes=yes, say=say)
        folder, log = run.policy_dir, printed.kept_in(run.path / "rewards.log", say)
    policy = policy_at(folder, recipe)
    plan = fit_held_out(plan, policy)
    with log:
        result = evaluate_policy(plan, placed(policy), say=say).to_dict()
    return {**result, "accepted_changes": changed} if changed else result


def _recipe_for(
    model: str, recipe_name: str | None, overrides: Sequence[str], run: Run | None
) -> Recipe:
    """The recipe that a model is evaluated on, by default that of its run."""
    more = [repr(text) for text in overrides if "=" not in text]
    if more:
        raise RecipeError(
            f"evaluate measures one model or run at a time, found {model!r} and"
            f" {', '.join(more)}; run it once for each, on the same held-out prompts (--json FILE"
            " keeps a result)"
        )
    if recipe_name is None and run is None:
        why = f"{model} is not a run" if Path(model).exists() else f"there is no run at {model}"
        raise RecipeError(
            f"{why}; for a model name the recipe whose task it is evaluated on with --recipe"
        )
    return load_recipe(recipe_name or str(Path(model) / "recipe.yaml"), overrides)


def _checked(run: Run, plan: Plan, *, accept: bool, yes: bool, say: Say) -> list[str]:
    """Refuse damaged weights, files that changed since, and questions that were trained on; the
    changes accepted.
    """
    if (clause := run.damage(run.policy_dir)) and facts_of(run.policy_dir):
        raise RunError(
            f"{run.policy_dir} is damaged ({clause}); train with --resume writes it anew from the"
            " last checkpoint"
        )
    # The model of the recipe is loaded by the plan.
    kept = load_recipe(str(run.path / "recipe.yaml"), remote_code=True)
    consent.need(f"evaluating {run.path}", kept.model_dump(), kept.base_dir, yes=yes)
    recipe = plan.recipe
    same = (kept.task, kept.seed, kept.evaluate) == (recipe.task, recipe.seed, recipe.evaluate)
    trained = plan if same else plan_recipe(kept)
    now = source_facts(replace(trained, recipe=recipe))
    changed = refuse_changes(run, now, accept=accept, say=say)
    if not same:
        # What was trained on is no evidence: a larger or another held-out part may contain it.
        check_disjoint(trained.train_rows, plan.held_out)
    return changed
