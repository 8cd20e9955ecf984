"""Folders that are whole or not there: written aside, synced, renamed, with the size and sha256 of
every file in them.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.run.disk import size_of, writing
from llmpolicy.terminal import Say

Facts = Mapping[str, Any]
"""What is known of a run, a folder or a call, by name."""

SEAL = "checksums.json"
"""Comes last into a folder: its files' sizes and sha256, and what the writer said of the folder."""

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx")
BLOCK, BLOCKS = 2**20, 256
"""Of a file of weights that is larger than that many blocks of so many bytes, these are read,
evenly spread.
"""


@contextlib.contextmanager
def written_whole(target: Path, **facts: Any) -> Iterator[Path]:
    """A folder to write into that takes the place of ``target`` at the end; if writing fails, the
    old one stays.
    """
    staged = _aside(target, "new")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with writing(target, lambda: max(size_of(target), size_of(staged))):
            staged.mkdir(parents=True)
            yield staged
            put(staged, target, **facts)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        recover(target)
        raise


def put(staged: Path, target: Path, **facts: Any) -> None:
    """Seal a folder and rename it to ``target``; what was there goes when the new one is in its
    place.
    """
    seal(staged, **facts)
    old = _aside(target, "old")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.rename(target, old)
    os.rename(staged, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(target: Path) -> None:
    """Finish what a kill between two renames left, and drop what was not written to the end."""
    staged, old = _aside(target, "new"), _aside(target, "old")
    for candidate in (staged, old):
        if not target.exists() and candidate.exists() and damage(candidate) is None:
            os.rename(candidate, target)
        shutil.rmtree(candidate, ignore_errors=True)


def seal(folder: Path, **facts: Any) -> None:
    """Write down size and sha256 of every file in a folder, and let the disk have them all."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    files = {path.relative_to(folder).as_posix(): fingerprint(path) for path in paths}
    text = json.dumps({"schema": 1, **facts, "files": files}, indent=1)
    (folder / SEAL).write_text(text, encoding="utf-8")
    for path in [*paths, folder / SEAL, *filter(Path.is_dir, folder.rglob("*")), folder]:
        sync(path)


def damage(folder: Path, **facts: Any) -> str | None:
    """What is wrong with a sealed folder, as a clause, or None: every byte is read and checked,
    sizes first.

    ``facts`` are what its seal must say, where it says it: a whole folder of another ``run`` or
    ``step`` has no place here.
    """
    if not (folder / SEAL).is_file():
        return f"{SEAL} is missing"
    files = facts_of(folder).get("files")
    if not isinstance(files, dict) or not files:
        return f"{SEAL} cannot be read"
    try:
        for name, expected in files.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if (size := (folder / name).stat().st_size) != expected["bytes"]:
                return f"{name} has {size:,} bytes instead of {expected['bytes']:,}"
        for name, expected in files.items():
            if fingerprint(folder / name) != expected:
                return f"{name} is not what was written"
    except (KeyError, TypeError, ValueError):
        return f"{SEAL} cannot be read"
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be read ({error.strerror})"
    sealed = facts_of(folder)
    for name, value in facts.items():
        if value is not None and sealed.get(name, value) != value:
            return f"it is of {name} {sealed[name]}, not of {value}"
    return None


def broken(folder: Path) -> str | None:
    """The same of a folder that may be loaded: None also for one that was never sealed."""
    return damage(folder) if (folder / SEAL).is_file() else None


def facts_of(folder: Path) -> Facts:
    """What a folder's seal says; nothing where there is none that can be read."""
    try:
        facts = read_json(folder / SEAL)
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def content_digest(path: Path) -> str:
    """The sha256 of a file; of large weights, of which training changes all, that of size and
    spread blocks, and it says so.

    All of it would take minutes a start, in which a model of some ten billion parameters is loaded
    in seconds.
    """
    size = path.stat().st_size
    if path.suffix not in WEIGHTS or size <= BLOCKS * BLOCK:
        return str(fingerprint(path)["sha256"])
    hashed = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as file:
        for number in range(BLOCKS):
            file.seek(number * (size - BLOCK) // (BLOCKS - 1))
            hashed.update(file.read(BLOCK))
    return f"{BLOCKS} blocks: {hashed.hexdigest()}"


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder, and forget the cached copy, so that
    it is read from there.

    Some file systems (SMB, FUSE) have no such wait for a folder; there the rename alone must do.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
                raise
        if hasattr(os, "posix_fadvise") and path.is_file():
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def keep_damaged(folder: Path, say: Say, **facts: Any) -> bool:
    """Whether a folder is damaged, or its seal says other ``facts``; if so it is kept aside, and
    said.
    """
    clause = damage(folder, **facts) if folder.is_dir() else None
    if clause is not None:
        say(f"note: {folder.name}/ is damaged ({clause}) and kept as {keep_aside(folder).name}/")
    return clause is not None


def keep_aside(path: Path, why: str = "broken") -> Path:
    """Rename what does not count any more to the first free of broken-NAME, broken-NAME-2 ...;
    nothing is deleted.
    """
    kept, number = path.with_name(f"{why}-{path.name}"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{why}-{path.name}-{number}")
    os.rename(path, kept)
    return kept


def _aside(target: Path, which: str) -> Path:
    return target.with_name(f".{target.name}.{which}")
