"""Paths in what a run keeps of itself, written so that the run can be moved: those below it begin
with ``{run}``.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmpolicy.rewards.compose import COMPOSITES
from llmpolicy.run.checkpoints import RECORD
from llmpolicy.run.sealed import Facts, content_digest

RUN = "{run}"
"""Stands for the folder of the run at the beginning of a path, in the recipe and the manifest that
the run keeps.
"""

FUNCTIONS = (
    *("fn", "correct", "generator", "canonical", "advantage", "loss", "baseline", "policy"),
    *("rewards", "truth", *COMPOSITES),
    "tools",
)
"""The keys of a recipe whose text, or each text of their list, is ``module:function`` or
``path.py:function``.
"""

DATA = ("args", "rows", "grpo", "sft", "reward_model")
"""The keys of a recipe below which no function is named by its key."""

PATHS = ("path", "adapter", "file")
"""The keys of a recipe whose text is a path, or may be one."""

ELSEWHERE = (RUN, "~", "reward_fns/", "the code", "the values")
"""How files begin in a manifest that do not lie in the folder of the recipe, or are none."""

STAGES = ("warm_start", "reward_model")
"""The folders of a run that its own recipe names."""


def in_paths(value: Any, act: Callable[[str], str], *, named: bool = False) -> Any:
    """A recipe's data with ``act`` done to every text that may be a path, or begin with one, with
    ``named`` to every text at all; the rows that it holds are no such texts.
    """
    if isinstance(value, Mapping):
        return {key: _below_key(key, inner, act, named=named) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_paths(inner, act, named=named) for inner in value]
    return act(value) if named and isinstance(value, str) else value


def _below_key(key: str, value: Any, act: Callable[[str], str], *, named: bool) -> Any:
    if named or key == "args":
        return in_paths(value, act, named=True)
    if key == "rows":
        return value
    if key in (*PATHS, *FUNCTIONS) and isinstance(value, str):
        return act(value)
    if key in FUNCTIONS and isinstance(value, list | tuple):
        return [_below_key(key, inner, act, named=False) for inner in value]
    return in_paths(value, act)


def functions_in(value: Any, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each text of a recipe's data that names a function: its dotted key, itself, and the block or
    list around it.
    """
    for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        dotted = f"{key}.{name}".lstrip(".")
        listed = isinstance(name, int) and key.rpartition(".")[2] in FUNCTIONS
        if isinstance(inner, str) and (name in FUNCTIONS or listed):
            yield dotted, inner, value
        elif name not in DATA and isinstance(inner, Mapping | list | tuple):
            yield from functions_in(inner, dotted)


def from_run(text: str, run: Path) -> str:
    """A path as the run in a folder writes it down."""
    return _put(text, str(run), RUN)


def below(text: str, run: Path) -> str:
    """The path that the run in a folder has written down, where it lies now."""
    return _put(text, RUN, str(run))


def _put(text: str, old: str, new: str) -> str:
    if text == old or text.startswith(f"{old}/"):
        return new + text[len(old) :]
    return text


def run_of(recipe: Path) -> Path | None:
    """The folder of the run whose own recipe a file is, also of a copy in one of its checkpoints;
    None for any other.
    """
    folder = recipe.parent.resolve()
    if not (folder / "manifest.json").is_file():
        return None
    in_checkpoint = folder.name == RECORD and re.fullmatch(r"checkpoint-\d+", folder.parent.name)
    return folder.parents[2] if in_checkpoint else folder


def base_facts(base: Path | None, run: Path) -> dict[str, str]:
    """For the manifest: the folder that a recipe's relative paths start from, and where it lies as
    seen from the run.
    """
    home = (base or Path.cwd()).resolve()
    return {"base_dir": str(home), "base_dir_from_run": os.path.relpath(home, run.resolve())}


def base_of(run: Path, manifest: Facts, recipe: Facts) -> Path:
    """The folder that a run's recipe starts from, where it lies now: run and recipe may have moved
    together, or the run alone.

    Of those places, and the folders around the run, it is the first whose files are those that the
    run was made from. Earlier versions noted only where the folder was.
    """
    noted, seen = Path(manifest.get("base_dir") or run), manifest.get("base_dir_from_run")
    if seen is None and noted.is_dir():
        return noted
    folders = [noted, run, *run.parents[:3]]
    if seen is not None:
        folders.insert(0, Path(os.path.normpath(run / seen)))
        if folders[0] == noted:
            return noted
    files = dict(_named(manifest, recipe))
    folders = list(filter(Path.is_dir, folders))
    for folder in folders:
        if all(_is(folder / name, sha256) for name, sha256 in files.items()):
            return folder
    return noted if seen is None else folders[0]


def _named(manifest: Facts, recipe: Facts) -> Iterator[tuple[str, str]]:
    """The files that a run was made from and that its recipe names from its own folder, with their
    sha256.
    """
    model = recipe.get("model") or {}
    folders = {"model": model.get("path"), "adapter": model.get("adapter")}
    for item in manifest.get("files") or []:
        folder, name = folders.get(item["for"], ""), item["file"]
        if (
            folder not in (None, "bundled")
            and not folder.startswith(ELSEWHERE)
            and not name.startswith(ELSEWHERE)
        ):
            path = os.path.join(folder, name)
            if not os.path.isabs(path):
                yield path, item["sha256"]


def _is(file: Path, sha256: str) -> bool:
    return file.is_file() and _digest(file, file.stat().st_mtime_ns) == sha256


@lru_cache(maxsize=1000)
def _digest(file: Path, written: int) -> str:
    return content_digest(file)


def moved(run: Path, manifest: Facts, recipe: Facts) -> tuple[Callable[[str], str], Path]:
    """Where a path that a run has noted lies now, as a function, and the folder that the recipe's
    relative paths start from.
    """
    base, noted = base_of(run, manifest, recipe), manifest.get("base_dir")

    def now(text: str) -> str:
        if text.startswith(RUN):
            return below(text, run)
        path = Path(text)
        here = run / path.name
        if path.is_absolute() and path.name in STAGES and not path.exists() and here.is_dir():
            return str(here)  # as earlier versions wrote it
        shifted = _put(text, noted, str(base)) if noted else text
        if _file(text).exists() and not _file(shifted).exists():  # left behind where it was
            return text
        return shifted

    return now, base


def _file(text: str) -> Path:
    """The file of a path, or of a function named by its file."""
    file, _, _ = text.rpartition(":")
    return Path(file if file.endswith(".py") else text)
