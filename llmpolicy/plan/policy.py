"""From a recipe to its policy, loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

from llmpolicy.plan.weights import (
    completion_length,
    loaded_adapter,
    model_path,
    refuse_damage,
    temperature,
    template_arguments,
    true_note,
)
from llmpolicy.recipe import Recipe

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def build_policy(
    recipe: Recipe, *, adapter: Path | None = None, base_only: bool = False
) -> "CausalLMPolicy":
    """Load the model of a recipe as a policy; ``adapter`` continues from that folder, ``base_only``
    leaves adapters out.

    A new adapter is drawn from the recipe's seed, with which the process goes on.
    """
    from transformers import set_seed

    from llmpolicy.policies.causal_lm import CausalLMPolicy

    block = recipe.language_model
    continued = str(adapter) if adapter else loaded_adapter(recipe)
    path = model_path(block, recipe.base_dir)
    for folder in (path, None if base_only else continued):
        refuse_damage(folder)
    set_seed(recipe.seed)
    return CausalLMPolicy.load(
        path,
        hub_id=block.hub_id,
        revision=block.revision,
        note=true_note(block, path),
        adapter=None if base_only else continued,
        lora=None if base_only or continued else block.lora,
        quantize=block.quantize,
        dtype=block.dtype,
        trust_remote_code=block.trust_remote_code,
        stop=block.stop,
        temperature=temperature(recipe),
        max_new_tokens=completion_length(recipe),
        chat_template_kwargs=template_arguments(recipe),
    )


def policy_at(folder: Path, recipe: Recipe) -> "CausalLMPolicy":
    """The policy that a folder holds (an adapter on the recipe's base, or whole weights), or that a
    Hub id names.
    """
    if (folder / "adapter_config.json").is_file():
        return build_policy(recipe, adapter=folder.resolve())
    path = str(folder.resolve()) if folder.is_dir() else str(folder)
    # What the recipe says of its own model is not true of another one.
    other = {
        "path": path,
        "hub_id": None,
        "revision": None,
        "note": None,
        "lora": None,
        "adapter": None,
    }
    block = recipe.language_model.model_copy(update=other)
    return build_policy(recipe.model_copy(update={"model": block}))
