"""A run from beginning to end: plan, load, train, evaluate, keep the record."""

import copy
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.build import Plan, build_policy, fit_rows, plan, policy_at, reward_facts
from llmpolicy.errors import RunError
from llmpolicy.recipe import Recipe, load_recipe, make_recipe
from llmpolicy.run import Run, new_run_path
from llmpolicy.session.evaluate import evaluate_policy
from llmpolicy.session.grpo import train_grpo
from llmpolicy.session.process import Say, is_main, quiet, silent, target, tell, use_threads, world_size
from llmpolicy.session.reinforce import train_environment, train_reinforce
from llmpolicy.tasks.spec import SOURCES

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def train(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *,
    model: Any = None,
    task: Any = None,
    rewards: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    say: Say = tell,
    **blocks: Any,
) -> Run:
    """Train from a recipe, or from its blocks given as arguments, and return the run.

    ``model`` is a path, a Hub id, ``bundled``, a mapping or a CausalLMPolicy; ``task`` a mapping or a list of rows;
    ``rewards`` functions or references; further blocks (``grpo``, ``evaluate``, ``seed`` ...) as in a recipe.
    Raises LLMPolicyError in one sentence for what cannot be run.
    """
    from llmpolicy.policies.causal_lm import CausalLMPolicy

    if isinstance(recipe, (str, Path)):
        return train_recipe(str(recipe), (), out=Path(out) if out else None, resume=resume, say=say)
    policy = model if isinstance(model, CausalLMPolicy) else None
    given = {"model": {"path": policy.name} if policy else model, "task": _task(task), "rewards": rewards}
    data = {**(recipe or {}), **{key: value for key, value in given.items() if value is not None}, **blocks}
    made = make_recipe(data, base_dir=Path.cwd())
    return _train(made, Path(out) if out else None, resume=resume, dry_run=False, say=say, policy=policy)


def _task(task: Any) -> Any:
    """A list of rows, rather than of task blocks, becomes one block that holds them."""
    if isinstance(task, (list, tuple)) and all(
        isinstance(row, Mapping) and not set(SOURCES) & set(row) for row in task
    ):
        return {"rows": [dict(row) for row in task]}
    return task


def train_recipe(
    name: str,
    overrides: Sequence[str],
    *,
    out: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    say: Say = tell,
) -> Run:
    """Train a recipe file (or bundled recipe) with ``key=value`` overrides."""
    return _train(load_recipe(name, overrides), out, resume=resume, dry_run=dry_run, say=say)


def _train(
    recipe: Recipe, out: Path | None, *, resume: bool, dry_run: bool, say: Say, policy: "CausalLMPolicy | None" = None
) -> Run:
    if recipe.environment is not None:
        return train_environment(recipe, out, resume=resume, say=say)
    if resume and out is None:
        raise RunError("--resume needs --out DIR, the run to go on with")
    if out is None and world_size() > 1:
        raise RunError("more than one process trains: name the run's directory with --out DIR, the same for all")
    say = say if is_main() else silent
    made = plan(recipe, processes=world_size(), target=target())
    if dry_run:
        say(str(made.explanation))
        say("dry run: the recipe, its rows, rewards and arithmetic are in order; no model was loaded")
        raise SystemExit(0)
    quiet()
    random.seed(recipe.seed)
    start = copy.deepcopy(policy) if policy and policy.trainable == "full" and recipe.evaluate else None
    policy = policy or _first_policy(recipe, out if resume else None)
    completion = (recipe.grpo or recipe.reinforce or {}).get("max_completion_length", 512)
    policy.max_new_tokens = completion
    use_threads(policy)
    rows = fit_rows(policy, made.train_rows, recipe, completion)
    run = open_run(recipe, out, resume=resume) if is_main() else None
    if recipe.grpo is not None:
        stopped = train_grpo(made, policy, rows, run, out, resume=resume, say=say)
    else:
        stopped = train_reinforce(made, policy, rows, run, resume=resume, say=say)
    if run is None:
        raise SystemExit(0 if stopped is None else 1)
    return close_run(made, policy, run, stopped, say, start)


def _first_policy(recipe: Recipe, resumed: Path | None) -> "CausalLMPolicy":
    """The policy of the recipe; the readable loop goes on from the one in its checkpoint, TRL's trainer loads that itself."""
    if resumed and recipe.reinforce is not None and (checkpoints := Run.open(resumed).checkpoints()):
        return policy_at(checkpoints[-1], recipe)
    return build_policy(recipe)


def open_run(recipe: Recipe, out: Path | None, *, resume: bool) -> Run:
    """Create the run's directory, or claim an existing one to go on with."""
    if resume:
        assert out is not None
        run = Run.resume(out)
        if run.manifest.get("recipe_hash") != recipe.hash():
            run.update_manifest(recipe_changed=sorted(_changed_keys(run.recipe, recipe.resolved())))
        return run
    path = out or new_run_path(recipe.name)
    facts = {"recipe_hash": recipe.hash(), "seed": recipe.seed, "base_dir": str(recipe.base_dir or Path.cwd())}
    facts["world_size"] = world_size()
    return Run.create(path, recipe.resolved(), **facts, rewards=reward_facts(recipe))


def _changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def close_run(
    made: Plan, policy: "CausalLMPolicy", run: Run, stopped: str | None, say: Say, start: "CausalLMPolicy | None" = None
) -> Run:
    """Save the policy, evaluate it beside the one it started from, draw the plot and say where everything lies."""
    from llmpolicy.report.plot import plot_run

    policy.save(run.policy_dir)
    if made.correct is not None and made.recipe.evaluate is not None:
        run.write_evaluation(evaluate_policy(made, policy, start=start, say=say))
    steps = max((line["step"] for line in run.metrics("train")), default=0)
    run.finish("stopped" if stopped else "finished", steps=steps, reason=stopped)
    say(f"plot: {plot_run(run)}")
    say(f"run:  {run.path}")
    return run
