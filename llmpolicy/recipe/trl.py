"""TRL's configurations as installed: fields, types, choices and defaults, read from their source;
nothing heavy is imported.
"""

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError

WIDER = {"scale_rewards": "str | bool", "fsdp": "str | bool | list | None"}
"""Fields of GRPOConfig that read more than their annotation says."""

Types = dict[str, str]
"""Fields by name, with their types as they are written."""


def grpo_fields() -> Types:
    """The fields of the installed GRPOConfig with their types, read from its source: nothing heavy
    is imported.
    """
    return config_fields("GRPOConfig")


@lru_cache
def grpo_defaults() -> dict[str, Any]:
    """What the fields of the installed GRPOConfig are where nothing is written; only those that its
    source spells out.
    """
    defaults: dict[str, Any] = {}
    for name in ("TrainingArguments", "_BaseConfig", "GRPOConfig"):
        constants = _constants(_classes()[name])
        for item in _annotated(_classes()[name]):
            if isinstance(item.value, ast.Call):
                with suppress(ValueError, KeyError):  # made by a call
                    defaults[item.target.id] = _default(item.value, constants)
    return defaults


def _default(field: ast.Call, constants: Mapping[str, Any]) -> Any:
    """The default of a dataclass's field; ValueError for one that is not spelled out."""
    for part in field.keywords:
        if part.arg == "default" and isinstance(part.value, ast.Name):
            return constants[part.value.id]
        if part.arg == "default":
            return ast.literal_eval(part.value)
    return None


def _constants(kind: ast.ClassDef) -> dict[str, Any]:
    """The texts that a class gives a name of its own; the last one is that of the newest torch."""
    constants = {}
    for node in ast.walk(kind):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            constants[ast.unparse(node.targets[0])] = node.value.value
    return constants


@lru_cache
def config_fields(config: str) -> Types:
    """The fields of one of TRL's installed configurations with their types."""
    return _fields("TrainingArguments", "_BaseConfig", config)


def lora_fields() -> Types:
    """The fields of the installed LoraConfig with their types."""
    return _fields("PeftConfigMixin", "PeftConfig", "LoraConfig")


def _fields(*kinds: str) -> Types:
    fields = {}
    for item in chain.from_iterable(_annotated(_classes()[name]) for name in kinds):
        fields[item.target.id] = WIDER.get(item.target.id, ast.unparse(item.annotation))
    return fields


def _annotated(kind: ast.ClassDef) -> Iterator[Any]:
    """The fields of a dataclass."""
    for item in kind.body:
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and item.target.id[0] != "_"
        ):
            yield item


def enums() -> set[str]:
    """The classes that a type may name; a recipe writes the member of an enum as a text."""
    return set(_classes())


@lru_cache
def grpo_choices() -> dict[str, set[str]]:
    """The valid texts of a field: the members of its enum, or else what TRL's trainer compares it
    with.
    """
    classes, fields = _classes(), grpo_fields()
    choices: dict[str, set[str]] = {}
    for key, annotation in fields.items():
        for kind in annotation.split(" | "):
            if kind in classes:
                members = [item for item in classes[kind].body if isinstance(item, ast.Assign)]
                choices[key] = set(_texts(members))
    for node in ast.walk(_source("trl", "trainer/grpo_trainer.py")):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute):
            key = node.left.attr
            if fields.get(key) in ("str", "str | bool"):
                choices.setdefault(key, set()).update(_texts([node]))
    levels = {"detail", "debug", "info", "warning", "error", "critical", "passive"}
    return {**choices, "log_level": levels, "log_level_replica": levels}


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


@lru_cache
def _classes() -> dict[str, ast.ClassDef]:
    files = (
        ("transformers", "trainer_utils.py"), ("transformers", "training_args.py"),
        ("trl", "trainer/base_config.py"), ("trl", "trainer/grpo_config.py"),
        ("trl", "trainer/sft_config.py"), ("trl", "trainer/reward_config.py"),
        ("peft", "config.py"), ("peft", "tuners/lora/config.py"),
    )  # fmt: skip
    classes = {}
    for package, file in files:
        for node in _source(package, file).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
    return classes


def _source(package: str, file: str) -> ast.Module:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RecipeError(
            f"the package {package} is not installed; install llmpolicy with its dependencies"
        )
    return ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
