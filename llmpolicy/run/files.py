"""The files of a run that are written whole and read back: recipe, manifest, lines."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.errors import RunError

SCHEMA = 1


def read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe and the manifest of the run in a folder; raises RunError when there is none or it cannot be read."""
    if not (path / "manifest.json").is_file() or not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} holds no run: expected recipe.yaml and manifest.json in it")
    try:
        recipe: dict[str, Any] = yaml.safe_load((path / "recipe.yaml").read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: recipe.yaml cannot be read: {' '.join(str(error).split()):.120}") from error
    manifest = read_manifest(path)
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise RunError(f"{path}: schema {schema!r} is not {SCHEMA}, the one this version reads")
    return recipe, manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder; raises RunError when it cannot be read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{folder / 'manifest.json'} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise RunError(f"{folder / 'manifest.json'} cannot be read: expected a JSON object, found {manifest!r:.40}")
    return manifest


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cut_torn_line(path: Path) -> None:
    """Drop what a kill left of a last line."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
