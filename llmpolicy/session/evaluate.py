"""Evaluation of a run, a model or an adapter on the held-out prompts of a recipe."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy import consent
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.plan import (
    Plan,
    build_policy,
    evaluated_length,
    fit_held_out,
    loaded_weights,
    plan_recipe,
    policy_at,
    require_sandbox,
)
from llmpolicy.recipe import Play, Recipe, load_recipe, stages_of
from llmpolicy.rewards.printed import printed
from llmpolicy.run import Run, facts_of
from llmpolicy.stages.folders import after_stages
from llmpolicy.stages.process import Say, by_itself, placed, target
from llmpolicy.stages.reinforce import evaluate_environment
from llmpolicy.stages.sources import (
    refuse_changes,
    refuse_damaged_arguments,
    refuse_other_base,
    source_facts,
)
from llmpolicy.tasks import check_disjoint
from llmpolicy.terminal import quiet, tell

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def evaluate_policy(
    made: Plan, policy: "CausalLMPolicy", *, start: "CausalLMPolicy | None" = None, say: Say = tell
) -> dict[str, Any]:
    """Held-out accuracy of a policy beside the one it started from, printed and in the form of
    evaluation.json.
    """
    from llmpolicy.evaluation import evaluate, examples, table

    recipe, settings = made.recipe, made.recipe.evaluate
    assert settings is not None and made.correct is not None
    result = evaluate(
        policy,
        made.held_out,
        made.correct,
        threshold=settings.threshold,
        samples=settings.samples,
        rewards=made.rewards,
        batch_size=settings.batch_size,
        seed=recipe.seed,
        base=start or _other_weights(recipe, policy),
        recipe_hash=recipe.hash(),
        max_new_tokens=evaluated_length(recipe),
    )
    say(table(result))
    say(examples(result))
    return result.to_dict()


def start_of(recipe: Recipe, policy: "CausalLMPolicy") -> Any:
    """The policy that training started from, the trained one without its adapter included."""
    from llmpolicy.evaluation.answers import WithoutAdapter

    return _other_weights(recipe, policy) or WithoutAdapter(policy)


def _other_weights(recipe: Recipe, policy: "CausalLMPolicy") -> "CausalLMPolicy | None":
    """The policy that training started from; None for a fresh adapter, which is measured without it
    instead.
    """
    if recipe.model is None or (policy.is_adapter and recipe.model.adapter is None):
        return None
    return build_policy(recipe, base_only=recipe.model.adapter is None).to(policy.device)


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
    others = [text for text in overrides if "=" not in text]
    if others:
        raise RecipeError(
            f"evaluate measures one model or run at a time, found {model!r} and"
            f" {', '.join(map(repr, others))}; run it once for each, on the same held-out prompts"
            " (--json FILE keeps a result)"
        )
    run = Run.open(model) if (Path(model) / "manifest.json").is_file() else None
    if recipe_name is None and run is None:
        found = f"{model} is not a run" if Path(model).exists() else f"there is no run at {model}"
        raise RecipeError(
            f"{found}; for a model name the recipe whose task it is evaluated on with --recipe"
        )
    recipe = load_recipe(recipe_name or str(Path(model) / "recipe.yaml"), overrides)
    consent.need(f"evaluating {model}", recipe.model_dump(), recipe.base_dir, yes=yes)
    last = stages_of(recipe)[-1]
    if isinstance(last, Play):
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
    if run is not None and (recipe.sft is not None or recipe.reward_model is not None):
        recipe = after_stages(recipe.within(run.path), run.path, dry_run=False)
    made = plan_recipe(recipe, target=target())
    require_sandbox(made)
    refuse_damaged_arguments(recipe)
    if run is None and (Path(model) / "adapter_config.json").is_file():
        refuse_other_base(Path(model), loaded_weights(recipe))
    changed = (
        _checked(run, made, accept=accept_changes, yes=yes, say=say) if run is not None else []
    )
    policy = policy_at(run.policy_dir if run else Path(model), recipe)
    made = fit_held_out(made, policy)
    with printed.kept_in(run.path / "rewards.log", say) if run else nullcontext():
        result = evaluate_policy(made, placed(policy), say=say)
    return {**result, "accepted_changes": changed} if changed else result


def _checked(run: Run, made: Plan, *, accept: bool, yes: bool, say: Say) -> list[str]:
    """Refuse damaged weights, files that changed since, and questions that were trained on; the
    changes accepted.
    """
    if (clause := run.damage(run.policy_dir)) and facts_of(run.policy_dir):
        raise RunError(
            f"{run.policy_dir} is damaged ({clause}); train with --resume writes it anew from the"
            " last checkpoint"
        )
    own = load_recipe(
        str(run.path / "recipe.yaml"), remote_code=True
    )  # its model is loaded by ``made``
    consent.need(f"evaluating {run.path}", own.model_dump(), own.base_dir, yes=yes)
    same = (own.task, own.seed, own.evaluate) == (
        made.recipe.task,
        made.recipe.seed,
        made.recipe.evaluate,
    )
    mine = made if same else plan_recipe(own)
    now = source_facts(replace(mine, recipe=made.recipe))
    changed = refuse_changes(run, now, accept=accept, say=say)
    if (
        not same
    ):  # what a run was trained on is no evidence: a larger or another held-out part may contain it
        check_disjoint(mine.train_rows, made.held_out)
    return changed
