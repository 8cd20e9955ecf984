"""The REINFORCE part of a run: small policies in environments, and a language model on its task, by
the same loop.
"""

import copy
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import RecipeError, RunError
from llmpolicy.plan import Plan
from llmpolicy.recipe import Play, Recipe, Reinforce, stages_of
from llmpolicy.run import Run, add_checkpoint, new_run_path, written_whole
from llmpolicy.run.checkpoints import RECORD
from llmpolicy.run.disk import size_of, writing
from llmpolicy.run.episodes import episode_rows
from llmpolicy.run.paths import base_facts
from llmpolicy.signals import Signals
from llmpolicy.stages.going_on import check_going_on, note_going_on
from llmpolicy.stages.process import DRY_RUN, Say, drawn, end_stopped, failing, world_size

if TYPE_CHECKING:
    from llmpolicy.environments.prompts import PromptEnvironment
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.reinforce import Settings, State
    from llmpolicy.rollout import Rollout

KEPT, CHECKPOINTS = 2, 10
"""How many checkpoints are kept, and how many a run writes on its way."""


def check_reinforce(recipe: Recipe, rows: int | None = None) -> "Settings":
    """The settings of a recipe's loop, checked without a model; ``rows`` is how many there are to
    train on.

    Raises RecipeError for a baseline that could teach nothing, TaskError for too few rows.
    """
    from llmpolicy.reinforce import Settings

    loop = loop_of(recipe)
    settings = Settings.of(loop.settings)
    if isinstance(loop, Reinforce):
        _check_baseline(settings, loop.settings.only(("prompts", "group_size")), rows)
    return settings


def loop_of(recipe: Recipe) -> Reinforce | Play:
    """The stage that is carried out by the readable loop."""
    for stage in stages_of(recipe):
        if isinstance(stage, Reinforce | Play):
            return stage
    raise RecipeError(f"recipe {recipe.name!r} has no block reinforce")


def _check_baseline(settings: "Settings", sizes: Mapping[str, Any], rows: int | None) -> None:
    """Let the baseline look at an environment of the right size, whose prompts and rewards it does
    not ask for.
    """
    from llmpolicy.baselines import BASELINES
    from llmpolicy.environments.prompts import PromptEnvironment

    blank: Any = range(sys.maxsize if rows is None else rows)
    environment = PromptEnvironment(blank, blank, **sizes)
    BASELINES[settings.baseline](environment, settings.gamma, 0)


def train_reinforce(
    made: Plan,
    policy: "CausalLMPolicy",
    rows: Sequence[Any],
    run: Run | None,
    begin: Callable[[], None],
    *,
    resume: bool,
    say: Say,
) -> str | None:
    """Train a language model by the readable loop; returns why it stopped early, or None.

    ``begin`` is called when the first update is next: a checkpoint to go on from has been taken by
    then.
    """
    from llmpolicy.environments.prompts import PromptEnvironment

    if run is None:
        raise RunError("reinforce trains in one process; grpo trains in several")
    settings = check_reinforce(made.recipe, len(rows))
    sizes = loop_of(made.recipe).settings.only(("prompts", "group_size"))
    environment = PromptEnvironment(rows, made.rewards, **sizes)
    state = _begin(policy, environment, settings, made.recipe, run if resume else None)
    begin()
    return loop(
        policy,
        environment,
        settings,
        state,
        made.recipe,
        run,
        say,
        on_rollout=_keep(environment, run, made.rewards.composition.kept),
    )


def _keep(
    environment: "PromptEnvironment", run: Run, terms: Sequence[str]
) -> Callable[[int, "Rollout"], None]:
    """Write every completion of an update, in the columns of GRPO's rollouts; its advantage is its
    weight.
    """

    def keep(update: int, experience: "Rollout") -> None:
        episodes = [
            replace(episode, row=row.index)
            for episode, row in zip(experience.episodes, environment.drawn, strict=True)
        ]
        run.write_rollouts(update, episode_rows(episodes, terms))

    return keep


def train_environment(
    recipe: Recipe, play: Play, out: Path | None, *, resume: bool, dry_run: bool = False, say: Say
) -> Run:
    """Train a small policy in an environment and evaluate it, greedy and sampled; a dry run only
    checks the recipe.
    """
    import torch

    from llmpolicy.policies.mlp import load_mlp_policy
    from llmpolicy.report.plot import plot_run

    torch.set_num_threads(1)  # measured: these networks are too small to share among threads
    if resume and out is None:
        raise RunError("--resume needs --out DIR, the run to go on with")
    settings, environment, untrained = _prepare(recipe, play)
    if resume and out is not None:
        check_going_on(Run.open(out), recipe)
    if dry_run:
        say(DRY_RUN)
        raise SystemExit(0)
    run = Run.resume(out) if resume and out else _new_run(recipe, out)
    with failing(run):
        policy = load_mlp_policy(run.checkpoints()[-1]) if resume else copy.deepcopy(untrained)
        state = _begin(policy, environment, settings, recipe, run if resume else None)
        note_going_on(run, recipe, {}, say)
        stopped = loop(policy, environment, settings, state, recipe, run, say)
        with written_whole(run.policy_dir, step=state.update, run=run.id) as folder:
            policy.save(folder)
        run.write_evaluation(evaluate_returns_of(recipe, play, policy, untrained, say))
        run.finish("stopped" if stopped else "finished", steps=state.update, reason=stopped)
        drawn("plot", lambda: plot_run(run), say)
        say(f"run:  {run.path}")
        return run


def _prepare(recipe: Recipe, play: Play) -> tuple["Settings", Any, Any]:
    """Settings, environment and untrained policy: what a recipe can be refused for is refused here,
    before a run begins.
    """
    from llmpolicy.environments.gymnasium import build_environment
    from llmpolicy.policies.mlp import build_mlp_policy

    settings = check_reinforce(recipe)
    environment = build_environment(play.environment)
    untrained = build_mlp_policy(play.policy, environment, recipe.seed)
    _begin(untrained, environment, settings, recipe, None)
    return settings, environment, untrained


def _new_run(recipe: Recipe, out: Path | None) -> Run:
    out = out or new_run_path(recipe.name)
    facts: dict[str, Any] = {
        "recipe_hash": recipe.hash(),
        "seed": recipe.seed,
        **base_facts(recipe.base_dir, out),
    }
    return Run.create(out, recipe.resolved(), **facts, world_size=world_size(), rewards=[])


def _begin(
    policy: Any, environment: Any, settings: "Settings", recipe: Recipe, resumed: Run | None
) -> "State":
    """What the loop starts from: nothing learnt yet, or the last checkpoint of a run to go on
    with.
    """
    from llmpolicy.reinforce import State

    state = State.begin(policy, environment, settings, recipe.seed)
    return state.load(resumed.checkpoints()[-1]) if resumed else state


def loop(
    policy: Any,
    environment: Any,
    settings: "Settings",
    state: "State",
    recipe: Recipe,
    run: Run,
    say: Say,
    *,
    on_rollout: Callable[[int, "Rollout"], None] | None = None,
) -> str | None:
    """Run ``reinforce`` with its log, a progress line and a state to go on from; returns why it
    stopped early, or None.

    On Ctrl-C or SIGTERM it ends after the current update and leaves with the signal's exit code.
    """
    from llmpolicy.reinforce import reinforce

    stop = Signals("update").listen()
    try:
        trained = reinforce(
            policy, environment, settings, seed=recipe.seed, state=state, time_limit=recipe.time_limit,
            on_rollout=on_rollout, on_update=_note(policy, state, settings.updates, run, say, stop),
        )  # fmt: skip
        save_state(policy, state, run)
    finally:
        stop.forget()
    if stop.signal is not None:
        say(f"stopped by {stop.reason} at update {state.update}; a checkpoint was saved")
        end_stopped(run, state.update, stop, say)
    return trained.stopped


def save_state(policy: Any, state: "State", run: Run) -> None:
    """Write a checkpoint, whole or not at all."""
    staged = run.checkpoint_dir / ".new" / f"checkpoint-{state.update}"
    shutil.rmtree(staged.parent, ignore_errors=True)
    try:
        with writing(
            run.checkpoint_dir / staged.name,
            lambda: max(map(size_of, [staged, *run.checkpoints()])),
        ):
            staged.mkdir(parents=True)
            policy.save(staged)
            state.save(staged)
            run.keep_record(staged / RECORD)
            add_checkpoint(staged, run.checkpoint_dir, KEPT, run.id)
    finally:
        shutil.rmtree(staged.parent, ignore_errors=True)


def _note(
    policy: Any, state: "State", updates: int, run: Run, say: Say, stop: Signals
) -> Callable[[int, dict[str, float]], bool]:
    """Log an update, say how it went and save now and then, and answer whether the loop should
    stop.
    """
    every, saves = max(updates // 20, 1), max(updates // CHECKPOINTS, 1)

    def note(update: int, metrics: dict[str, float]) -> bool:
        run.log(
            update,
            {
                "reward": metrics["return"],
                "episode_length": metrics["length"],
                "loss": metrics["loss"],
            },
        )
        if update % every == 0 or update == 1:
            say(
                f"update {update}/{updates}  return {metrics['return']:.4g}  episode length"
                f" {metrics['length']:.0f}  {metrics['seconds']:.0f}s"
            )
        if update % saves == 0 and update < updates:
            save_state(policy, state, run)
        return stop.signal is not None

    return note


def evaluate_environment(run: Run | None, recipe: Recipe, play: Play, say: Say) -> dict[str, Any]:
    """The mean return of a run's policy over fresh episodes, beside an untrained one."""
    from llmpolicy.environments.gymnasium import build_environment
    from llmpolicy.policies.mlp import build_mlp_policy, load_mlp_policy

    if run is None:
        raise RunError(
            f"recipe {recipe.name!r} plays in an environment: name a run that trained it"
        )
    untrained = build_mlp_policy(play.policy, build_environment(play.environment), recipe.seed)
    return evaluate_returns_of(recipe, play, load_mlp_policy(run.policy_dir), untrained, say)


def evaluate_returns_of(
    recipe: Recipe, play: Play, policy: Any, untrained: Any, say: Say
) -> dict[str, Any]:
    """Greedy and sampled return with their intervals, before and after, as evaluation.json holds
    them.
    """
    from llmpolicy.returns import evaluate_returns

    episodes = recipe.evaluate.episodes if recipe.evaluate else 100
    before, after = (
        evaluate_returns(one, play.environment, episodes=episodes, seed=recipe.seed)
        for one in (untrained, policy)
    )
    for name, old, new in (
        ("greedy", before.greedy, after.greedy),
        ("sampled", before.sampled, after.sampled),
    ):
        say(
            f"{name:8} return {old.value:8.1f} [{old.low:.1f}, {old.high:.1f}] -> "
            f"{new.value:.1f} [{new.low:.1f}, {new.high:.1f}]  ({episodes} fresh episodes)"
        )
    return {**after.to_dict(), "recipe_hash": recipe.hash(), "base": before.to_dict()}
