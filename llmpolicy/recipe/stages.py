"""What kind of run a recipe is, decided here alone: its stages in order, each with its part of the
recipe.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmpolicy.errors import RecipeError
from llmpolicy.recipe.blocks import (
    EnvironmentBlock,
    ModelBlock,
    PolicyBlock,
    Recipe,
    ReinforceBlock,
    SamplingBlock,
    written_at,
)
from llmpolicy.tasks import TaskSpec

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Supervised training of the model on demonstrations; ``settings`` are TRL's SFTConfig."""

    name: ClassVar = "sft"
    settings: Settings
    demonstrations: TaskSpec
    model: ModelBlock


@dataclass(frozen=True, slots=True)
class PreferenceModel:
    """A reward model of preference pairs; ``settings`` are TRL's RewardConfig."""

    name: ClassVar = "reward_model"
    settings: Settings
    preferences: TaskSpec
    model: ModelBlock


@dataclass(frozen=True, slots=True)
class Grpo:
    """GRPO through TRL; ``settings`` are its GRPOConfig."""

    name: ClassVar = "grpo"
    settings: Settings
    sampling: SamplingBlock | None
    model: ModelBlock


@dataclass(frozen=True, slots=True)
class Reinforce:
    """A language model on its task by the readable loop."""

    name: ClassVar = "reinforce"
    settings: ReinforceBlock
    model: ModelBlock


@dataclass(frozen=True, slots=True)
class Play:
    """A small policy in an environment by the readable loop."""

    name: ClassVar = "environment"
    settings: ReinforceBlock
    environment: EnvironmentBlock
    policy: PolicyBlock


Stage = WarmStart | PreferenceModel | Grpo | Reinforce | Play

OF_LANGUAGE = ("prompts", "group_size", "max_completion_length", "temperature")
"""The settings of the loop that only a language model has."""

LEARNS_FROM = {"sft": "demonstrations", "reward_model": "preferences"}
"""The block that each stage before GRPO learns from."""


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages that a recipe is carried out in, the one that trains its policy last.

    Raises RecipeError for blocks that make no run together, or for one that is missing.
    """
    last = tuple(_last(recipe))
    return (*_early(recipe), *last)


def _last(recipe: Recipe) -> Iterator[Stage]:
    """The stage that trains a policy on a task or in an environment, by one algorithm; none where
    others stand alone.
    """
    grpo, loop, environment = recipe.grpo, recipe.reinforce, recipe.environment
    if recipe.sampling is not None and grpo is None:
        raise RecipeError(
            f"{written_at('sampling', recipe.origin)}sampling chooses the prompts of grpo, and"
            f" there is no grpo block in recipe {recipe.name!r}; remove it"
        )
    early = [name for name in LEARNS_FROM if getattr(recipe, name) is not None]
    if early and grpo is None and loop is None:
        return
    if (grpo is None) == (loop is None):
        raise RecipeError(
            f"recipe {recipe.name!r}: expected exactly one of the blocks grpo and reinforce"
        )
    if grpo is not None and environment is not None:
        raise RecipeError(
            f"recipe {recipe.name!r}: an environment is trained by reinforce, not by grpo"
        )
    if grpo is not None:
        yield Grpo(grpo, recipe.sampling, _language_model(recipe))
    elif loop is not None and environment is None:
        model = _language_model(recipe)
        if recipe.evaluate is not None and recipe.evaluate.every:
            raise RecipeError(
                f"{written_at('evaluate.every', recipe.origin)}recipe {recipe.name!r}:"
                " evaluate.every needs grpo; the loop of reinforce evaluates at the end"
            )
        yield Reinforce(loop, model)
    elif loop is not None and environment is not None:
        _check_play(recipe, loop)
        yield Play(loop, environment, recipe.policy or PolicyBlock())


def _check_play(recipe: Recipe, loop: ReinforceBlock) -> None:
    """A small policy in an environment has nothing of a language model."""
    if recipe.model or recipe.task or recipe.rewards:
        raise RecipeError(
            f"recipe {recipe.name!r}: an environment has its own task and reward; drop model,"
            " task, rewards"
        )
    for key in loop.only(OF_LANGUAGE):
        where = written_at(f"reinforce.{key}", recipe.origin)
        raise RecipeError(
            f"{where}reinforce.{key} is for a language model, and recipe {recipe.name!r} plays in"
            " an environment; remove it"
        )


def _language_model(recipe: Recipe) -> ModelBlock:
    """The model of a recipe that has all that one is trained with."""
    missing = [block for block in ("model", "task", "rewards") if not getattr(recipe, block)]
    if recipe.policy:
        raise RecipeError(
            f"{written_at('policy', recipe.origin)}policy is the small one of an environment, and"
            f" recipe {recipe.name!r} trains a model; remove it"
        )
    if missing or not recipe.model:
        raise RecipeError(f"recipe {recipe.name!r}: the block {missing[0]!r} is missing")
    if recipe.evaluate is not None and recipe.evaluate.correct is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: evaluate needs `correct: module:function`, what counts as a"
            " right answer"
        )
    return recipe.model


def _early(recipe: Recipe) -> Iterator[Stage]:
    """The stages before, or instead of, GRPO: each has what it learns from."""
    stages: dict[str, type[WarmStart | PreferenceModel]] = {
        "sft": WarmStart,
        "reward_model": PreferenceModel,
    }
    for name, source in LEARNS_FROM.items():
        settings, spec = getattr(recipe, name), getattr(recipe, source)
        if (settings is None) != (spec is None):
            lacking = name if settings is None else source
            raise RecipeError(
                f"recipe {recipe.name!r}: sft learns from demonstrations and reward_model from"
                f" preferences; the block {lacking!r} is missing"
            )
        if settings is None:
            continue
        if not recipe.model or [recipe.reinforce, recipe.environment] != [None, None]:
            raise RecipeError(
                f"recipe {recipe.name!r}: {name} is for a `model`, alone or before grpo"
            )
        yield stages[name](settings, spec, recipe.model)
