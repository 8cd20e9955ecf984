"""REINFORCE of a language model on its task, by the loop that trains CartPole."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.baselines import make_baseline
from llmpolicy.environments.dialogue import DrawnDialogues
from llmpolicy.environments.prompts import PromptEnvironment
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.policies.causal_lm.fast.door import ways
from llmpolicy.recipe import Reinforce
from llmpolicy.reinforce import Settings
from llmpolicy.rollout import Rollout
from llmpolicy.run import Run
from llmpolicy.run.bound import takes_rollouts
from llmpolicy.run.episodes import episode_columns
from llmpolicy.run.faults import keep_faults
from llmpolicy.speed import Conditions
from llmpolicy.stages.language import Checked, Loaded
from llmpolicy.stages.loop import begin, loop
from llmpolicy.stages.partner import partner_of
from llmpolicy.stages.record import Ended
from llmpolicy.stages.request import Request

SIZES = ("prompts", "group_size")


@dataclass(frozen=True)
class ReinforceStage:
    """REINFORCE that can begin."""

    checked: Checked
    block: Reinforce
    settings: Settings

    def lines(self) -> Iterator[str]:
        """What the reward pays."""
        yield from self.checked.lines()

    def carry_out(self) -> None:
        """Load the policy, train it, and evaluate it beside the one it started from."""
        loaded = self.checked.load(self._checkpoint())
        with loaded.run() as run:
            loaded.close(run, train(self.block, self.settings, loaded, run))

    def _checkpoint(self) -> Path | None:
        """What a run that goes on starts from; TRL's trainer loads its own."""
        request = self.checked.request
        checkpoints = Run.open(request.out).checkpoints() if request.resume else []
        return checkpoints[-1] if checkpoints else None


def check(block: Reinforce, request: Request) -> ReinforceStage:
    """The REINFORCE of a recipe, with settings that make sense for its rows."""
    settings = check_settings(block, len(request.plan.train_rows), request.recipe.base_dir)
    return ReinforceStage(Checked.of(block.model, request), block, settings)


def check_settings(
    block: Reinforce, rows: int | None = None, base_dir: Path | None = None
) -> Settings:
    """The settings of the loop, checked without a model; ``rows`` is how many there are to train
    on, and files start from ``base_dir``.

    Raises RecipeError for a baseline that could teach nothing, TaskError for too few rows.
    """
    settings = Settings.of(block.settings, base_dir)
    # The baseline looks at an environment of the right size, and asks for no prompt of it.
    blank: Any = range(sys.maxsize if rows is None else rows)
    environment = PromptEnvironment(blank, blank, **block.settings.only(SIZES))
    if block.environment is not None and block.environment.credit == "turn":
        raise RecipeError(
            "environment.credit is of grpo; reinforce weighs turns by its baseline, time_step"
        )
    if block.environment is not None and settings.horizon is not None:
        raise RecipeError(
            "reinforce.horizon cuts off a small policy's episodes; a dialogue has environment.turns"
        )
    make_baseline(settings.baseline, environment, settings.gamma, 0)
    return settings


def train(block: Reinforce, settings: Settings, loaded: Loaded, run: Run | None) -> Ended:
    """Take the updates that are left."""
    if run is None:
        raise RunError("reinforce trains in one process; grpo trains in several")
    plan, request, policy = loaded.plan, loaded.request, loaded.policy
    sizes, rows = block.settings.only(SIZES), plan.train_rows
    environment: PromptEnvironment | DrawnDialogues
    if block.environment is None:
        environment = PromptEnvironment(rows, plan.rewards, **sizes)
    else:
        partner = partner_of(plan.recipe, policy)
        environment = DrawnDialogues(partner, rows, plan.rewards, **sizes)
    earlier = run if request.resume else None
    state = begin(policy, environment, settings, plan.recipe.seed, earlier)
    loaded.begin(run)
    _say_ways(loaded, run)
    terms = plan.rewards.composition.kept

    said: dict[str, str] = {}

    def keep(update: int, experience: Rollout) -> None:
        if isinstance(environment, DrawnDialogues):
            keep_faults(run, environment.faults(), said)
        if takes_rollouts(run, update):
            run.write_rollouts(update, episode_columns(experience.episodes, terms))

    return loop(
        policy, environment, settings, state, plan.recipe, run, request.say, on_rollout=keep
    )


def _say_ways(loaded: Loaded, run: Run) -> None:
    """Say and note which way each part of the work goes, and why it is not the fast one."""
    found = ways(loaded.policy.model, Conditions(loop=True))
    for line in found.lines():
        loaded.request.say(line)
    run.update_manifest(path=found.path, ways=found.facts())
