"""Overrides on the command line, ``key=value``: where each goes in a recipe's data, and where its
paths start from.
"""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.bounded import load_yaml
from llmpolicy.errors import RecipeError, one_line
from llmpolicy.run.paths import FUNCTIONS


def override(data: dict[str, Any], written: str) -> str:
    """Write one ``a.b.0.c=value`` into a recipe's data and return its dotted key; its paths start
    from the current folder.

    Raises RecipeError when it is no such text, or leads nowhere.
    """
    _write_out(data)
    key, equals, text = (part.strip() for part in written.partition("="))
    if not equals or not key:
        raise RecipeError(f"override {written!r}: expected key=value, such as grpo.max_steps=20")
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        problem = one_line(getattr(error, "problem", error))
        raise RecipeError(
            f"override {written!r}: the value is not valid YAML ({problem}); a text needs quotes of"
            f" its own, such as {key}='\"a: b\"'"
        ) from error
    if key.startswith("task.0.") and isinstance(
        data.get("task"), dict
    ):  # as errors name the one task that there is
        key = key.replace("task.0.", "task.", 1)
    *parents, last = key.split(".")
    target: Any = data
    for parent in parents:
        step = _step(target, parent, written)
        if isinstance(target, dict) and target.get(step) is None:
            target[step] = {}
        target = target[step]
    target[_step(target, last, written)] = from_here(value, key.split("."))
    return key


def apart(value: Any) -> Any:
    """Data in which no block is another one too, as YAML's anchors make them: one of them may be
    overridden alone.
    """
    if isinstance(value, dict):
        return {key: apart(inner) for key, inner in value.items()}
    return [apart(inner) for inner in value] if isinstance(value, list) else value


def from_here(value: Any, key: Sequence[str]) -> Any:
    """A value with each relative path that lies in the current folder made absolute; ``key`` is
    where it is written.

    A path that does not lie here stays as it is: it starts from the recipe's folder.
    """
    if "args" in key or "rows" in key:
        return value
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, Mapping):
        return {name: from_here(inner, [*key, str(name)]) for name, inner in value.items()}
    if isinstance(value, list):
        return [from_here(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    names = [part for part in key if not part.isdecimal()]
    file, colon, function = value.rpartition(":")
    if names[-1] in FUNCTIONS and colon and file.endswith(".py"):
        return f"{_here(file)}:{function}"
    if names[-1] == "file":
        return _here(value)
    if names in (["model"], ["model", "path"], ["model", "adapter"]) and value != "bundled":
        return _here(value)
    return value


def _here(path: str) -> str:
    local = Path(path).expanduser()
    return str(local.resolve()) if local.exists() else path


def _write_out(data: dict[str, Any]) -> None:
    """Write the short forms of a recipe as blocks, so that an override can reach into them."""
    if isinstance(data.get("model"), str):
        data["model"] = {"path": data["model"]}
    rewards = data.get("rewards")
    if isinstance(rewards, str | list):
        listed = [rewards] if isinstance(rewards, str) else rewards
        for index, entry in enumerate(listed):
            if isinstance(entry, str):
                listed[index] = {"fn": entry}
        data["rewards"] = listed
    if isinstance(data.get("policy"), str):
        data["policy"] = {"fn": data["policy"]}


def _step(target: Any, name: str, written: str) -> str | int:
    """The key of a block, or the index of a list, that one part of an override names."""
    if isinstance(target, dict):
        return name
    if not isinstance(target, list):
        raise RecipeError(
            f"override {written!r}: the recipe has the value {target!r:.60} there, without a"
            f" {name!r}"
        )
    if not name.isdecimal() or int(name) >= len(target):
        raise RecipeError(
            f"override {written!r}: {name!r} is not a place in a list of {len(target)}"
        )
    return int(name)
