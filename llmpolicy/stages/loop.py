"""The readable loop within a run: its log, a line of progress, checkpoints to go on from, a clean
stop.
"""

from collections.abc import Callable
from typing import Any

from llmpolicy.recipe import Recipe
from llmpolicy.reinforce import Settings, State, reinforce
from llmpolicy.rollout import Rollout
from llmpolicy.run import Run, add_checkpoint
from llmpolicy.run.checkpoints import RECORD, staged
from llmpolicy.signals import Signals
from llmpolicy.stages.process import end_stopped
from llmpolicy.stages.record import Ended
from llmpolicy.terminal import Say

KEPT, CHECKPOINTS = 2, 10
"""How many checkpoints are kept, and how many a run writes on its way."""

Keep = Callable[[int, Rollout], None]
"""What is done with the number of an update and what was played for it."""


def begin(
    policy: Any, environment: Any, settings: Settings, seed: int, earlier: Run | None
) -> State:
    """What the loop starts from: nothing learnt yet, or the last checkpoint of a run to go on
    with.
    """
    state = State.begin(policy, environment, settings, seed)
    return state.load(earlier.checkpoints()[-1]) if earlier else state


def loop(
    policy: Any,
    environment: Any,
    settings: Settings,
    state: State,
    recipe: Recipe,
    run: Run,
    say: Say,
    *,
    on_rollout: Keep | None = None,
) -> Ended:
    """Run ``reinforce`` with its log, a progress line and a state to go on from.

    On Ctrl-C or SIGTERM it ends after the current update and leaves with the signal's exit code.
    """
    stop = Signals("update").listen()
    try:
        trained = reinforce(
            policy,
            environment,
            settings,
            seed=recipe.seed,
            state=state,
            time_limit=recipe.time_limit,
            on_rollout=on_rollout,
            on_update=_note(policy, state, settings.updates, run, say, stop),
        )
        save_state(policy, state, run)
    finally:
        stop.forget()
    if stop.signal is not None:
        say(f"stopped by {stop.reason} at update {state.update}; a checkpoint was saved")
        end_stopped(run, state.update, stop, say)
    return Ended(trained.stopped, state.update)


def save_state(policy: Any, state: State, run: Run) -> None:
    """Write a checkpoint, whole or not at all."""
    with staged(run.checkpoint_dir, state.update) as folder:
        folder.mkdir(parents=True)
        policy.save(folder)
        state.save(folder)
        run.keep_record(folder / RECORD)
        add_checkpoint(folder, run.checkpoint_dir, KEPT, run.id)


def _note(
    policy: Any, state: State, updates: int, run: Run, say: Say, stop: Signals
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
