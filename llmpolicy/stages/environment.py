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
from llmpolicy.run.files import Record
from llmpolicy.run.sealed import Facts
from llmpolicy.stages.going_on import accepted_changes, note_going_on
from llmpolicy.stages.loop import begin, loop
from llmpolicy.stages.process import failing
from llmpolicy.stages.record import close_run, open_run, write_policy
from llmpolicy.stages.request import Request
from llmpolicy.stages.sources import function_files, unknown_lines
from llmpolicy.terminal import Say


@dataclass(frozen=True)
class PlayStage:
    """A small policy, untrained, in its environment; ``facts`` are what the manifest says of the
    functions that the run is carried out with.
    """

    block: Play
    request: Request
    settings: Settings
    environment: Any
    untrained: Any
    facts: Facts

    def lines(self) -> Iterator[str]:
        """What is known of no function's values."""
        yield from unknown_lines(self.request.recipe)

    def carry_out(self) -> None:
        """Train the policy, and evaluate it beside the untrained one."""
        request, recipe, say = self.request, self.request.recipe, self.request.say
        for line in self.lines():
            say(line)
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
                note_going_on(run, recipe, self.facts, say)
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
    return PlayStage(block, request, settings, environment, untrained, _facts(request))


def _facts(request: Request) -> Record:
    """What the run of a request notes of its functions, and of the changes of them that were
    accepted; RunError for a run that cannot go on.
    """
    recipe, facts = request.recipe, Record(rewards=[])
    files = function_files(recipe)
    if recipe.functions:
        facts |= {"functions": function_facts(recipe), "files": files}
    if request.resume:
        earlier, now = Run.open(request.out), {"files": files, "rows": {}}
        if accepted := accepted_changes(earlier, recipe, now, request):
            facts["accepted_changes"] = accepted
    return facts


def evaluate_environment(run: Run | None, recipe: Recipe, play: Play, say: Say) -> Record:
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


def _returns(recipe: Recipe, play: Play, policy: Any, untrained: Any, say: Say) -> Record:
    """Greedy and sampled return with their intervals, before and after, as evaluation.json holds
    them.
    """
    episodes = recipe.evaluate.episodes if recipe.evaluate else 100
    how: Record = {
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
