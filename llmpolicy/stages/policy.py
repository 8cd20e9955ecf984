"""From a recipe to its policy, loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

from llmpolicy.plan import (
    completion_length,
    loaded_adapter,
    model_path,
    refuse_damage,
    temperature,
    template_arguments,
)
from llmpolicy.plan.weights import true_note
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
    path, lora, continued = model_path(block, recipe.base_dir), block.lora, loaded_adapter(recipe)
    if adapter is not None:
        continued = str(adapter)
    if base_only:
        lora = continued = None
    for folder in (path, continued):
        refuse_damage(folder)
    set_seed(recipe.seed)
    return CausalLMPolicy.load(
        path,
        hub_id=block.hub_id,
        revision=block.revision,
        note=true_note(block, path),
        adapter=continued,
        lora=None if continued else lora,
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
    whole = recipe.language_model.elsewhere(path).model_copy(update={"lora": None})
    return build_policy(recipe.model_copy(update={"model": whole}))
