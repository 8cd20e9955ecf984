"""What may be published: an explicit list of file names, and what every file is checked for.
Nothing else leaves.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from stat import S_ISREG
from typing import Literal

from safetensors import SafetensorError, safe_open

from llmpolicy.bounded import read_json
from llmpolicy.errors import PublishError
from llmpolicy.publish.local import Machine, local_in, this_machine
from llmpolicy.publish.texts import readable, texts
from llmpolicy.publish.weights import not_finite, weights_end
from llmpolicy.secrets import secret_in, values_of

What = Literal["adapter", "merged", "policy"]

ADAPTER = r"adapter_model\.safetensors|adapter_config\.json"
MODEL = (
    r"model\.safetensors|model-\d{5}-of-\d{5}\.safetensors|model\.safetensors\.index\.json"
    r"|config\.json|generation_config\.json"
)
SMALL = ("config.json", "model.safetensors")
"""A small policy: the arguments that build its network, and its weights."""
TOKENIZER = (
    r"tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.json|vocab\.txt|merges\.txt|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model"
    r"|chat_template\.jinja|additional_chat_templates/[A-Za-z0-9][\w.-]*\.jinja"
)
FOLDER = "additional_chat_templates"
"""The one folder beside the weights that transformers reads."""
WRITTEN = ("README.md", "recipe.yaml", "evaluation.json", "llmpolicy_manifest.json")
"""The four files that publishing writes itself; a file of that name in the run's folder is never
taken.
"""

LARGEST_TEXT = 256 * 2**20
"""Bytes of a file that is no weights; the largest tokenizers have some 40 MiB."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file as it is sent: its name, bytes, sha256, and the id that git gives to its content."""

    name: str
    size: int
    sha256: str
    blob_id: str


Files = tuple[PublishedFile, ...]


def allowed(name: str, what: What) -> bool:
    """Whether a file of this name may be taken from a folder of weights; never one that publishing
    writes itself.
    """
    if what == "policy":
        return name in SMALL
    weights = ADAPTER if what == "adapter" else MODEL
    return re.fullmatch(f"{weights}|{TOKENIZER}", name) is not None


def ours(name: str) -> bool:
    """Whether some publication may hold a file of this name, so that a later one replaces or
    removes it.
    """
    return name in WRITTEN or allowed(name, "adapter") or allowed(name, "merged")


def stage(source: Path, target: Path, what: What) -> None:
    """Copy the files on the list from a folder of weights into an empty one.

    Raises PublishError for a listed name that is a link or no plain file, and when the weights are
    not all there.
    """
    if source.is_symlink():
        raise PublishError(
            f"{source} is a link; only what lies in the run's own folder is published"
        )
    for name, path in _entries(source):
        if allowed(name, what):
            (target / name).parent.mkdir(exist_ok=True)
            copy_plain(path, target / name)
    names = {path.name for path in target.iterdir()}
    missing = sorted(_required(target, what) - names)
    if missing:
        raise PublishError(
            f"{source} has no {missing[0]}; expected {_expected(what)} as safetensors"
        )


def copy_plain(source: Path, target: Path) -> None:
    """Copy a file that is one: no link, no second name of another file, no device, nothing that
    changes meanwhile.

    Raises PublishError. What is looked at is what was opened, so that nothing can be put in its
    place between.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise PublishError(
                f"{source} is a link or no plain file; only plain files are published"
            ) from error
        raise
    try:
        before = os.fstat(descriptor)
        _refuse_special(source, before)
        with open(descriptor, "rb", closefd=False) as file, open(target, "xb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copied = copy.tell()
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    same = after.st_size == before.st_size and after.st_mtime_ns == before.st_mtime_ns
    if not same or copied != before.st_size:
        target.unlink()
        raise PublishError(
            f"{source} changed while it was read; publish again when nothing writes there"
        )


def refuse_links(sources: Iterable[Path]) -> None:
    """Raise PublishError for a file, of those that are there, that is a link, a second name of
    another, or a device.
    """
    for source in sources:
        if os.path.lexists(source):
            _refuse_link(source, source.lstat())


def _refuse_link(source: Path, status: os.stat_result) -> None:
    if not S_ISREG(status.st_mode):
        raise PublishError(f"{source} is a link or no plain file; only plain files are published")
    if status.st_nlink > 1:
        raise PublishError(
            f"{source} is a hard link, {status.st_nlink} names for one file, perhaps of a file"
            " elsewhere; put a copy in its place"
        )


def _refuse_special(source: Path, status: os.stat_result) -> None:
    _refuse_link(source, status)
    if source.suffix == ".safetensors":
        with open(source, "rb") as file:
            promised = weights_end(file)
        if promised != status.st_size:
            raise PublishError(
                f"{source.name} is not safetensors: {status.st_size:,} bytes where its header tells"
                f" of {promised:,}"
            )
    elif status.st_size > LARGEST_TEXT:
        raise PublishError(
            f"{source} has {status.st_size:,} bytes; a file of this name has at most"
            f" {LARGEST_TEXT:,}"
        )


def check_folder(
    folder: Path,
    what: What,
    environment: Mapping[str, str] = os.environ,
    machine: Machine | None = None,
    sources: Collection[str] = (),
) -> None:
    """Check a staged folder: listed plain files and ``sources`` only, real safetensors, real JSON,
    no secret in any byte.

    Raises PublishError with the file's name; the secret itself is never shown.
    """
    listed = {*WRITTEN, *sources}
    values, machine = tuple(values_of(environment)), machine or this_machine()
    # The card comes last, for it repeats the others.
    for name, path in sorted(_entries(folder), key=lambda entry: entry[0] == "README.md"):
        if path.is_symlink() or not path.is_file() or not (allowed(name, what) or name in listed):
            raise PublishError(f"{name} is not on the list of files that may be published")
        _check_format(path)
        says, words = readable(path)
        if secret := secret_in(says, values) or secret_in(words, values, forms_only=True):
            raise PublishError(f"{path.name} holds {secret}; remove it there and publish again")
        _refuse_local(path, machine)


def _refuse_local(path: Path, machine: Machine) -> None:
    """What tells of this machine is replaced in what publishing writes; where others wrote, it is
    refused.
    """
    for text in texts(path):
        if clue := local_in(text, machine):
            raise PublishError(f"{path.name} holds {clue}; remove it there and publish again")


def describe(folder: Path) -> Files:
    """Every file of a folder with its size and hashes, in order of name."""
    return tuple(starmap(_describe, _entries(folder)))


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """What lies in a folder, and in its folder of further templates unless that is a link, by the
    names it is published by.
    """
    for path in sorted(folder.iterdir()):
        if path.name == FOLDER and path.is_dir() and not path.is_symlink():
            for inner in sorted(path.iterdir()):
                yield f"{FOLDER}/{inner.name}", inner
        else:
            yield path.name, path


def _expected(what: What) -> str:
    if what == "adapter":
        return "an adapter (adapter_model and adapter_config)"
    return "a model (model and config)"


def _required(folder: Path, what: What) -> set[str]:
    """The names without which the weights cannot be loaded; the shards are those that the index
    names.
    """
    if what == "adapter":
        return {"adapter_config.json", "adapter_model.safetensors"}
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return {"config.json", "model.safetensors"}
    try:
        shards = set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise PublishError(
            f"{index.name} is no index of safetensors shards: {error!r:.80}"
        ) from error
    return {"config.json", *map(str, shards)}


def _check_format(path: Path) -> None:
    """A name on the list is not enough: the content must be what the name says."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as tensors:
                tensors.keys()
            if name := not_finite(path):
                raise PublishError(
                    f"{path.name}: {name} holds NaN or infinity; such weights are not published"
                )
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_nan)
        elif path.suffix != ".model":
            path.read_text(encoding="utf-8")
    except (SafetensorError, ValueError, RecursionError) as error:
        raise PublishError(f"{path.name} is not {path.suffix[1:]}: {error!s:.100}") from error


def _no_nan(constant: str) -> float:
    """A setting may be unbounded (a time step, a length), but none is NaN."""
    if constant == "NaN":
        raise ValueError("it holds NaN")
    return float(constant)


def _describe(name: str, path: Path) -> PublishedFile:
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            blob.update(block)
    return PublishedFile(name, size, sha256.hexdigest(), blob.hexdigest())
