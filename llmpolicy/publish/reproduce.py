"""What another needs to make a run again: its recipe for any machine, the sources that it names,
and what is not published.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import RecipeError
from llmpolicy.publish.local import Machine, local_in
from llmpolicy.recipe import make_recipe
from llmpolicy.run import Run
from llmpolicy.run.contents import content_digest
from llmpolicy.run.paths import in_paths, moved

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

    recipe: dict[str, Any]
    sources: Mapping[str, Path]
    missing: tuple[str, ...]


def kit(run: Run, recipe: Mapping[str, Any], hub_id: str | None, machine: Machine) -> Kit:
    """The recipe of a run with each path as a name beside it, and the base by its Hub id where it
    has one.

    A source is only published as the run was made with it, and when it tells nothing of this
    machine.
    """
    now, base = moved(run.path.resolve(), run.manifest, run.recipe)
    sources: dict[str, Path] = {}
    missing: dict[str, None] = {}

    def beside(text: str) -> str:
        place, colon, function = text.rpartition(":") if ".py:" in text else (text, "", "")
        file = base / Path(now(place)).expanduser()
        if not file.exists() or place in ("", "."):
            return text
        if colon and sources.get(file.name, file) == file and _is_for_others(run, file, machine):
            sources[file.name] = file
        else:
            missing[f"{file.name}{_told(run, file)}"] = None
        return f"{file.name}{colon}{function}"

    model = {**recipe["model"], "path": hub_id} if hub_id else recipe.get("model")
    data = in_paths({**recipe, "model": model}, beside)
    for part in _elsewhere(run, data):
        missing[part] = None
    return Kit(_short(data), sources, tuple(missing))


def _is_for_others(run: Run, file: Path, machine: Machine) -> bool:
    recorded = [
        item.get("sha256")
        for item in _recorded(run)
        if Path(str(item.get("file"))).name == file.name
    ]
    if not SOURCE.fullmatch(file.name) or content_digest(file) not in recorded:
        return False
    try:
        return local_in(file.read_text(encoding="utf-8"), machine) is None
    except UnicodeDecodeError:
        return False


def _recorded(run: Run) -> list[Mapping[str, Any]]:
    return [item for key in ("files", *CALLED) for item in run.manifest.get(key) or ()]


def _told(run: Run, file: Path) -> str:
    """The hash of a file that is needed and not published, where the run recorded one."""
    digests = [
        item.get("sha256")
        for item in _recorded(run)
        if Path(str(item.get("file"))).name == file.name
    ]
    return f" (sha256 {digests[0]})" if digests and digests[0] else ""


def _elsewhere(run: Run, recipe: Mapping[str, Any]) -> Iterator[str]:
    """Modules that do not come with llmpolicy, and rows that were given in Python."""
    code = str(Path(__file__).parent.parent)
    for item in [item for key in CALLED for item in run.manifest.get(key) or ()]:
        name, file = str(item.get("fn")), str(item.get("file") or "")
        if file and ".py:" not in name and not file.startswith((code, *SHIPPED)) and ":" in name:
            yield f"the Python module {name.partition(':')[0]}"
    if any(isinstance(task, Mapping) and task.get("rows") for task in _tasks(recipe)):
        yield "the rows, which were given in Python"


def _tasks(recipe: Mapping[str, Any]) -> list[Any]:
    tasks = recipe.get("task") or []
    return [tasks] if isinstance(tasks, Mapping) else list(tasks)


def _short(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without what it does not set, where it means the same so."""
    short = _without_empty(recipe)
    try:
        same = _resolved(short) == _resolved(recipe)
    except RecipeError:
        same = True  # as rows that were given in Python, it cannot be loaded anyhow
    return short if same else recipe


def _resolved(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return make_recipe({key: value for key, value in recipe.items() if key != "schema"}).resolved()


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = {key: item if key in FREE else _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in (None, [], {})}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
