"""A recipe: one short YAML that says what is trained, on which task, by which rewards. Strict, and read without torch."""

import ast
import copy
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from llmpolicy.errors import RecipeError, nearest
from llmpolicy.tasks import TaskSpec

OWNED = {
    "output_dir": "pass --out DIR on the command line",
    "overwrite_output_dir": "pass another --out DIR: a run is never overwritten",
    "push_to_hub": "run `llmpolicy publish RUN --repo USER/NAME` after training",
    "trust_remote_code": "write `model: {trust_remote_code: true}`",
    "model_init_kwargs": "write the model's options under `model:`",
    "reward_weights": "write `weight:` beside each entry of `rewards:`",
    "resume_from_checkpoint": "pass --resume on the command line",
    "seed": "write `seed:` at the top of the recipe",
    "eval_strategy": "write `evaluate: {every: N}`",
    "eval_steps": "write `evaluate: {every: N}`",
    "eval_on_start": "the base is always evaluated; write `evaluate:`",
    "do_eval": "write `evaluate:`",
    "load_best_model_at_end": "the best checkpoint by `evaluate:` is always kept beside the last one",
    "metric_for_best_model": "the best checkpoint is the one with the highest held-out accuracy of `evaluate:`",
    "chat_template_kwargs": "write `chat_template_kwargs:` under `task:`",
    "log_completions": "every completion is already kept in the run's rollouts/",
    "remove_unused_columns": "the task's columns always reach the rewards",
    "disable_tqdm": "the progress line is llmpolicy's own",
}
OWNED_PREFIXES = {"hub_": OWNED["push_to_hub"], "log_completions_": OWNED["log_completions"]}
GRPO_DEFAULTS: dict[str, Any] = {
    "logging_steps": 1,
    "save_steps": 100,
    "save_total_limit": 1,
    "gradient_checkpointing": False,
    "disable_dropout": True,
    "report_to": "none",
    "logging_nan_inf_filter": False,
}
"""Where llmpolicy starts from another default than TRL: log each step, keep a checkpoint, show a NaN as a NaN."""

TARGET_DEFAULTS: dict[str, dict[str, Any]] = {
    "cpu": {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False},
    "gpu": {},
}
"""TRL's bf16 default raises on a machine without a GPU."""

NEUTRAL_SAMPLER = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "use_transformers_continuous_batching": False,
}
"""Sampler settings that leave π as it is; any other value samples from a distribution that is not trained."""


def _seconds(value: Any) -> float | None:
    """Seconds from a number or from a text such as '90s', '10m', '2h'."""
    if value is None or isinstance(value, (int, float)):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(value))
    if not found:
        raise ValueError(f"{value!r} is not a duration such as 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _listed(value: Any) -> Any:
    """One block stands for a list of one; a key with nothing behind it for an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class Block(BaseModel):
    """A part of a recipe in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class ModelBlock(Block):
    """Where the language model comes from, what it is truly called, and what of it is trained."""

    path: str
    hub_id: str | None = None
    revision: str | None = None
    note: str | None = None
    adapter: str | None = None
    lora: dict[str, Any] | None = None
    quantize: Literal["4bit"] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    trust_remote_code: bool = False
    stop: list[str] = []


class RewardBlock(Block):
    """One reward function: how it is found, its weight, its bound arguments and its calling style."""

    fn: Any
    weight: float = 1.0
    args: dict[str, Any] = {}
    name: str | None = None
    style: Literal["single", "group", "trl"] = "single"


class EvaluateBlock(Block):
    """How right answers are recognised on held-out prompts; for environments, how many episodes are played."""

    correct: Any = None
    args: dict[str, Any] = {}
    threshold: float = 1.0
    n: Annotated[int, Field(ge=1)] = 200
    task: TaskSpec | None = None
    every: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 256
    episodes: Annotated[int, Field(ge=2)] = 100
    max_completion_length: int | None = None


def _model(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _rewards(value: Any) -> Any:
    return [item if isinstance(item, (Mapping, BaseModel)) else {"fn": item} for item in _listed(value)]


class Recipe(Block):
    """One run in full: a language model on tasks by GRPO or REINFORCE, or a small policy in an environment."""

    name: str = "run"
    seed: int = 0
    model: Annotated[ModelBlock, BeforeValidator(_model)] | None = None
    task: Annotated[list[TaskSpec], BeforeValidator(_listed)] = []
    rewards: Annotated[list[RewardBlock], BeforeValidator(_rewards)] = []
    evaluate: EvaluateBlock | None = None
    grpo: dict[str, Any] | None = None
    reinforce: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    over_long: Literal["drop", "refuse"] = "drop"
    allow_biased_sampler: bool = False
    time_limit: Annotated[float | None, BeforeValidator(_seconds)] = None

    _base_dir: Path | None = None
    _origin: dict[str, str] = {}

    @property
    def base_dir(self) -> Path | None:
        """The folder that relative paths of this recipe start from."""
        return self._base_dir

    @property
    def origin(self) -> dict[str, str]:
        """For each dotted key that was written: the file and line, or the override, that wrote it."""
        return self._origin

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain data, every default filled in; functions become their names."""
        data: dict[str, Any] = json.loads(json.dumps(self.model_dump(), default=_plain))
        return data

    def hash(self) -> str:
        """A short fingerprint of the resolved recipe."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> str:
    if callable(value):
        return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__name__)}"
    return str(value)


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file (or the name of a bundled recipe), apply ``key=value`` overrides and check every key.

    Raises RecipeError with file, line and the nearest valid key.
    """
    path = find_recipe(str(source))
    text = path.read_text(encoding="utf-8")
    try:
        data = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(
            f"{path}: a recipe is a mapping of keys such as model, task, rewards, grpo; found {data!r:.60}"
        )
    if data.pop("schema", 1) != 1:
        raise RecipeError(f"{path}: written by another version of llmpolicy; this one reads schema 1")
    origin = {key: f"{path.name}:{line}" for key, line in lines.items()}
    for override in overrides:
        origin[_override(data, override)] = f"override {override}"
    data.setdefault("name", path.stem)
    return make_recipe(data, base_dir=_base_dir(path), origin=origin)


def _base_dir(path: Path) -> Path:
    """The recipe's folder; for the copy inside a run, the folder that the original lay in."""
    manifest = path.parent / "manifest.json"
    if manifest.is_file():
        return Path(json.loads(manifest.read_text(encoding="utf-8")).get("base_dir") or path.parent)
    return path.parent.resolve()


def make_recipe(
    data: Mapping[str, Any], base_dir: Path | None = None, origin: Mapping[str, str] | None = None
) -> Recipe:
    """Check plain data as a recipe; ``origin`` names the line of each dotted key for the errors."""
    origin = dict(origin or {})
    try:
        recipe = Recipe.model_validate(copy.copy(dict(data)))
    except ValidationError as error:
        raise RecipeError(_sentence(error, origin)) from error
    recipe._base_dir, recipe._origin = base_dir, origin
    _check_shape(recipe)
    if recipe.grpo is not None:
        check_grpo(recipe.grpo, allow_biased_sampler=recipe.allow_biased_sampler, origin=origin)
    return recipe


def find_recipe(name: str) -> Path:
    """The file of that path, else the bundled recipe of that name; raises RecipeError with the nearest one."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    bundled = {found.stem: found for folder in recipe_folders() for found in sorted(folder.glob("*.yaml"))}
    if name in bundled:
        return bundled[name]
    if path.is_dir():
        raise RecipeError(f"{path} is a folder, not a recipe; name a .yaml file{nearest('', ())}")
    raise RecipeError(f"no recipe at {path}, and no bundled recipe of that name{nearest(path.stem, bundled)}")


def recipe_folders() -> list[Path]:
    """Where bundled recipes lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    return [folder for folder in (here / "recipes", here.parent / "recipes") if (folder / "quickstart.yaml").is_file()]


def _lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    """The line (from 1) of every dotted key below a YAML node."""
    found: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        return found
    for name, mark, value in pairs:
        found[prefix + name] = mark.start_mark.line + 1
        found.update(_lines(value, f"{prefix}{name}."))
    return found


def _override(data: dict[str, Any], override: str) -> str:
    """Write one ``a.b.0.c=value`` into the data and return its dotted key."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"override {override!r}: expected key=value, such as grpo.max_steps=20")
    *parents, last = key.strip().split(".")
    target: Any = data
    for parent in parents:
        target = _descend(target, parent, override)
    value = yaml.safe_load(text)
    if isinstance(target, list):
        if not last.isdigit() or int(last) >= len(target):
            raise RecipeError(f"override {override!r}: {last!r} is not a place in a list of {len(target)}")
        target[int(last)] = value
    else:
        target[last] = value
    return key.strip()


def _descend(target: Any, name: str, override: str) -> Any:
    if isinstance(target, list):
        if not name.isdigit() or int(name) >= len(target):
            raise RecipeError(f"override {override!r}: {name!r} is not a place in a list of {len(target)}")
        return target[int(name)]
    if not isinstance(target.get(name, {}), (dict, list, type(None))):
        raise RecipeError(f"override {override!r}: {name!r} is a value here, it has no keys")
    if target.get(name) is None:
        target[name] = {}
    return target[name]


def _sentence(error: ValidationError, origin: Mapping[str, str]) -> str:
    """The first validation error as one sentence with its line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    shown = key.removesuffix(".0") if key not in origin else key
    where = _where(key, origin)
    if first["type"] == "extra_forbidden":
        *parents, name = [str(part) for part in first["loc"]]
        return f"{where}unknown key {name!r}{' in ' + '.'.join(parents) if parents else ''}{nearest(name, _fields(parents))}"
    if first["type"] == "missing":
        return f"{where}{shown} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}{shown}: {message[0].lower() + message[1:]}; found {first['input']!r:.80}"


def _where(key: str, origin: Mapping[str, str]) -> str:
    parts = key.split(".")
    while parts:
        # A block written without its list (one task, one reward) has no index in the file.
        for candidate in (".".join(parts), ".".join(part for part in parts if not part.isdigit())):
            if candidate in origin:
                return f"{origin[candidate]}: "
        parts.pop()
    return ""


def _fields(parents: Sequence[str]) -> list[str]:
    """The valid keys of the block that the dotted parents lead to."""
    blocks: dict[str, type[BaseModel]] = {
        "model": ModelBlock, "task": TaskSpec, "rewards": RewardBlock, "evaluate": EvaluateBlock,
    }  # fmt: skip
    names = [parent for parent in parents if not parent.isdigit()]
    block = blocks.get(names[-1], Recipe) if names else Recipe
    return list(block.model_fields)


def _check_shape(recipe: Recipe) -> None:
    """A recipe trains a language model on a task, or a small policy in an environment; by one algorithm."""
    if (recipe.grpo is None) == (recipe.reinforce is None):
        raise RecipeError(f"recipe {recipe.name!r}: expected exactly one of the blocks grpo and reinforce")
    if recipe.environment is not None:
        if recipe.grpo is not None:
            raise RecipeError(f"recipe {recipe.name!r}: an environment is trained by reinforce, not by grpo")
        if recipe.model or recipe.task or recipe.rewards:
            raise RecipeError(
                f"recipe {recipe.name!r}: an environment has its own task and reward; drop model, task, rewards"
            )
        return
    for block in ("model", "task", "rewards"):
        if not getattr(recipe, block):
            raise RecipeError(f"recipe {recipe.name!r}: the block {block!r} is missing")
    if recipe.evaluate is not None and recipe.evaluate.correct is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: evaluate needs `correct: module:function`, what counts as a right answer"
        )


def check_grpo(grpo: Mapping[str, Any], *, allow_biased_sampler: bool, origin: Mapping[str, str] | None = None) -> None:
    """Check the keys that go verbatim to GRPOConfig; raises RecipeError for unknown, owned and biased ones."""
    origin = origin or {}
    valid = grpo_keys()
    for key, value in grpo.items():
        where = _where(f"grpo.{key}", origin)
        instead = OWNED.get(key) or next(
            (line for start, line in OWNED_PREFIXES.items() if key.startswith(start)), None
        )
        if instead:
            raise RecipeError(f"{where}grpo.{key} belongs to llmpolicy: {instead}")
        if key not in valid:
            raise RecipeError(f"{where}unknown key {key!r} in grpo{nearest(key, valid - set(OWNED))}")
        if key in NEUTRAL_SAMPLER and value not in (NEUTRAL_SAMPLER[key], None) and not allow_biased_sampler:
            raise RecipeError(
                f"{where}grpo.{key}={value} samples from another distribution than the policy that is trained; "
                "remove it or write `allow_biased_sampler: true`"
            )


@lru_cache
def grpo_keys() -> frozenset[str]:
    """The fields of the installed GRPOConfig, read from its source so that nothing heavy is imported."""
    keys: set[str] = set()
    for package, file, names in (
        ("trl", "trainer/grpo_config.py", {"GRPOConfig"}),
        ("trl", "trainer/base_config.py", {"_BaseConfig"}),
        ("transformers", "training_args.py", {"TrainingArguments"}),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RecipeError(f"the package {package} is not installed; install llmpolicy with its dependencies")
        tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name in names:
                keys |= {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
    return frozenset(key for key in keys if not key.startswith("_"))
