"""The REINFORCE part of a run: small policies in environments, and a language model on its task, by the same loop."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.build import Plan
from llmpolicy.errors import RunError
from llmpolicy.recipe import Recipe
from llmpolicy.run import Run, new_run_path
from llmpolicy.session.process import Say

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy

LANGUAGE_KEYS = ("prompts", "group_size", "max_completion_length", "temperature")
"""What a language model's ``reinforce:`` block says besides the settings of the loop."""


def train_reinforce(
    made: Plan, policy: "CausalLMPolicy", rows: Sequence[Any], run: Run | None, *, resume: bool, say: Say
) -> str | None:
    """Train a language model by the readable loop; returns why it stopped early, or None."""
    from llmpolicy.environments.prompts import PromptEnvironment

    block = made.recipe.reinforce or {}
    sizes = {key: block[key] for key in ("prompts", "group_size") if key in block}

    def render(prompt: Any) -> str:
        return policy.decode(policy.encode([prompt])[0])

    environment = PromptEnvironment(rows, made.rewards, policy.decode, render=render, **sizes)
    settings = {key: value for key, value in block.items() if key not in LANGUAGE_KEYS}
    if run is None:
        raise RunError("reinforce trains in one process; grpo trains in several")
    return loop(policy, environment, settings, made.recipe, run, say, resume=resume)


def train_environment(recipe: Recipe, out: Path | None, *, resume: bool, say: Say) -> Run:
    """Train a small policy in an environment and evaluate it, greedy and sampled."""
    import torch

    from llmpolicy.environments.gymnasium import build_environment
    from llmpolicy.policies.mlp import build_mlp_policy, load_mlp_policy
    from llmpolicy.report.plot import plot_run

    torch.set_num_threads(1)  # measured: these networks are too small to share among threads
    if resume and out is None:
        raise RunError("--resume needs --out DIR, the run to go on with")
    environment = build_environment(recipe.environment or {})
    run = Run.resume(out) if resume and out else _new_run(recipe, out)
    untrained = build_mlp_policy(recipe.policy, environment, recipe.seed)
    policy = load_mlp_policy(run.checkpoints()[-1]) if resume else copy.deepcopy(untrained)
    stopped = loop(policy, environment, recipe.reinforce or {}, recipe, run, say, resume=resume)
    policy.save(run.policy_dir)
    run.write_evaluation(evaluate_returns_of(recipe, policy, untrained, say))
    run.finish("stopped" if stopped else "finished", reason=stopped)
    say(f"plot: {plot_run(run)}")
    say(f"run:  {run.path}")
    return run


def _new_run(recipe: Recipe, out: Path | None) -> Run:
    return Run.create(out or new_run_path(recipe.name), recipe.resolved(), recipe_hash=recipe.hash(), seed=recipe.seed)


def loop(
    policy: Any, environment: Any, block: Mapping[str, Any], recipe: Recipe, run: Run, say: Say, *, resume: bool
) -> str | None:
    """Run ``reinforce`` with its log, a progress line, and a state to go on from; returns why it stopped early, or None."""
    from llmpolicy.reinforce import State, build_settings, reinforce

    settings = build_settings(block)
    state = State.begin(policy, environment, settings, recipe.seed)
    if resume:
        state.load(run.checkpoints()[-1])
    note = _note(settings.updates, run, say)
    trained = reinforce(
        policy, environment, settings, seed=recipe.seed, state=state, time_limit=recipe.time_limit, on_update=note
    )
    folder = run.checkpoint_dir / f"checkpoint-{trained.state.update}"
    policy.save(folder)
    trained.state.save(folder)
    return trained.stopped


def _note(updates: int, run: Run, say: Say) -> Callable[[int, dict[str, float]], None]:
    every = max(updates // 20, 1)

    def note(update: int, metrics: dict[str, float]) -> None:
        run.log(update, {"reward": metrics["return"], "episode_length": metrics["length"], "loss": metrics["loss"]})
        if update % every == 0 or update == 1:
            say(
                f"update {update}/{updates}  return {metrics['return']:.4g}  episode length {metrics['length']:.0f}  "
                f"{metrics['seconds']:.0f}s"
            )

    return note


def evaluate_environment(run: Run | None, recipe: Recipe, say: Say) -> dict[str, Any]:
    """The mean return of a run's policy over fresh episodes, beside an untrained one."""
    from llmpolicy.environments.gymnasium import build_environment
    from llmpolicy.policies.mlp import build_mlp_policy, load_mlp_policy

    if run is None:
        raise RunError(f"recipe {recipe.name!r} plays in an environment: name a run that trained it")
    untrained = build_mlp_policy(recipe.policy, build_environment(recipe.environment or {}), recipe.seed)
    return evaluate_returns_of(recipe, load_mlp_policy(run.policy_dir), untrained, say)


def evaluate_returns_of(recipe: Recipe, policy: Any, untrained: Any, say: Say) -> dict[str, Any]:
    """Greedy and sampled return with their intervals, before and after, as evaluation.json holds them."""
    from llmpolicy.returns import evaluate_returns

    episodes = recipe.evaluate.episodes if recipe.evaluate else 100
    before, after = (
        evaluate_returns(one, recipe.environment or {}, episodes=episodes, seed=recipe.seed)
        for one in (untrained, policy)
    )
    for name, old, new in (("greedy", before.greedy, after.greedy), ("sampled", before.sampled, after.sampled)):
        say(
            f"{name:8} return {old.value:8.1f} [{old.low:.1f}, {old.high:.1f}] -> "
            f"{new.value:.1f} [{new.low:.1f}, {new.high:.1f}]  ({episodes} fresh episodes)"
        )
    return {**after.to_dict(), "recipe_hash": recipe.hash(), "base": before.to_dict()}
