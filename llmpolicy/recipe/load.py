"""From a YAML file and ``key=value`` overrides to a checked recipe; every error names its line and
the nearest valid key.
"""

import copy
import re
from collections.abc import Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from llmpolicy.bounded import load_nodes, read_text
from llmpolicy.errors import RecipeError, nearest, one_line
from llmpolicy.recipe.blocks import (
    BaselineName,
    EvaluateBlock,
    ModelBlock,
    PolicyBlock,
    Recipe,
    RecordBlock,
    ReinforceBlock,
    RewardBlock,
    SamplingBlock,
    written_at,
)
from llmpolicy.recipe.grpo import (
    TURNS,
    check_grpo,
    check_stage,
)
from llmpolicy.recipe.override import apart, override
from llmpolicy.recipe.ranges import LORA_RANGES, expected_of
from llmpolicy.recipe.secret import Origin, refuse_remote_code, refuse_secrets
from llmpolicy.recipe.stages import Grpo, PreferenceModel, Settings, WarmStart, stages_of
from llmpolicy.recipe.trl import grpo_fields, lora_fields
from llmpolicy.rewards.compose import COMPOSITES
from llmpolicy.run.files import read_manifest
from llmpolicy.run.paths import RUN, in_paths, moved, run_of
from llmpolicy.tasks import Example, TaskSpec

LORA_NAMES = (
    "r",
    "lora_alpha",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "use_dora",
    "lora_dropout",
)
"""What a recipe asks of an adapter most, to be named where something else was written."""
MISSED = {
    "environment.id": "the name of a gymnasium environment, such as CartPole-v1",
    "reinforce.baseline": " or ".join(get_args(BaselineName)),
}
"""What a key that is missing should say."""
BLOCKS: dict[str, type[BaseModel]] = {
    "model": ModelBlock, "task": TaskSpec, "few_shot": Example, "evaluate": EvaluateBlock,
    **dict.fromkeys(("rewards", "truth", *COMPOSITES), RewardBlock),
    "demonstrations": TaskSpec, "preferences": TaskSpec, "sampling": SamplingBlock,
    "reinforce": ReinforceBlock, "policy": PolicyBlock, "record": RecordBlock,
}  # fmt: skip
"""What the value of a key, or each entry of its list, is."""

NO_RECIPES = {
    ".py": "a Python file", ".jsonl": "a data file", ".csv": "a data file",
    ".parquet": "a data file",
    ".safetensors": "a file of weights",
}  # fmt: skip
"""Files that are given by mistake, by how their names end."""


def load_recipe(
    source: str | Path, overrides: Sequence[str] = (), *, remote_code: bool = False
) -> Recipe:
    """Read a recipe file (or the name of a bundled recipe), apply ``key=value`` overrides and check
    every key.

    That code of a model's own may run is said by an override, or by ``remote_code``, never by the
    file. Raises RecipeError with file, line and the nearest valid key.
    """
    path = find_recipe(str(source))
    data, origin = _read(path)
    if not isinstance(data, dict):
        raise RecipeError(
            f"{path}: a recipe is a mapping of keys such as model, task, rewards, grpo; found"
            f" {data!r:.60}"
        )
    if data.pop("schema", 1) != 1:
        raise RecipeError(
            f"{path}: written by another version of llmpolicy; this one reads schema 1"
        )
    base_dir, run = path.parent.resolve(), run_of(path)
    if run is not None:
        now, base_dir = moved(run, read_manifest(path.parent), data)
        data = in_paths(data, now)
    data = apart(data)
    for written in overrides:
        key = override(data, written)
        for below in [below for below in origin if below.startswith(f"{key}.")]:
            del origin[below]  # it was replaced
        origin[key] = f"override {written}"
    if not remote_code:
        refuse_remote_code(data, origin)
    data.setdefault("name", path.stem)
    return make_recipe(data, base_dir=base_dir, origin=origin).within(run)


def _read(path: Path) -> tuple[Any, dict[str, str]]:
    """The data of a recipe file, and the line that wrote each dotted key."""
    try:
        nodes, data = load_nodes(read_text(path))
        lines = _lines(nodes, path.name)
        return data(), lines
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}: not a text in UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{path}: not valid YAML: {one_line(error)}") from error


def make_recipe(
    data: Settings, base_dir: Path | None = None, origin: Origin | None = None
) -> Recipe:
    """Check plain data as a recipe; ``origin`` names the line of each dotted key for the errors."""
    origin = dict(origin or {})
    _refuse_run(data)
    try:
        recipe = Recipe.model_validate(copy.copy(dict(data)))
    except ValidationError as error:
        raise RecipeError(_sentence(error, origin)) from error
    recipe._base_dir, recipe._origin = base_dir, origin
    refuse_secrets(data, origin)
    stages = stages_of(recipe)
    for stage in stages:
        if isinstance(stage, WarmStart | PreferenceModel):
            check_stage(stage.name, stage.settings, origin)
    _check_model(recipe)
    for stage in stages:
        if isinstance(stage, Grpo):
            check_grpo(
                stage.settings, allow_biased_sampler=recipe.allow_biased_sampler, origin=origin
            )
            _check_reference(recipe, stage.settings)
    return recipe


def find_recipe(name: str) -> Path:
    """The file of that path, else the bundled recipe of that name; raises RecipeError with the
    nearest one.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix in NO_RECIPES:
        raise RecipeError(
            f"{path} is {NO_RECIPES[path.suffix]}; expected a recipe, a .yaml file that names it"
        )
    if path.is_file():
        return path
    bundled: dict[str, Path] = {}
    for folder in recipe_folders():
        bundled |= {file.stem: file for file in folder.glob("*.yaml")}
    if name in bundled:
        return bundled[name]
    if (path / "recipe.yaml").is_file():
        raise RecipeError(f"{path} is a run, not a recipe; its recipe is {path / 'recipe.yaml'}")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder, not a recipe; name a .yaml file")
    raise RecipeError(
        f"no recipe at {path}, and no bundled recipe of that name{nearest(path.stem, bundled)}"
    )


def recipe_folders() -> list[Path]:
    """Where bundled recipes lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    folders = (package / "recipes", package.parent / "recipes")
    return [folder for folder in folders if (folder / "quickstart.yaml").is_file()]


def _lines(node: yaml.Node | None, file: str, prefix: str = "") -> dict[str, str]:
    """The file and line of every dotted key below a YAML node; raises RecipeError for a key that is
    written twice.
    """
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        return {}
    lines: dict[str, str] = {}
    for name, mark, value in pairs:
        key, line = prefix + name, f"{file}:{mark.start_mark.line + 1}"
        if key in lines:
            raise RecipeError(
                f"{line}: the key {key!r} is written a second time, first in {lines[key]}"
            )
        lines |= {key: line, **_lines(value, file, f"{key}.")}
    return lines


def _sentence(error: ValidationError, origin: Origin) -> str:
    """The first validation error as one sentence with its line; an unknown key before the one that
    it leaves missing.
    """
    fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    parts = list(map(str, fault["loc"]))
    key = shown = ".".join(parts)
    if key not in origin:
        shown = key.removesuffix(".0")
    where = written_at(key, origin)
    if fault["type"] == "extra_forbidden":
        *parents, name = parts
        if name in TURNS:
            return f"{where}unknown key {key!r}; {TURNS[name]} at the top of the recipe"
        block = f" in {'.'.join(parents)}" if parents else ""
        return f"{where}unknown key {name!r}{block}{_meant(name, parents)}"
    if fault["type"] == "missing":
        expected = f"; expected {MISSED[key]}" if key in MISSED else ""
        return f"{where}{shown} is missing{expected}"
    message = re.sub(r" or instance of \w+", "", fault["msg"])
    message = message.replace("dictionary", "mapping").removeprefix("Value error, ")
    return f"{where}{shown}: {message[0].lower() + message[1:]}; found {fault['input']!r:.80}"


def _meant(name: str, parents: Sequence[str]) -> str:
    """A clause that says what an unknown key should have been: a key of its block, or the same one
    in another block.
    """
    around = ["", *filterfalse(str.isdigit, parents)][-1]
    close = nearest(name, BLOCKS.get(around, Recipe).model_fields)
    homes = []
    if name in grpo_fields():
        homes.append(f"grpo.{name}")
    for block in ("model", "task", "evaluate", "sampling"):
        if name in BLOCKS[block].model_fields:
            homes.append(f"{block}.{name}")
    if parents and name in Recipe.model_fields:
        homes.append(name)
    if not homes or "did you mean" in close:
        return close
    top = " at the top of the recipe" * (homes == [name])
    return f"; did you mean {' or '.join(map(repr, homes))}{top}?"


def _refuse_run(data: Settings) -> None:
    """What stands for the folder of a run means nothing in a recipe that is no run's own."""

    def act(text: str) -> str:
        if text == RUN or text.startswith(f"{RUN}/"):
            raise RecipeError(
                f"{text!r} begins with {RUN}, which stands for the folder of a run in the"
                " recipe.yaml that it keeps; name that file, or write the path itself"
            )
        return text

    in_paths(data, act)


def _check_model(recipe: Recipe) -> None:
    """An adapter is made anew or continued, not both; the numbers of a new one are such that it can
    learn.
    """
    model = recipe.model
    if not model or model.lora is None:
        return
    if model.adapter is not None:
        key = max(
            ("model.lora", "model.adapter"),
            key=lambda key: recipe.written_at(key).startswith("override"),
        )
        raise RecipeError(
            f"{written_at(key, recipe.origin)}model.adapter is continued as it is, so model.lora,"
            " which makes a new adapter, has no place beside it; write model.lora=null to go on"
            f" with {model.adapter!r:.60}, or leave model.adapter out"
        )
    for key, value in model.lora.items():
        where = written_at(f"model.lora.{key}", recipe.origin)
        if key not in lora_fields():
            raise RecipeError(
                f"{where}model.lora: {key!r} is no argument of LoraConfig{nearest(key, LORA_NAMES)}"
            )
        if expected := expected_of(key, value, LORA_RANGES):
            raise RecipeError(f"{where}model.lora.{key} is {value}; expected {expected}")


def _check_reference(recipe: Recipe, grpo: Settings) -> None:
    """A reference that follows the policy must be there, and be weights of its own."""
    if not grpo.get("sync_ref_model"):
        return
    where = written_at("grpo.sync_ref_model", recipe.origin)
    if not grpo.get("beta"):
        raise RecipeError(
            f"{where}grpo.sync_ref_model: there is no reference with beta 0; set grpo.beta or"
            " remove it"
        )
    if recipe.model and (recipe.model.lora is not None or recipe.model.adapter):
        raise RecipeError(
            f"{where}grpo.sync_ref_model: the reference of an adapter is the model it started from,"
            " which cannot follow; remove it or train all weights"
        )
