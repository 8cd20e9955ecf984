"""What another needs to make a run again: its recipe for any machine, the sources that it names,
and what is not published.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError
from llmpolicy.publish.card import tasks_of
from llmpolicy.publish.local import Machine, local_in
from llmpolicy.publish.shown import Data, Record
from llmpolicy.recipe import make_recipe
from llmpolicy.run import Run
from llmpolicy.run.paths import in_paths, moved
from llmpolicy.run.sealed import content_digest

SOURCE = re.compile(r"[A-Za-z_][\w-]*\.py")
"""The name of a Python file that a recipe may bring along."""
FREE = ("args", "grpo", "sft", "chat_template_kwargs", "lora")
"""Blocks whose keys are not the recipe's own: an empty value there says something."""
SHIPPED = ("reward_fns/", "the code", "the values")
CALLED = ("rewards", "tasks", "functions")
"""What of a manifest names the functions that the run called."""
"""How the sources that come with llmpolicy, and those that are no files, begin in a manifest."""


@dataclass(frozen=True, slots=True)
class Kit:
    """A recipe whose files lie beside it, the Python files that go with it by name, and what else
    is needed, in words.
    """

    recipe: Data
    sources: Mapping[str, Path]
    missing: tuple[str, ...]


def kit_of(run: Run, recipe: Record, hub_id: str | None, machine: Machine) -> Kit:
    """The recipe of a run with each path as a name beside it, and the base by its Hub id where it
    has one.

    A source is only published as the run was made with it, and when it tells nothing of this
    machine.
    """
    now, base = moved(run.path.resolve(), run.manifest, run.recipe)
    sources: dict[str, Path] = {}
    missing: dict[str, None] = {}

    def beside(text: str) -> str:
        path = text.rpartition(":")[0] if ".py:" in text else text
        file = base / Path(now(path)).expanduser()
        if not file.exists() or path in ("", "."):
            return text
        is_source = path != text and sources.get(file.name, file) == file
        if is_source and _is_for_others(run, file, machine):
            sources[file.name] = file
        else:
            needed = file.name
            for digest in filter(None, _digests(run, file)[:1]):
                needed += f" (sha256 {digest})"
            missing[needed] = None
        return file.name + text[len(path) :]

    if hub_id:
        recipe = {**recipe, "model": {**recipe["model"], "path": hub_id}}
    data = in_paths(recipe, beside)
    missing |= dict.fromkeys(_elsewhere(run, data))
    return Kit(_short(data), sources, tuple(missing))


def _is_for_others(run: Run, file: Path, machine: Machine) -> bool:
    if not SOURCE.fullmatch(file.name) or content_digest(file) not in _digests(run, file):
        return False
    try:
        return local_in(file.read_text(encoding="utf-8"), machine) is None
    except UnicodeDecodeError:
        return False


def _recorded(run: Run, *kinds: str) -> Iterator[Record]:
    """What the manifest says of these kinds: a file or a function each."""
    for kind in kinds:
        yield from run.manifest.get(kind) or ()


def _digests(run: Run, file: Path) -> list[Any]:
    """The hashes that the run recorded of files of this name."""
    digests = []
    for entry in _recorded(run, "files", *CALLED):
        if Path(str(entry.get("file"))).name == file.name:
            digests.append(entry.get("sha256"))
    return digests


def _elsewhere(run: Run, recipe: Record) -> Iterator[str]:
    """Modules that do not come with llmpolicy, and rows that were given in Python."""
    code = str(Path(__file__).parent.parent)
    for entry in _recorded(run, *CALLED):
        name, file = str(entry.get("fn")), str(entry.get("file") or "")
        if file and ".py:" not in name and not file.startswith((code, *SHIPPED)) and ":" in name:
            yield f"the Python module {name.partition(':')[0]}"
    for task in tasks_of(recipe):
        if isinstance(task, Mapping) and task.get("rows"):
            yield "the rows, which were given in Python"


def _short(recipe: Data) -> Data:
    """The recipe without what it does not set, where it means the same so."""
    short = _without_empty(recipe)
    with suppress(RecipeError):  # with rows that were given in Python, it cannot be loaded anyhow
        if _resolved(short) != _resolved(recipe):
            return recipe
    return short


def _resolved(recipe: Record) -> Data:
    blocks = dict(recipe)
    blocks.pop("schema", None)
    return make_recipe(blocks).resolved()


def _without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_without_empty, value))
    if not isinstance(value, Mapping):
        return value
    full = {}
    for key, item in value.items():
        if key not in FREE:
            item = _without_empty(item)
        if item not in (None, [], {}):
            full[key] = item
    return full
