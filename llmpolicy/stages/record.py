"""The run that a stage writes: its manifest begins, goes on and ends here."""

from dataclasses import dataclass
from typing import Any

from llmpolicy.recipe import Recipe
from llmpolicy.run import Run, written_whole
from llmpolicy.run.paths import base_facts
from llmpolicy.run.sealed import Facts
from llmpolicy.signals import is_main
from llmpolicy.stages.process import drawn, launcher, world_size
from llmpolicy.stages.request import Request
from llmpolicy.terminal import Say


@dataclass(frozen=True)
class Ended:
    """How training ended: why it stopped early, if it did, at which step, and whether the policy is
    written already.
    """

    reason: str | None
    step: int
    written: bool = False


def open_run(recipe: Recipe, request: Request, facts: Facts) -> Run | None:
    """The run of a recipe, begun with ``facts`` in its manifest or claimed to go on; None in a
    process that writes none.
    """
    if not is_main():
        return None
    if request.resume:
        return Run.resume(request.out)
    begun = {
        "recipe_hash": recipe.hash(),
        "seed": recipe.seed,
        **base_facts(recipe.base_dir, request.out),
        "world_size": world_size(),
        "launcher": launcher(),
    }
    return Run.create(request.out, recipe.resolved(), **begun, **facts)


def write_policy(policy: Any, run: Run, step: int) -> None:
    """Write the policy of a step, whole or not at all."""
    with written_whole(run.policy_dir, step=step, run=run.id) as folder:
        policy.save(folder)


def close_run(run: Run, ended: Ended, say: Say) -> None:
    """Note how a run ended, draw its plot and say where everything lies."""
    from llmpolicy.report.plot import plot_run

    run.finish("stopped" if ended.reason else "finished", steps=ended.step, reason=ended.reason)
    drawn("plot", lambda: plot_run(run), say)
    say(f"run:  {run.path}")
