"""Looks at held-out prompts while a policy trains: at which steps, and what they cost beside the
training, as far as that is known without a model.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmpolicy.errors import RecipeError
from llmpolicy.reference import name_of

if TYPE_CHECKING:
    from llmpolicy.plan.plan import Plan

LOOKS = 10
"""How many there are after the start where nobody says how often."""

MOST = 0.1
"""The share of the completions of training above which it is said how to write fewer."""


def look_steps(every: int | None, steps: int, *, at_start: bool = False) -> list[int]:
    """The steps after which there is a look: every so many, or ten in all, and the last."""
    apart = every or max(1, -(-steps // LOOKS))
    return [0] * at_start + sorted({*range(apart, steps + 1, apart), steps})


def refuse_no_rows(plan: "Plan") -> None:
    """Raise RecipeError where a truth has no held-out prompt to be scored on."""
    if plan.truth is not None and not plan.held_out:
        raise RecipeError(
            f"truth is scored on held-out prompts, and none is left in recipe"
            f" {plan.recipe.name!r}: all are above the limit of tokens; raise max_prompt_tokens or"
            " evaluate.n"
        )


def look_lines(plan: "Plan") -> Iterator[str]:
    """What is looked at while the policy trains, and how many completions that takes; nothing where
    nobody looks.
    """
    settings = plan.recipe.evaluate
    if settings is None or plan.explanation is None or not (settings.every or plan.truth):
        return
    counts = plan.explanation.arithmetic
    at_start = settings.curve or plan.truth is not None
    looks = look_steps(settings.every, counts.optimiser_steps, at_start=at_start)
    rows = len(plan.held_out)
    written = len(looks) * (2 * (rows - rows // 2) if settings.curve else rows)
    share = written / max(counts.rollouts, 1)
    head = "looks"
    if plan.truth is not None:
        head = f"truth {', '.join(plan.truth.names)}, which never trains: looks"
    yield (
        f"{head} at {rows} held-out prompts after steps {_listed(looks)}: {written:,} completions,"
        f" {share:.1%} of those that training writes"
    )
    if share > MOST:
        yield (
            "note: looks cost more than a tenth of what training writes; a larger evaluate.every"
            " or a smaller evaluate.n costs less"
        )
    if plan.truth is not None:
        yield from _same(plan)


def _listed(steps: list[int]) -> str:
    if len(steps) < 5:
        return ", ".join(map(str, steps))
    return f"{steps[0]}, {steps[1]} ... {steps[-1]} ({len(steps)} looks)"


def _same(plan: "Plan") -> Iterator[str]:
    """A note where the truth is what trains."""
    recipe = plan.recipe
    trained = [(block.fn, block.args) for block in recipe.reward_functions if block.weight != 0]
    for block in recipe.truth.functions() if recipe.truth else ():
        if (block.fn, block.args) in trained:
            yield (
                f"note: truth {name_of(block.fn)} is also a reward that trains: looks then show"
                " what was learned by heart, and not what the reward pays that is wrong"
            )
