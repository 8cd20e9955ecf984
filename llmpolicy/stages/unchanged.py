"""What a run goes on with as it began: its questions, start, sizes of generations, and optimiser,
whose state is loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.bounded import load_yaml
from llmpolicy.errors import RunError
from llmpolicy.plan import loaded_adapter, loaded_weights
from llmpolicy.plan.batch import Batch
from llmpolicy.recipe import Grpo, Play, Recipe, grpo_defaults, trained_by
from llmpolicy.run import Run
from llmpolicy.run.files import Record
from llmpolicy.run.sealed import Facts
from llmpolicy.stages.process import world_size

Keys = tuple[str, Sequence[str]]
"""A block of a recipe, and some of its keys."""

START = ("revision", "adapter", "lora", "quantize", "dtype")
"""What of a ``model:`` block decides where a run starts, besides its path."""

SIZES = (
    "num_generations", "num_iterations", "generation_batch_size", "steps_per_generation",
    "gradient_accumulation_steps",
    "per_device_train_batch_size",
)  # fmt: skip
"""What of a ``grpo:`` block decides which prompts a step has."""

OPTIMISER = (
    "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "optim",
    "optim_args",
    "optim_target_modules", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps",
)  # fmt: skip
"""What of a ``grpo:`` block the saved optimiser and its schedule hold."""


def refuse_other_questions(run: Run, recipe: Recipe) -> None:
    """A run goes on with the questions it began with: others could put held-out ones into training,
    or the reverse.
    """
    files = "data" in _kept(run)
    old, new = _questions(run.recipe_here(), files=files), _questions(_plain(recipe), files=files)
    _refuse(run, old, new, "start a new run for it")


def refuse_other_start(run: Run, recipe: Recipe) -> None:
    """What a run started from is in its checkpoint: another model, adapter or environment would be
    loaded over, or not fit.
    """
    old, new = _start(run.recipe_here()), _start(_plain(recipe))
    kept = _kept(run)
    if not isinstance(trained_by(recipe), Play):
        for role, key, folder in (
            ("model", "model.path", loaded_weights(recipe)),
            ("adapter", "model.adapter", loaded_adapter(recipe)),
        ):
            if role in kept and folder and Path(folder).is_dir():
                old[key] = new[key]  # a folder, which may have moved: its content is compared
    _refuse(run, old, new, "start a new run for it")


def _kept(run: Run) -> set[Any]:
    """What a run has noted the content of."""
    return {file.get("for") for file in run.manifest.get("files") or []}


def refuse_other_optimiser(run: Run, recipe: Recipe) -> None:
    """The optimiser goes on as it was saved, with its learning rate, so another setting would be
    noted and not used.
    """
    how: Keys = ("reinforce", ("learning_rate", "baseline"))
    if isinstance(trained_by(recipe), Grpo):
        how = ("grpo", OPTIMISER)
    _refuse_settings(run, recipe, how, "the optimiser goes on as it was saved")


def refuse_other_generations(run: Run, recipe: Recipe) -> None:
    """Where a run stands in the order of its prompts is counted in steps, which keep their prompts
    and completions.

    Smaller passes for the same completions (half the batch, twice the accumulation) are no other
    step.
    """
    how: Keys = ("reinforce", ("prompts", "group_size"))
    stage = trained_by(recipe)
    if isinstance(stage, Grpo):
        if _step_of(run.recipe.get("grpo") or {}) == _step_of(stage.settings):
            return
        how = ("grpo", SIZES)
    _refuse_settings(run, recipe, how, "its steps would have other prompts")


def _refuse_settings(run: Run, recipe: Recipe, how: Keys, why: str) -> None:
    old, new = _settings(run.recipe_here(), *how), _settings(_plain(recipe), *how)
    _refuse(run, old, new, f"{why}, so {way_out(run, recipe)}")


def _settings(recipe: Facts, block: str, keys: Sequence[str]) -> Record:
    """Settings of a block by their dotted keys; TRL's default where ``grpo:`` has none."""
    written = recipe.get(block) or {}
    defaults = grpo_defaults() if block == "grpo" else {}
    return {f"{block}.{key}": _value(written.get(key, defaults.get(key))) for key in keys}


def _step_of(block: Facts) -> tuple[int, ...]:
    """Completions of a step and of a generation a process, of a group, and how often a generation
    is used.
    """
    sizes = {key: block.get(key, grpo_defaults()[key]) for key in SIZES}
    batch = Batch(**sizes, processes=world_size())
    accumulated = batch.micro * batch.gradient_accumulation_steps
    return accumulated, batch.completions, batch.num_generations, batch.num_iterations


def way_out(run: Run, recipe: Recipe) -> str:
    """How a run is begun from the weights of another one, as a clause."""
    weights = run.latest() or run.policy_dir
    stage = trained_by(recipe)
    if isinstance(stage, Play):
        return "start a new run for it"
    start = f"model.path={weights}"
    if (weights / "adapter_config.json").is_file():
        start = f"model.adapter={weights}" + " model.lora=null" * (stage.model.lora is not None)
    return f"start a new run from its weights with {start} and another --out DIR"


def _refuse(run: Run, old: Facts, new: Facts, instead: str) -> None:
    for name in old:
        if old[name] != new[name]:
            key, before, now = _first_difference(name, old[name], new[name])
            raise RunError(
                f"{run.path} cannot go on with another {key}: {before!r:.60} when it began, now"
                f" {now!r:.60}; {instead}"
            )


def _first_difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """The dotted key of the first value in which two blocks differ, and both values."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *new]:
            if old.get(name) != new.get(name):
                return _first_difference(f"{key}.{name}", old.get(name), new.get(name))
    return key, old, new


def _questions(recipe: Facts, *, files: bool) -> Record:
    """What decides which questions are trained on and which are held out, how they are asked, and
    in which order.

    Of ``files``, whose content is compared, the names alone: they may have moved.
    """
    held_out, grpo = recipe.get("evaluate") or {}, recipe.get("grpo") or {}
    tasks = [dict(task) for task in recipe.get("task") or []]
    measured = held_out.get("task") and dict(held_out["task"])
    for task in [*tasks, measured or {}]:
        if files and task.get("file") is not None:
            task["file"] = Path(task["file"]).name
    asked = {"evaluate.n": held_out.get("n"), "evaluate.task": measured}
    for key in ("seed", "max_prompt_tokens", "over_long"):
        asked[key] = recipe.get(key)
    asked["task"] = tasks
    for key in ("shuffle_dataset", "chat_template_kwargs"):
        asked[f"grpo.{key}"] = grpo.get(key, grpo_defaults()[key])
    return asked


def _start(recipe: Facts) -> Record:
    model, start = recipe.get("model") or {}, {}
    for key in ("path", *START):
        start[f"model.{key}"] = model.get(key)
    for key in ("environment", "policy"):
        start[key] = recipe.get(key)
    return start


def _plain(recipe: Recipe) -> Record:
    """A recipe as it is read back from a run."""
    data: Record = load_yaml(yaml.safe_dump(recipe.resolved()))
    return data


def _value(setting: Any) -> Any:
    """A setting as a recipe writes it; no arguments are none."""
    return None if setting in ({}, "") else getattr(setting, "value", setting)
