"""What GRPO and REINFORCE of a language model have in common: what is refused before it loads, how
it is loaded, and the run around its training.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmpolicy.plan import (
    Plan,
    completion_length,
    fit,
    function_facts,
    loaded_adapter,
    loaded_weights,
    require_sandbox,
    reward_facts,
    reward_lines,
    task_facts,
    temperature,
)
from llmpolicy.recipe import ModelBlock
from llmpolicy.rewards.printed import printed
from llmpolicy.run import Run
from llmpolicy.run.files import Record
from llmpolicy.run.sealed import Facts
from llmpolicy.sandbox import unsafe
from llmpolicy.signals import is_main
from llmpolicy.stages.evaluation import evaluate_run
from llmpolicy.stages.going_on import accepted_changes, note_going_on
from llmpolicy.stages.partner import check_environment, dialogue_lines
from llmpolicy.stages.policy import build_policy, policy_at
from llmpolicy.stages.process import failing, placed, target, use_threads, world_size
from llmpolicy.stages.record import Ended, close_run, open_run, write_policy
from llmpolicy.stages.request import Request
from llmpolicy.stages.rest import rest_of
from llmpolicy.stages.sources import (
    files_of_stages,
    refuse_damaged_arguments,
    refuse_other_base,
    source_facts,
    stage_files,
    unknown_lines,
)
from llmpolicy.terminal import quiet

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


@dataclass(frozen=True)
class Checked:
    """A plan to train a language model that was checked; ``code_runs_in`` is the sandbox of its
    rewards.
    """

    plan: Plan
    request: Request
    code_runs_in: str | None

    @classmethod
    def of(cls, model: ModelBlock, request: Request) -> "Checked":
        """The plan of a request with all that can be checked before anything is loaded."""
        foresee(model, request)
        check_environment(request.recipe, [*request.plan.train_rows, *request.plan.held_out])
        checked = cls(request.plan, request, require_sandbox(request.plan))
        if request.dry_run and request.resume:
            checked.going_on()
        return checked

    def lines(self) -> Iterator[str]:
        """What the reward pays, and what is worth knowing before it does."""
        if self.code_runs_in == "unsafe":
            yield unsafe.WARNING
        yield from reward_lines(self.plan)
        yield from dialogue_lines(self.plan.recipe)
        yield from unknown_lines(self.plan.recipe)

    def going_on(self) -> tuple[Plan, Record]:
        """The plan of what is left after the stages, and what it is made from; RunError for a run
        that goes on and was made from something else.
        """
        request, recipe = self.request, rest_of(self.plan.recipe, self.request.out)
        plan, in_memory = replace(self.plan, recipe=recipe), request.policy is not None
        if not is_main():
            return plan, {}
        facts = source_facts(plan, weights=not in_memory)
        facts["files"] += stage_files(self.plan.recipe)
        if request.resume:
            run = Run.open(request.out)
            if len(self.plan.stages) == 1:
                facts["files"] += files_of_stages(run)
            facts["accepted_changes"] = accepted_changes(
                run, plan.recipe, facts, request, weights=not in_memory
            )
        if request.made_by:
            facts["made_by"] = request.made_by
        return plan, facts

    def load(self, checkpoint: Path | None = None) -> "Loaded":
        """The policy, of the recipe or of a checkpoint, with the rows that fit it."""
        for line in self.lines():
            self.request.say(line)
        plan, facts = self.going_on()
        quiet()
        recipe, policy = plan.recipe, self.request.policy
        random.seed(recipe.seed)
        start = None
        if policy is not None and policy.trainable == "full" and recipe.evaluate:
            start = copy.deepcopy(policy)
        if policy is None:
            policy = policy_at(checkpoint, recipe) if checkpoint else build_policy(recipe)
        policy.temperature = temperature(recipe)
        policy.max_new_tokens = completion_length(recipe)
        use_threads(policy.model)
        plan = fit(plan, policy, processes=world_size(), target=target())
        if is_main():
            policy.rehearse()
        return Loaded(plan, self.request, policy, start, self._facts(plan, facts))

    def _facts(self, plan: Plan, sources: Facts) -> Record:
        recipe = plan.recipe
        weights = loaded_weights(recipe) if self.request.policy is None else None
        facts = {"weights": recipe.portable(weights, named=True), **reward_facts(plan)}
        if self.code_runs_in is not None:
            facts["code_runs_in"] = self.code_runs_in
        functions = function_facts(recipe)
        return {**facts, "tasks": task_facts(recipe), "functions": functions, **sources}


def foresee(model: ModelBlock, request: Request) -> None:
    """Refuse what is refused whatever the stages before it come to: rows, rewards, arguments and
    adapter; where their code will run is not asked.
    """
    from llmpolicy.policies.causal_lm.adapter import lora_config

    plan = request.plan
    if model.lora is not None:
        lora_config(model.lora)
    made_here = request.out if request.dry_run or len(plan.stages) > 1 else None
    refuse_damaged_arguments(plan.recipe, besides=made_here)
    if model.adapter is not None and request.policy is None:
        refuse_other_base(Path(loaded_adapter(plan.recipe) or ""), loaded_weights(plan.recipe))


@dataclass(frozen=True)
class Loaded:
    """A policy about to be trained by its plan, and what the manifest says of both."""

    plan: Plan
    request: Request
    policy: "CausalLMPolicy"
    start: "CausalLMPolicy | None"
    facts: Facts

    @contextmanager
    def run(self) -> Iterator[Run | None]:
        """The run while it is written, None in a process that writes none; how it ends is noted
        when something is raised.
        """
        run = open_run(self.plan.recipe, self.request, self.facts)
        log = self.request.out / "rewards.log"
        with failing(run), printed.kept_in(log, self.request.say):
            yield run

    def begin(self, run: Run | None) -> None:
        """Note what the run goes on with; its checkpoint has been taken by then."""
        if run is not None:
            note_going_on(run, self.plan.recipe, self.facts, self.request.say)

    def close(self, run: Run | None, ended: Ended) -> None:
        """Write the policy and evaluate it beside the one it started from."""
        if run is None:  # anything else would make the launcher end the process that evaluates
            raise SystemExit(0)
        policy = self.policy
        if ended.written:
            policy = placed(policy_at(run.policy_dir, self.plan.recipe))
        else:
            write_policy(policy, run, ended.step)
        evaluate_run(self.plan, policy, run, self.start, self.request.say)
        close_run(run, ended, self.request.say)
