"""What a recipe comes to before a model loads: rows, rewards and the arithmetic of a step; and the
rows that a policy has room for. All that can be checked is checked here.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import PolicyError, RecipeError, TaskError
from llmpolicy.messages import content_text
from llmpolicy.plan.explain import Explanation, explain_grpo
from llmpolicy.plan.looks import refuse_no_rows
from llmpolicy.plan.reward import build_correct, build_rewards, build_truth
from llmpolicy.plan.weights import (
    completion_length,
    evaluated_length,
    loaded_adapter,
    loaded_weights,
)
from llmpolicy.recipe import (
    EvaluateBlock,
    Grpo,
    Play,
    Recipe,
    Stage,
    dialogue_of,
    stages_of,
)
from llmpolicy.rewards import Rewards
from llmpolicy.rewards.contract import OF_DIALOGUE
from llmpolicy.sandbox.need import require
from llmpolicy.tasks import (
    Demonstration,
    Pairs,
    Row,
    Tasks,
    load_demonstrations,
    load_pairs,
    load_tasks,
    within,
)
from llmpolicy.types import Prompt

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy

HELD_OUT = 200
"""Questions held out of the preference pairs of a recipe that does not say how many."""


BEGINNINGS = 10_000
"""How many dialogues with an environment that has no task begin differently, in training."""


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to before any model is loaded."""

    recipe: Recipe
    train_rows: Sequence[Row]
    held_out: Sequence[Row]
    rewards: Rewards
    correct: Rewards | None
    explanation: Explanation | None
    truth: Rewards | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is carried out, in order; the one that trains the policy comes last."""
        return stages_of(self.recipe)

    @property
    def judged_by(self) -> tuple[EvaluateBlock, Rewards]:
        """How it is evaluated, and what says which answers are right; raises RecipeError where
        nothing does.
        """
        settings = self.recipe.evaluate
        if settings is None or self.correct is None:
            raise RecipeError(
                f"recipe {self.recipe.name!r} has no evaluate block: write `evaluate: {{correct:"
                " module:function}`"
            )
        return settings, self.correct

    @cached_property
    def held_out_questions(self) -> frozenset[str]:
        """The questions of the evaluation, which no stage learns from."""
        return frozenset(row.question for row in self.held_out)

    @cached_property
    def demonstrations(self) -> Sequence[Demonstration]:
        """What a warm start learns from, read when it is asked for."""
        if spec := self.recipe.demonstrations:
            return load_demonstrations(spec, self.recipe.base_dir)
        return ()

    @cached_property
    def pairs(self) -> Pairs:
        """What a reward model learns from, read when it is asked for, for an earlier stage may
        write it.
        """
        recipe, never = self.recipe, self.held_out_questions
        if recipe.preferences is None:
            return Pairs([], [], 0)
        held_out = HELD_OUT
        if never:
            held_out = 0
        elif recipe.evaluate:
            held_out = recipe.evaluate.n
        return load_pairs(recipe.preferences, recipe.base_dir, held_out=held_out, never=never)


def plan_recipe(
    recipe: Recipe, *, processes: int = 1, target: str = "cpu", in_memory: bool = False
) -> Plan:
    """Load the rows and rewards of a recipe and check them against each other and against the batch
    arithmetic.

    With ``in_memory`` the policy is there already, and its model need not lie anywhere.
    """
    if not in_memory and not isinstance(stages_of(recipe)[-1], Play):
        loaded_weights(recipe)
        loaded_adapter(recipe)
    tasks = _tasks(recipe)
    rewards = build_rewards(recipe)
    if rewards.components and not any(rewards.composition.weights):
        raise RecipeError(
            f"recipe {recipe.name!r}: every reward has weight 0 (only logged); expected one that"
            " counts"
        )
    talk = OF_DIALOGUE if dialogue_of(recipe) else ()
    for name, columns in tasks.by_task.items():
        _refuse_names(columns, talk, name)
        rewards.check_columns([*columns, *talk], name)
    truth = build_truth(recipe)
    correct = build_correct(recipe, truth)
    for verifier in filter(None, (correct, truth)):
        if recipe.task or talk:
            verifier.check_columns([*tasks.columns, *talk])
    explanation = explained(recipe, tasks.train, processes, target)
    return Plan(recipe, tasks.train, tasks.held_out, rewards, correct, explanation, truth)


def _refuse_names(columns: Sequence[str], talk: Sequence[str], task: str) -> None:
    """Raise TaskError for a column that has the name of what a dialogue says of itself."""
    for name in columns:
        if name in talk:
            raise TaskError(
                f"task {task!r}: the column {name!r} has a name that a dialogue uses; write"
                f" `columns: {{my_{name}: {name}}}` and drop it"
            )


def _tasks(recipe: Recipe) -> Tasks:
    """The rows to train on and those held out; none where a recipe has no task. In an environment
    without one, a row is the seed of its beginning.
    """
    how: dict[str, Any] = {"seed": recipe.seed, "held_out": 0}
    if settings := recipe.evaluate:
        how |= {"held_out": settings.n, "held_out_task": settings.task}
    if recipe.task:
        return load_tasks(recipe.task, recipe.base_dir, **how)
    environment = dialogue_of(recipe)
    if environment is None:
        return Tasks([], [], ())
    prompt: Prompt = [] if environment.chat else ""
    rows = [Row(prompt, {}, i, f"{i}", recipe.name) for i in range(BEGINNINGS + how["held_out"])]
    return Tasks(rows[:BEGINNINGS], rows[BEGINNINGS:], ())


def explained(
    recipe: Recipe, rows: Sequence[Row], processes: int, target: str
) -> Explanation | None:
    """The settings and the arithmetic of a recipe that trains by GRPO."""
    last = stages_of(recipe)[-1]
    if not isinstance(last, Grpo):
        return None
    overridden = {
        key.removeprefix("grpo.")
        for key, where in recipe.origin.items()
        if where.startswith("override")
    }
    return explain_grpo(
        last.settings,
        rows=len(rows),
        mean_prompt_tokens=_mean_prompt_tokens(recipe, rows),
        processes=processes,
        target=target,
        overrides=overridden,
        sampling=last.sampling,
    )


def _mean_prompt_tokens(recipe: Recipe, rows: Sequence[Row]) -> float | None:
    """The tokens of a prompt on average, of up to 64 rows, without the chat template's own; None
    without a local tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        file = Path(loaded_weights(recipe)) / "tokenizer.json"
    except PolicyError:  # the policy was made in memory
        return None
    if not file.is_file() or not rows:
        return None
    texts = [*map(_text, rows[:: max(len(rows) // 64, 1)])]
    encoded = Tokenizer.from_file(str(file)).encode_batch(texts)
    return sum(len(text.ids) for text in encoded) / len(texts)


def _text(row: Row) -> str:
    """A prompt as one text."""
    if isinstance(row.prompt, str):
        return row.prompt
    return "\n".join(content_text(message.get("content")) for message in row.prompt)


def require_sandbox(plan: Plan) -> str | None:
    """Which sandbox the rewards that run code will use, None when none does; SandboxUnavailable
    before a model loads.
    """
    used = [*plan.rewards.components]
    for verifier in filter(None, (plan.correct, plan.truth)):
        used += verifier.components
    return require(component.function for component in used)


# the rows that a policy has room for


def fit(plan: Plan, policy: "CausalLMPolicy", *, processes: int = 1, target: str = "cpu") -> Plan:
    """The plan with the rows whose prompt and completion fit the context (and
    ``max_prompt_tokens``), the rest counted.

    Raises TaskError or RecipeError when too few are left to train on.
    """
    recipe = plan.recipe
    train = _fitting(policy, plan.train_rows, recipe, completion_length(recipe), "training")
    explanation = plan.explanation
    if len(train) < len(plan.train_rows):
        explanation = explained(recipe, train, processes, target)
    return fit_held_out(replace(plan, train_rows=train, explanation=explanation), policy)


def fit_held_out(plan: Plan, policy: "CausalLMPolicy") -> Plan:
    """The plan with the held-out rows whose prompt and completion fit, the rest counted."""
    if not plan.held_out:
        return plan
    length = evaluated_length(plan.recipe)
    held_out = _fitting(policy, plan.held_out, plan.recipe, length, "held-out")
    fitting = replace(plan, held_out=held_out)
    refuse_no_rows(fitting)
    return fitting


def _fitting(
    policy: "CausalLMPolicy", rows: Sequence[Row], recipe: Recipe, completion: int, side: str
) -> Sequence[Row]:
    context = policy.context or 10**9
    limit = min(recipe.max_prompt_tokens or context, context - completion)
    if limit < 1:
        raise RecipeError(
            f"max_completion_length={completion} leaves no room for a prompt in the model's context"
            f" of {context} tokens"
        )
    begun = [row.prompt for row in rows if row.prompt]
    if not begun:  # an environment says what comes first
        return rows
    lengths = list(map(len, policy.encode(begun)))
    kept = within(rows, lengths, limit, recipe.over_long)
    if len(kept) < len(rows):
        logging.getLogger("llmpolicy").warning(
            "%d of %d %s prompts above %d tokens dropped",
            len(rows) - len(kept),
            len(rows),
            side,
            limit,
        )
    return kept
