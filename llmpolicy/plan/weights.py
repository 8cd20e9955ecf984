"""Where the weights of a recipe lie: the bundled model, a folder, or a Hub id; none are loaded
here.
"""

from pathlib import Path
from typing import Any

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.places import adapter_folder, hub_hint, model_folder
from llmpolicy.recipe import Grpo, ModelBlock, Recipe, Reinforce, grpo_defaults, stages_of
from llmpolicy.run import broken

BUNDLED = "bundled"


def model_path(block: ModelBlock, base_dir: Path | None) -> str:
    """The bundled model, a folder (relative to the recipe or to the current folder), or a Hub
    id.
    """
    if block.path == BUNDLED:
        from llmpolicy.bundled import MODEL

        return str(MODEL)
    local = from_recipe(block.path, base_dir)
    for folder in (local, block.path):
        if Path(folder).is_dir():
            return model_folder(folder)
    if Path(local).is_file():
        raise PolicyError(
            f"model.path {block.path!r} is a file; expected the folder of a model (config.json,"
            " *.safetensors)"
        )
    if block.path.startswith((".", "/", "~")) or block.path.count("/") != 1:
        raise PolicyError(
            f"no model at {block.path!r}: no such folder, and not a Hub id of the form"
            f" USER/NAME{hub_hint(block.path)}"
        )
    # A folder that was not made yet, such as models/NAME, has the form of a Hub id: its true name
    # serves instead.
    return block.hub_id or block.path


def from_recipe(path: str, base_dir: Path | None) -> str:
    """A path as seen from the recipe's folder, or as it is where nothing lies there."""
    joined = (base_dir or Path()) / Path(path).expanduser()
    return str(joined) if joined.exists() else path


def true_note(block: ModelBlock, loaded: str) -> str | None:
    """The recipe's note on its weights, unless the Hub's weights took the place of the folder that
    it speaks of.
    """
    return None if loaded == block.hub_id != block.path else block.note


def loaded_weights(recipe: Recipe) -> str:
    """The folder or Hub id that the recipe's base is loaded from, for the manifest."""
    path = model_path(recipe.language_model, recipe.base_dir)
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def loaded_adapter(recipe: Recipe) -> str | None:
    """The folder or Hub id of the adapter that a recipe goes on with; raises PolicyError for what
    is none.
    """
    adapter = recipe.language_model.adapter
    return adapter_folder(from_recipe(adapter, recipe.base_dir)) if adapter else None


def refuse_damage(folder: str | None) -> None:
    """What was sealed is only loaded as it was written; raises PolicyError."""
    if folder and (clause := broken(Path(folder))):
        raise PolicyError(
            f"{folder} is damaged ({clause}); bring back what was written, or make it anew"
        )


def temperature(recipe: Recipe) -> float:
    """By which the policy divides its logits, in training and in evaluation."""
    return float(_of_policy(recipe, "temperature"))


def completion_length(recipe: Recipe) -> int:
    """The most tokens of a completion, in training, and in evaluation unless that names its own;
    of a recipe that trains no policy on a task, the latter.
    """
    longest = recipe.evaluate.max_completion_length if recipe.evaluate else None
    if longest is not None and not isinstance(stages_of(recipe)[-1], Grpo | Reinforce):
        return longest
    return int(_of_policy(recipe, "max_completion_length"))


def evaluated_length(recipe: Recipe) -> int:
    """The most tokens of a completion in evaluation, the same for a policy and its base."""
    return (recipe.evaluate and recipe.evaluate.max_completion_length) or completion_length(recipe)


def _of_policy(recipe: Recipe, key: str) -> Any:
    """A setting that GRPO and the loop have in common, or TRL's default of it."""
    last, value = stages_of(recipe)[-1], None
    if isinstance(last, Grpo):
        value = last.settings.get(key)
    elif isinstance(last, Reinforce):
        value = getattr(last.settings, key)
    return grpo_defaults()[key] if value is None else value


def template_arguments(recipe: Recipe) -> dict[str, Any]:
    """The chat template's arguments, which all tasks of one recipe share; raises RecipeError when
    they differ.
    """
    arguments = [task.chat_template_kwargs or {} for task in recipe.every_task] or [{}]
    if arguments.count(arguments[0]) < len(arguments):
        raise RecipeError(
            f"recipe {recipe.name!r}: its tasks differ in chat_template_kwargs; one policy has one"
            " template"
        )
    return arguments[0]
