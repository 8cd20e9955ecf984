"""What ``--resume`` does first: a run that was killed or damaged is put in order, and all that was
done is said.
"""

import json
import shutil
from hashlib import sha256
from operator import itemgetter
from pathlib import Path

from llmpolicy.errors import RunError
from llmpolicy.run.checkpoints import RECORD, newest_whole
from llmpolicy.run.files import Record, checksum, parse_lines, read_manifest, write_bytes
from llmpolicy.run.lock import lock, release
from llmpolicy.run.place import drop_unfinished
from llmpolicy.run.sealed import SEAL, keep_aside, keep_damaged, recover
from llmpolicy.terminal import Say

FOLDERS = ("best", "policy")


def mend(path: Path, say: Say) -> None:
    """Put a run's directory in order before it goes on; raises RunError when no checkpoint is
    whole, or it is locked.

    The newest whole checkpoint is found; recipe, manifest and metrics that are damaged come back
    from it; ``best/`` and ``policy/`` that are damaged are kept aside. A directory without a run is
    left as it is.
    """
    if not (path / "checkpoints").is_dir():
        return
    lock(path)
    try:
        for name in FOLDERS:
            recover(path / name)
        _drop_leftovers(path)
        run = _known(path).get("id")
        checkpoint = newest_whole(path / "checkpoints", say, run)
        if checkpoint is not None:
            _mend_record(path, checkpoint, say)
        # Earlier versions sealed no folder; a start that was killed has no manifest.
        sealed = (path / "manifest.json").is_file() and "checksum" in read_manifest(path)
        for name in FOLDERS:
            if sealed or (path / name / SEAL).is_file():
                keep_damaged(path / name, say, run=run or _known(path).get("id"))
    finally:
        release(path)


def _known(path: Path) -> Record:
    """The manifest, where it is what was written; else nothing."""
    whole = (path / "manifest.json").is_file() and _manifest(path, path) is None
    return read_manifest(path) if whole else {}


def _drop_leftovers(path: Path) -> None:
    """What was being written when the run ended, and never was in its place."""
    checkpoints = path / "checkpoints"
    for replaced in checkpoints.glob(".checkpoint-*.old"):
        recover(checkpoints / replaced.name.removeprefix(".").removesuffix(".old"))
    for folder in [checkpoints / ".new", *checkpoints.glob(".checkpoint-*.gone")]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in (path / "rollouts").glob("*.part"):
        file.unlink(missing_ok=True)
    drop_unfinished(path)
    drop_unfinished(path / "best")


def _mend_record(path: Path, checkpoint: Path, say: Say) -> None:
    """Bring back what is damaged of manifest, recipe and metrics; the manifest first, for it knows
    the recipe.
    """
    saved = checkpoint / RECORD
    for name, wrong in (
        ("manifest.json", _manifest),
        ("recipe.yaml", _recipe),
        ("metrics.jsonl", _metrics),
    ):
        if not (saved / name).is_file():
            continue
        clause = wrong(path, saved) if (path / name).is_file() else "is missing"
        if clause is None:
            continue
        content, kept = (saved / name).read_bytes(), ""
        if name == "metrics.jsonl":
            content += _later_lines(path, saved)
        if (path / name).exists():
            kept = f"; the damaged one is kept as {keep_aside(path / name).name}"
        write_bytes(path / name, content)
        say(f"note: {name} {clause}: taken from {checkpoint.name}, as it was then{kept}")


def _manifest(path: Path, saved: Path) -> str | None:
    try:
        manifest = read_manifest(path)
    except RunError:
        return "cannot be read"
    whole = manifest.get("checksum") in (None, checksum(manifest))
    return None if whole else "is not what was written"


def _recipe(path: Path, saved: Path) -> str | None:
    """Half a recipe can be a recipe as well, but another one: what counts is what the run wrote."""
    written = read_manifest(path).get("recipe_sha256")
    if written in (None, sha256((path / "recipe.yaml").read_bytes()).hexdigest()):
        return None
    return "is not what was written (changes are given as KEY=VALUE)"


def _metrics(path: Path, saved: Path) -> str | None:
    """Lines are only ever added, so the file begins with what it was at the checkpoint."""
    begun = (path / "metrics.jsonl").read_bytes().startswith((saved / "metrics.jsonl").read_bytes())
    return None if begun else "is not what was written"


def _later_lines(path: Path, saved: Path) -> bytes:
    """The lines that were added after a checkpoint, as far as they can be read."""
    file = path / "metrics.jsonl"
    if not file.is_file():
        return b""
    before, _ = parse_lines((saved / file.name).read_bytes())
    moment = itemgetter("mode", "step")
    known, later = set(map(moment, before)), b""
    for line in parse_lines(file.read_bytes())[0]:
        if moment(line) not in known:
            later += json.dumps(line).encode() + b"\n"
    return later
