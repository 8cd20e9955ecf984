"""A small policy in an environment, by the readable loop, evaluated greedy and sampled."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from llmpolicy.environments.build import build_environment
from llmpolicy.errors import RunError
from llmpolicy.plan import function_facts
from llmpolicy.policies.mlp import build_mlp_policy, read_policy
from llmpolicy.prove import prove_play
from llmpolicy.recipe import Play, Recipe
from llmpolicy.reinforce import Settings
from llmpolicy.returns import evaluate_returns
from llmpolicy.run import Run
from llmpolicy.stages.going_on import check_going_on, note_going_on
from llmpolicy.stages.loop import begin, loop
from llmpolicy.stages.process import Say, failing
from llmpolicy.stages.record import close_run, open_run, write_policy
from llmpolicy.stages.request import Request
from llmpolicy.stages.sources import function_files, refuse_changes


@dataclass(frozen=True)
class PlayStage:
    """A small policy, untrained, in its environment."""

    block: Play
    request: Request
    settings: Settings
    environment: Any
    untrained: Any

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of the functions that the run is carried out with."""
        recipe = self.request.recipe
        facts: dict[str, Any] = {"rewards": []}
        if recipe.functions:
            facts |= {"functions": function_facts(recipe), "files": function_files(recipe)}
        return facts

    def lines(self) -> Iterator[str]:
        """Nothing that the recipe does not say."""
        yield from ()

    def carry_out(self) -> None:
        """Train the policy, and evaluate it beside the untrained one."""
        request, recipe, say = self.request, self.request.recipe, self.request.say
        torch.set_num_threads(1)  # measured: these networks are too small to share among threads
        run = open_run(recipe, request, self.facts)
        if run is None:
            raise RunError("an environment is trained in one process; start it without a launcher")
        with failing(run):
            earlier, policy = None, copy.deepcopy(self.untrained)
            if request.resume:
                earlier, policy = run, read_policy(run.checkpoints()[-1], self.untrained)
            state = begin(policy, self.environment, self.settings, recipe.seed, earlier)
            if earlier:
                note_going_on(run, recipe, {}, say)
            ended = loop(policy, self.environment, self.settings, state, recipe, run, say)
            write_policy(policy, run, ended.step)
            run.write_evaluation(_returns(recipe, self.block, policy, self.untrained, say))
            close_run(run, ended, say)


def check(block: Play, request: Request) -> PlayStage:
    """The environment, the settings and an untrained policy: what a recipe can be refused for is
    refused here.
    """
    recipe = request.recipe
    settings = Settings.of(block.settings, recipe.base_dir)
    environment, untrained = _begun(block, recipe)
    if recipe.functions:
        prove_play(environment, untrained)
    begin(untrained, environment, settings, recipe.seed, None)
    if request.resume:
        earlier = Run.open(request.out)
        check_going_on(earlier, recipe)
        now = {"files": function_files(recipe), "rows": {}}
        refuse_changes(earlier, now, accept=request.accept, say=request.say)
    return PlayStage(block, request, settings, environment, untrained)


def evaluate_environment(run: Run | None, recipe: Recipe, play: Play, say: Say) -> dict[str, Any]:
    """The mean return of a run's policy over fresh episodes, beside an untrained one."""
    if run is None:
        raise RunError(
            f"recipe {recipe.name!r} plays in an environment: name a run that trained it"
        )
    _, untrained = _begun(play, recipe)
    return _returns(recipe, play, read_policy(run.policy_dir, untrained), untrained, say)


def _begun(play: Play, recipe: Recipe) -> tuple[Any, Any]:
    """The environment of a recipe, and its policy before anything is learnt."""
    environment = build_environment(play.environment, recipe.base_dir)
    return environment, build_mlp_policy(play.policy, environment, recipe.seed, recipe.base_dir)


def _returns(recipe: Recipe, play: Play, policy: Any, untrained: Any, say: Say) -> dict[str, Any]:
    """Greedy and sampled return with their intervals, before and after, as evaluation.json holds
    them.
    """
    episodes = recipe.evaluate.episodes if recipe.evaluate else 100
    how: dict[str, Any] = {
        "episodes": episodes,
        "seed": recipe.seed,
        "base_dir": recipe.base_dir,
    }
    before = evaluate_returns(untrained, play.environment, **how)
    after = evaluate_returns(policy, play.environment, **how)
    pairs = {
        "greedy": (before.greedy, after.greedy),
        "sampled": (before.sampled, after.sampled),
    }
    for name, (old, new) in pairs.items():
        say(
            f"{name:8} return {old.value:8.1f} [{old.low:.1f}, {old.high:.1f}] -> "
            f"{new.value:.1f} [{new.low:.1f}, {new.high:.1f}]  ({episodes} fresh episodes)"
        )
    return {**after.to_dict(), "recipe_hash": recipe.hash(), "base": before.to_dict()}
