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
from llmpolicy.recipe.loop import SMALL
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
    """GRPO through TRL; ``settings`` are its GRPOConfig. ``advantage`` and ``loss`` are functions
    in the place of TRL's, or their names.
    """

    name: ClassVar = "grpo"
    settings: Settings
    sampling: SamplingBlock | None
    model: ModelBlock
    advantage: Any = None
    loss: Any = None
    environment: EnvironmentBlock | None = None

    @property
    def steps(self) -> int | None:
        """How many steps are asked for; None where they follow from epochs."""
        steps = int(self.settings.get("max_steps") or 0)
        return steps if steps > 0 else None

    @property
    def length_key(self) -> str:
        """The setting that makes it longer."""
        return "grpo.max_steps" if self.steps else "grpo.num_train_epochs"


@dataclass(frozen=True, slots=True)
class Loop:
    """A policy trained by the readable loop."""

    length_key: ClassVar = "reinforce.updates"
    settings: ReinforceBlock

    @property
    def steps(self) -> int:
        """How many updates are asked for."""
        return self.settings.updates


@dataclass(frozen=True, slots=True)
class Reinforce(Loop):
    """A language model on its task, or in dialogues, by the readable loop."""

    name: ClassVar = "reinforce"
    model: ModelBlock
    environment: EnvironmentBlock | None = None


@dataclass(frozen=True, slots=True)
class Play(Loop):
    """A small policy in an environment by the readable loop."""

    name: ClassVar = "environment"
    environment: EnvironmentBlock
    policy: PolicyBlock


Stage = WarmStart | PreferenceModel | Grpo | Reinforce | Play

OF_LANGUAGE = ("prompts", "group_size", "max_completion_length", "temperature")
"""The settings of the loop that only a language model has."""

OF_GRPO = {
    "sampling": "chooses the prompts",
    "advantage": "weighs the completions",
    "loss": "takes the place of that",
    "truth": "watches the policy",
}
"""The blocks beside ``grpo``, and what they do."""

REPLACED = {
    "advantage": ("scale_rewards", "multi_objective_aggregation"),
    "loss": ("epsilon", "epsilon_high", "delta", "importance_sampling_level", "use_liger_kernel"),
}
"""The settings of TRL's that a function of one's own leaves without a meaning."""

MEANS = ("dapo", "grpo", "dr_grpo", "bnpo", "luspo")
"""TRL's losses that differ in what the mean is over; the first is its default."""

LEARNS_FROM = {"sft": "demonstrations", "reward_model": "preferences"}
"""The block that each stage before GRPO learns from."""


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages that a recipe is carried out in, the one that trains its policy last.

    Raises RecipeError for blocks that make no run together, or for one that is missing.
    """
    last = tuple(_last(recipe))
    return (*_early(recipe), *last)


def trained_by(recipe: Recipe) -> Grpo | Reinforce | Play:
    """The stage that trains the policy; raises RecipeError for a recipe of stages before it
    alone.
    """
    last = stages_of(recipe)[-1]
    if isinstance(last, WarmStart | PreferenceModel):
        raise RecipeError(f"recipe {recipe.name!r} ends in {last.name}; expected grpo or reinforce")
    return last


def dialogue_of(recipe: Recipe) -> EnvironmentBlock | None:
    """The environment that the model of a recipe talks with; None where it writes one answer."""
    last = stages_of(recipe)[-1]
    return last.environment if isinstance(last, Grpo | Reinforce) else None


def _last(recipe: Recipe) -> Iterator[Stage]:
    """The stage that trains a policy on a task or in an environment, by one algorithm; none where
    others stand alone.
    """
    grpo, loop, environment = recipe.grpo, recipe.reinforce, recipe.environment
    for key, does in OF_GRPO.items():
        if getattr(recipe, key) is not None and grpo is None:
            raise RecipeError(
                f"{written_at(key, recipe.origin)}{key} {does} of grpo, and there is no grpo block"
                f" in recipe {recipe.name!r}; remove it"
            )
    early = [name for name in LEARNS_FROM if getattr(recipe, name) is not None]
    if early and grpo is None and loop is None:
        return
    if (grpo is None) == (loop is None):
        raise RecipeError(
            f"recipe {recipe.name!r}: expected exactly one of the blocks grpo and reinforce"
        )
    if environment is not None and recipe.model is not None:
        _check_dialogue(recipe, environment)
    elif grpo is not None and environment is not None:
        raise RecipeError(
            f"recipe {recipe.name!r}: an environment is trained by reinforce, not by grpo, where no"
            " `model` talks with it"
        )
    if grpo is not None:
        _check_own(recipe, grpo)
        model = _language_model(recipe)
        yield Grpo(grpo, recipe.sampling, model, recipe.advantage, recipe.loss, environment)
    elif loop is not None and (environment is None or recipe.model is not None):
        model = _language_model(recipe)
        if recipe.evaluate is not None and recipe.evaluate.every:
            raise RecipeError(
                f"{written_at('evaluate.every', recipe.origin)}recipe {recipe.name!r}:"
                " evaluate.every needs grpo; the loop of reinforce evaluates at the end"
            )
        yield Reinforce(loop, model, environment)
    elif loop is not None and environment is not None:
        _check_play(recipe, loop)
        yield Play(loop, environment, recipe.policy or PolicyBlock())


def _check_own(recipe: Recipe, grpo: Settings) -> None:
    """What a function of one's own replaces is not set beside it."""
    for own, settings in REPLACED.items():
        for key in settings:
            if getattr(recipe, own) is not None and key in grpo:
                raise RecipeError(
                    f"{written_at(f'grpo.{key}', recipe.origin)}grpo.{key} belongs to TRL's {own},"
                    f" in whose place recipe {recipe.name!r} has its own; remove one of them"
                )
    loss_type = grpo.get("loss_type", MEANS[0])
    if recipe.loss is not None and loss_type not in MEANS:
        raise RecipeError(
            f"{written_at('grpo.loss_type', recipe.origin)}grpo.loss_type {loss_type!r} is no mean"
            f" of another loss; beside one's own expected {', '.join(MEANS)}"
        )


def _check_dialogue(recipe: Recipe, environment: EnvironmentBlock) -> None:
    """What a language model talks with has nothing of a small policy's environment."""
    for key in SMALL:
        if getattr(environment, key) is not None:
            raise RecipeError(
                f"{written_at(f'environment.{key}', recipe.origin)}environment.{key}: such an"
                f" environment is trained by reinforce, with a small policy; recipe {recipe.name!r}"
                " has a model, which talks with a class (fn), or calls tools"
            )


def _check_play(recipe: Recipe, loop: ReinforceBlock) -> None:
    """A small policy in an environment has nothing of a language model."""
    environment = recipe.environment
    for key in environment.for_language if environment else ():
        raise RecipeError(
            f"{written_at(f'environment.{key}', recipe.origin)}environment.{key} is for a language"
            f" model, and recipe {recipe.name!r} has none; remove it, or write `model:`"
        )
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
    needed = ("model", "task", "rewards") if recipe.environment is None else ("model",)
    missing = [block for block in needed if not getattr(recipe, block)]
    if recipe.policy:
        raise RecipeError(
            f"{written_at('policy', recipe.origin)}policy is the small one of an environment, and"
            f" recipe {recipe.name!r} trains a model; remove it"
        )
    if missing or not recipe.model:
        raise RecipeError(f"recipe {recipe.name!r}: the block {missing[0]!r} is missing")
    _check_held_out(recipe)
    return recipe.model


def _check_held_out(recipe: Recipe) -> None:
    """What judges held-out answers is said, and has some to judge."""
    settings = recipe.evaluate
    if settings is not None and settings.correct is None and recipe.truth is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: evaluate needs `correct: module:function`, what counts as a"
            " right answer"
        )
    if recipe.truth is not None and settings is None:
        raise RecipeError(
            f"{written_at('truth', recipe.origin)}truth is scored on held-out prompts, and recipe"
            f" {recipe.name!r} holds none out; write `evaluate: {{n: 200}}` beside it"
        )


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
        if not recipe.model or recipe.reinforce is not None:
            raise RecipeError(
                f"recipe {recipe.name!r}: {name} is for a `model`, alone or before grpo"
            )
        yield stages[name](settings, spec, recipe.model)
