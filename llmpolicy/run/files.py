"""The files of a run that are written whole and read back: recipe, manifest, lines."""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.bounded import load_json, load_yaml, read_json, read_text
from llmpolicy.errors import RunError, one_line
from llmpolicy.run.disk import writing
from llmpolicy.run.sealed import Facts, sync

SCHEMA = 1

Record = dict[str, Any]
"""A recipe, a manifest or a line of metrics, as plain data."""


def read_run(path: Path) -> tuple[Record, Record]:
    """The recipe and the manifest of the run in a folder; raises RunError when there is none or it
    cannot be read.
    """
    if not (path / "manifest.json").is_file() or not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} holds no run: expected recipe.yaml and manifest.json in it")
    try:
        recipe: Record = load_yaml(read_text(path / "recipe.yaml"))
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: recipe.yaml cannot be read: {one_line(error):.120}") from error
    if not isinstance(recipe, dict):
        raise RunError(
            f"{path}: recipe.yaml cannot be read: expected a mapping, found {recipe!r:.40}"
        )
    manifest = read_manifest(path)
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise RunError(f"{path}: schema {schema!r} is not {SCHEMA}, the one this version reads")
    return recipe, manifest


def read_manifest(folder: Path) -> Record:
    """The manifest in a folder; raises RunError when it cannot be read."""
    try:
        manifest = read_json(folder / "manifest.json")
    except ValueError as error:
        raise RunError(f"{folder / 'manifest.json'} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise RunError(
            f"{folder / 'manifest.json'} cannot be read: expected a JSON object, found"
            f" {manifest!r:.40}"
        )
    return manifest


def manifest_text(manifest: Facts) -> str:
    """A manifest as it is written, with a checksum of all the rest of it."""
    rest = json.loads(json.dumps(_unsigned(manifest), default=str))
    return json.dumps({**rest, "checksum": checksum(rest)}, indent=2)


def checksum(manifest: Facts) -> str:
    """The sha256 of a manifest without its own checksum."""
    return sha256(json.dumps(_unsigned(manifest)).encode()).hexdigest()


def _unsigned(manifest: Facts) -> Record:
    rest = dict(manifest)
    rest.pop("checksum", None)
    return rest


def read_checked(path: Path) -> Record:
    """A JSON object that was written with a checksum, without it; ValueError where it is not what
    was written.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if content.get("checksum") not in (None, checksum(content)):
        raise ValueError("it is not what was written")
    return _unsigned(content)


def parse_lines(content: bytes) -> tuple[list[Record], list[int]]:
    """The lines of a metrics file and the numbers of those that are damaged; the last one, if a
    kill broke it off, is neither.
    """
    lines: list[Record] = []
    damaged: list[int] = []
    for number, text in enumerate(content.splitlines(keepends=True), 1):
        if not text.endswith(b"\n"):
            continue
        try:
            line = load_json(text)
        except ValueError:
            line = None
        whole = isinstance(line, dict) and isinstance(line.get("mode"), str)
        if whole and _is_step(line.get("step")):
            lines.append(line)
        else:
            damaged.append(number)
    return lines, damaged


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: what the disk holds under its name is the old content or
    the new.

    Raises DiskError where the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path, len(content)):
        try:
            temporary.write_bytes(content)
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def cut_later_lines(path: Path, step: int) -> None:
    """Drop the lines of a metrics file that are of later steps; damaged ones stay, and are counted
    when they are read.
    """
    content = path.read_bytes() if path.exists() else b""
    kept = b"".join(line for line in content.splitlines(keepends=True) if _step_of(line) <= step)
    if kept != content:
        write_bytes(path, kept)


def _step_of(line: bytes) -> int:
    lines, _ = parse_lines(line)
    return int(lines[0]["step"]) if lines else -1


def cut_torn_line(path: Path) -> None:
    """Drop what a kill left of a last line."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _is_step(value: object) -> bool:
    return isinstance(value, int) and abs(value) < 2**53  # what JSON and a plot hold exactly
