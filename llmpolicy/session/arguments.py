"""A recipe from the arguments of a call: blocks of settings, a policy in memory, rows, a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.plan import template_arguments
from llmpolicy.recipe import Recipe, from_here, make_recipe, stages_of
from llmpolicy.recipe.stages import LEARNS_FROM
from llmpolicy.run.sealed import Facts
from llmpolicy.tasks.arrow import dataset_rows, is_dataset
from llmpolicy.tasks.spec import SOURCES, TaskSpec

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def blocks_of(model: Any, task: Any, rewards: Any, blocks: Facts) -> dict[str, Any]:
    """The blocks of a recipe that a call names; paths start from the current folder."""
    if hasattr(model, "log_prob"):
        model = {"path": model.name}
    here = {}
    named = {"model": model, "task": task_block(task), "rewards": rewards}
    for key, value in {**named, **blocks}.items():
        if value is not None or key in blocks:
            here[key] = from_here(value, [key])
    return here


def recipe_with(
    base: Recipe | Facts | None,
    blocks: Facts,
    policy: "CausalLMPolicy | None",
) -> Recipe:
    """The recipe with these blocks, for a policy in memory if there is one.

    Raises RecipeError for a recipe that trains no policy, or was written for another one.
    """
    written, folder = dict(base or {}), Path.cwd()
    if isinstance(base, Recipe):
        written, folder = base.model_dump(), base.base_dir or folder
    data = _changed(written, blocks)
    if policy:
        for key in ("grpo", "reinforce"):
            if data.get(key) is not None:
                data[key] = {"temperature": policy.temperature, **data[key]}
    recipe = make_recipe(data, base_dir=folder)
    if stages_of(recipe)[-1].name in LEARNS_FROM:
        raise RecipeError(
            "train ends in grpo or reinforce; llmpolicy.session.train_stages carries out sft or"
            " reward_model"
        )
    if policy and template_arguments(recipe) not in ({}, policy.codec.chat_template_kwargs):
        raise RecipeError(
            "the task has other chat_template_kwargs than the policy; give them to CausalLMPolicy"
            " alone"
        )
    return recipe


def _changed(data: dict[str, Any], blocks: Facts) -> dict[str, Any]:
    """A recipe's data with some blocks changed: of a block of settings only the keys that are
    given.
    """
    changed = {**data, **blocks}
    for key in set(blocks) - {"model", "task"}:
        if isinstance(data.get(key), Mapping) and isinstance(blocks[key], Mapping):
            changed[key] = {**data[key], **blocks[key]}
    return changed


def task_block(task: Any) -> Any:
    """A list of rows, rather than of task blocks, or a dataset or a table becomes one block that
    holds them.
    """
    if is_dataset(task):
        return {"rows": dataset_rows(task)}
    if isinstance(task, (list, tuple)):
        return {"rows": list(map(dict, task))} if all(map(_is_row, task)) else list(task)
    if task is not None and not isinstance(task, (Mapping, TaskSpec)):
        raise RecipeError(
            f"task is {task!r:.60}, a {type(task).__name__}; expected a list of rows, a Dataset, a"
            " DataFrame, or a mapping such as {'file': 'rows.jsonl'} or {'generator':"
            " function}"
        )
    return task


def _is_row(row: Any) -> bool:
    """Whether this is a row: a mapping without a source, or with a column that no key of a task
    block is meant by.
    """
    keys = TaskSpec.model_fields
    if not isinstance(row, Mapping):
        return False
    for column in row:
        if column not in keys and "did you mean" not in nearest(str(column), keys):
            return True
    return set(SOURCES).isdisjoint(row)
