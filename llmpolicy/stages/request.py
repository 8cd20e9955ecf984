"""What a command asks of a recipe, and what a stage is: checked before anything is loaded, then
carried out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmpolicy.plan import Plan, plan_recipe
from llmpolicy.recipe import Recipe, check_packages
from llmpolicy.stages.process import target, world_size
from llmpolicy.stages.rest import paid
from llmpolicy.terminal import Say, tell

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


@dataclass(frozen=True)
class Request:
    """A recipe, where its run goes and how it is carried out.

    ``accept`` takes files as they are now, ``until`` names the last stage, ``made_by`` what began
    the run, ``policy`` is in memory already.
    """

    recipe: Recipe
    out: Path
    say: Say = tell
    resume: bool = False
    accept: bool = False
    dry_run: bool = False
    until: str | None = None
    made_by: str | None = None
    policy: "CausalLMPolicy | None" = None

    @cached_property
    def plan(self) -> Plan:
        """What the recipe of a language model comes to, planned when it is asked for; raises
        LLMPolicyError in one sentence.
        """
        check_packages(self.recipe)
        recipe, in_memory = paid(self.recipe, self.out), self.policy is not None
        return plan_recipe(recipe, processes=world_size(), target=target(), in_memory=in_memory)


class Stage(Protocol):
    """A stage that was checked, with all that it takes."""

    def lines(self) -> Iterable[str]:
        """What it comes to, in words."""

    def carry_out(self) -> None:
        """Load, train and write."""
