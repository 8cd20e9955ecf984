"""What a step comes to on accelerators, for a model of a size or a recipe's."""

from collections.abc import Sequence

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.plan import Plan, model_path, plan_recipe
from llmpolicy.recipe import load_recipe
from llmpolicy.scale import DEVICES, Load, shape_of
from llmpolicy.scale.text import WORLDS, Scale

PROMPT = 512
"""Tokens of a prompt where a recipe does not bound them."""
RANK = 8
"""Of a LoraConfig where nothing is said."""


Asked = tuple[str, Sequence[str], int]
"""A recipe's name, its overrides, and how many processes train."""


def scale_of(
    model: str | None, world: int | None, device: str = "h100", asked: Asked | None = None
) -> Scale:
    """A model's step on so many devices, by default on 1, 8, 64 and 512, with a recipe's lengths,
    batch and adapter; PolicyError or RecipeError for what cannot be.
    """
    if device not in DEVICES:
        raise RecipeError(f"--device {device}: not known{nearest(device, DEVICES)}")
    if world is not None and world < 1:
        raise RecipeError(f"--world is {world}; expected at least 1 device")
    worlds = WORLDS if world is None else (world,)
    if asked is None:
        if model is None:
            raise RecipeError("name a recipe, or a model and a device: --for gpu --model 7B")
        return Scale(model, shape_of(model), Load(), device, worlds, both=True)
    name, overrides, processes = asked
    recipe = load_recipe(name, overrides)
    load = load_of(plan_recipe(recipe, processes=processes, target="gpu"))
    model = model or str(model_path(recipe.language_model, recipe.base_dir))
    return Scale(model, shape_of(model), load, device, worlds, both=False)


def load_of(plan: Plan) -> Load:
    """What a step of a recipe trains on, its longest prompts and completions."""
    grpo = plan.explanation
    if grpo is None:
        raise RecipeError(f"recipe {plan.recipe.name!r} has no grpo block; expected one to size")
    values, counts = {value.name: value.value for value in grpo.values}, grpo.arithmetic
    group = values["num_generations"]
    adapter = plan.recipe.language_model.lora
    return Load(
        prompts=max(1, round(counts.rollouts_per_step / group)),
        group=group,
        prompt=plan.recipe.max_prompt_tokens or PROMPT,
        completion=values["max_completion_length"],
        rank=0 if adapter is None else int(adapter.get("r", RANK)),
        again=bool(values["gradient_checkpointing"]),
    )
