"""A run directory, open for writing or reading."""

import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.errors import RunError, nearest
from llmpolicy.run import looks, show
from llmpolicy.run.beside import Beside
from llmpolicy.run.bound import Bound
from llmpolicy.run.checkpoints import checkpoints, step_of
from llmpolicy.run.disk import writing
from llmpolicy.run.episodes import (
    Columns,
    attempt_of,
    mode_of,
    read_rows,
    row_files,
    step_of_rows,
    write_rows,
)
from llmpolicy.run.files import (
    SCHEMA,
    Record,
    cut_later_lines,
    cut_torn_line,
    manifest_text,
    parse_lines,
    read_checked,
    read_run,
    write_text,
)
from llmpolicy.run.lock import lock, make_space, release
from llmpolicy.run.machine import environment, now, redact
from llmpolicy.run.paths import from_run, in_paths, moved
from llmpolicy.run.place import claim, is_failed_start, make_folders, refuse_other_kinds
from llmpolicy.run.sealed import SEAL, Facts, damage, facts_of, sync

_LOG = logging.getLogger("llmpolicy")

MODES = ("train", "eval", "summary", "dropped")
"""What lines of metrics.jsonl and rollouts may be about."""


class Run:
    """One run directory, open for writing (``create``, ``resume``) or reading (``open``)."""

    remote_code = False
    """Whether code that comes with its model may run: who opens it says so, nothing in the
    directory does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        recipe, self.manifest = read_run(path)
        self.recipe: Record = in_paths(recipe, lambda text: from_run(text, path.resolve()))
        self.attempt = self.synced = 0
        self.before: Record | None = None
        self.beside, self.bound = Beside(), Bound()

    def __repr__(self) -> str:
        return show.line(self)

    def _repr_html_(self) -> str:
        return show.html(self)

    @classmethod
    def create(cls, path: str | Path, recipe: Facts, **facts: Any) -> "Run":
        """Claim an empty directory, or one with a start that failed, and write the run's recipe and
        manifest.

        ``facts`` are added to the manifest (recipe_hash, rewards, hardware, command ...).
        Raises RunError when the directory already holds a run or cannot be written.
        """
        path = Path(path)
        claim(path)
        make_folders(path)
        text, digest = _write_recipe(path, {"schema": SCHEMA, **recipe})
        begun = {"status": "running", "started": now(), **environment(), **facts}
        begun["recipe_sha256"] = digest
        manifest = {"schema": SCHEMA, "id": _identity(text, facts.get("files")), **begun}
        write_text(path / "manifest.json", manifest_text(manifest))
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run for reading; raises RunError when there is none or its schema is
        another.
        """
        return cls(Path(path))

    @classmethod
    def resume(cls, path: str | Path) -> "Run":
        """Open a run to go on with it, and claim its lock; raises RunError without a checkpoint.

        Its recipe stays until ``goes_on``; ``withdraw`` gives it back as it was.
        """
        run = cls.open(path)
        if run.latest() is None:
            how = "without --resume" if is_failed_start(run.path) else "with another --out DIR"
            raise RunError(f"{path} has no checkpoint to go on from; start it anew {how}")
        refuse_other_kinds(run.path)
        lock(run.path)
        run = cls.open(path)  # as it is now that nobody else writes it
        make_folders(run.path)
        run.before = dict(run.manifest)
        for name in ("metrics.jsonl", "faults.jsonl", looks.NAME):
            cut_torn_line(run.path / name)
        resumed = run.manifest.get("resumed", [])
        run.attempt = 1 + max([len(resumed), *map(attempt_of, run.rollout_files())])
        run.update_manifest(status="running", resumed=[*resumed, now()])
        return run

    @property
    def id(self) -> str | None:
        """What the seals of the run's folders name it by: one for all runs that begin alike; None
        of an earlier version's.
        """
        return self.manifest.get("id")

    def damage(self, folder: Path) -> str | None:
        """What is wrong with a sealed folder of this run, as a clause, or None."""
        return damage(folder, run=self.id)

    def call_here(self, call: Facts) -> Record:
        """A call of faults.jsonl with the paths of its function, its arguments and its recipe as
        they lie now.
        """
        now, _ = moved(self.path.resolve(), self.manifest, self.recipe)
        paths = {key: call[key] for key in ("fn", "args") if call.get(key) is not None}
        return {**call, **in_paths(paths, now), "base_dir": now(call["base_dir"])}

    # What lies where

    def recipe_here(self) -> Record:
        """The recipe as it would be written where the run, and the folder of its recipe, lie
        now.
        """
        home = self.path.resolve()
        now, _ = moved(home, self.manifest, self.recipe)
        here: Record = in_paths(self.recipe, lambda text: from_run(now(text), home))
        return here

    @property
    def checkpoint_dir(self) -> Path:
        """The folder of the trainer's checkpoints (weights, optimiser, step, random states)."""
        return self.path / "checkpoints"

    @property
    def policy_dir(self) -> Path:
        """Weights or adapter after the last step."""
        return self.path / "policy"

    @property
    def best_dir(self) -> Path:
        """Weights or adapter of the step with the best held-out accuracy, when it was measured
        during training.
        """
        return self.path / "best"

    @property
    def plot_path(self) -> Path:
        """The picture of the run."""
        return self.path / "plot.png"

    @property
    def curve_path(self) -> Path:
        """The picture of reward and truth against the KL to the start."""
        return self.path / "overoptimisation.png"

    def checkpoints(self) -> list[Path]:
        """The checkpoints that were written to the end, oldest first."""
        return checkpoints(self.checkpoint_dir)

    def latest(self) -> Path | None:
        """The weights to go on from: the policy, if it is of a later step than the last checkpoint,
        or that.
        """
        newest = max(self.checkpoints(), key=step_of, default=None)
        step = step_of(newest) if newest else 0
        if (self.policy_dir / SEAL).is_file() and self.policy_step() > step:
            return self.policy_dir
        return newest

    def policy_step(self) -> int:
        """The step of the weights in ``policy/``; -1 where that is not known."""
        return int(facts_of(self.policy_dir).get("step", -1))

    def best(self) -> Facts | None:
        """Step, accuracy and truth of the weights in ``best/``; None where there are none."""
        if not self.best_dir.is_dir():
            return None
        facts = self.manifest.get("best") or {}
        if (self.best_dir / SEAL).is_file():
            facts = facts_of(self.best_dir)
        if "accuracy" not in facts:
            return None
        return {key: facts[key] for key in ("step", "accuracy", "truth") if key in facts}

    # Writing

    def update_manifest(self, **facts: Any) -> None:
        """Add facts to manifest.json, atomically."""
        self.manifest.update(facts)
        write_text(self.path / "manifest.json", manifest_text(self.manifest))

    def goes_on(self, recipe: Facts, recipe_hash: str, step: int, **facts: Any) -> None:
        """From ``step`` on the run is that of this recipe: note it, and drop the record of later
        steps, taken again or never.
        """
        if self.manifest.get("recipe_hash") != recipe_hash:
            self.change_recipe(recipe, recipe_hash)
        self.update_manifest(**facts)
        for name in ("metrics.jsonl", looks.NAME):
            cut_later_lines(self.path / name, step)
        for file in self.rollout_files():
            if step_of_rows(file) > step:
                file.unlink()
        self.before = None

    def withdraw(self) -> None:
        """Release a run that could not go on, with its manifest as it was."""
        self.manifest = self.before or self.manifest
        try:
            self.update_manifest()
        finally:
            release(self.path)

    def change_recipe(self, recipe: Facts, recipe_hash: str) -> None:
        """Go on with another recipe, and keep the names of the blocks that changed."""
        new, old = {"schema": SCHEMA, **recipe}, self.recipe_here()
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        _, written = _write_recipe(self.path, new)
        self.recipe = new
        self.update_manifest(recipe_hash=recipe_hash, recipe_sha256=written, recipe_changed=changed)

    def log(self, step: int, metrics: Facts, mode: str = "train") -> None:
        """Append one line to metrics.jsonl."""
        line = {"schema": SCHEMA, "step": step, "mode": mode, "time": round(time.time(), 3)}
        self._append("metrics.jsonl", json.dumps({**line, **metrics}, default=float) + "\n")

    def log_look(self, look: Facts) -> None:
        """Append a look at the held-out prompts to looks.jsonl."""
        self._append(looks.NAME, looks.look_line(look))

    def log_faults(self, records: Sequence[Facts]) -> list[str]:
        """Append to faults.jsonl, secrets in what was said masked; returns ``FILE:LINE`` of each
        record.
        """
        path = self.path / "faults.jsonl"
        before = path.read_bytes().count(b"\n") if path.exists() else 0
        lines, written = "", []
        for number, record in enumerate(records, start=before + 1):
            fault = {"schema": SCHEMA, **self._portable(record)}
            lines += json.dumps(fault, default=str) + "\n"
            written.append(f"{path}:{number}")
        self._append("faults.jsonl", lines)
        return written

    def _portable(self, record: Facts) -> Facts:
        """A fault whose call names what lies below the run from there, and whose sentences tell no
        secret.
        """
        fault, home = dict(record), self.path.resolve()
        for key in filter(fault.get, ("why", "traceback")):
            fault[key] = redact(fault[key])
        call = fault.get("call") or {}
        if call.get("args"):
            args = in_paths(call["args"], lambda text: from_run(text, home), named=True)
            fault["call"] = {**call, "args": args}
        return fault

    def write_rollouts(
        self, step: int, rows: Columns | Sequence[Facts], mode: str = "train"
    ) -> None:
        """Write the completions of one generation as one parquet file; never over another one."""
        self.bound.add(write_rows(self.path / "rollouts", step, mode, self.attempt, rows))

    def keep_record(self, folder: Path) -> None:
        """Copy what the run knows of itself into a checkpoint, which is whole with it, and let the
        disk have its rows.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("recipe.yaml", "manifest.json", "metrics.jsonl"):
            if (self.path / name).is_file():
                shutil.copyfile(self.path / name, folder / name)
        files = self.rollout_files()
        for file in [self.path / "metrics.jsonl", *files[self.synced :]]:
            if file.is_file():
                sync(file)
        self.synced = len(files)

    def write_evaluation(self, evaluation: Facts, *, of_best: bool = False) -> None:
        """Write evaluation.json, atomically; that of the best step lies beside its weights."""
        write_text(self._evaluation_file(of_best), manifest_text(evaluation))

    def _evaluation_file(self, of_best: bool) -> Path:
        return (self.best_dir if of_best else self.path) / "evaluation.json"

    def _append(self, name: str, lines: str) -> None:
        """Add lines to a file, all or none: half a line would be damage to whoever reads on."""
        path, content = self.path / name, lines.encode()
        with writing(path, len(content)), path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise

    def write_config(self, config: Facts) -> None:
        """Write grpo_config.json: every option of the trainer as it was, tokens masked."""
        text = json.dumps({"schema": SCHEMA, **config}, indent=2, default=str)
        write_text(self.path / "grpo_config.json", redact(text))

    def finish(self, status: str, **facts: Any) -> None:
        """Release the run and note how it ended, secrets in the reason masked."""
        if facts.get("reason"):
            facts["reason"] = redact(str(facts["reason"]))
        make_space(self.path)
        try:
            self.update_manifest(status=status, ended=now(), **facts)
        finally:
            release(self.path)

    # Reading

    def metrics(self, mode: str | None = None) -> list[Record]:
        """The lines of metrics.jsonl; after a resume a step that was taken twice counts once, as it
        went last.

        Damaged lines are left out, with a warning.
        """
        path = self.path / "metrics.jsonl"
        lines, damaged = parse_lines(path.read_bytes() if path.is_file() else b"")
        if damaged:
            _LOG.warning("%s: damaged and left out: line %s", path, ", ".join(map(str, damaged)))
        last = {(line["mode"], line["step"]): line for line in lines}
        _check_mode(mode, {line["mode"] for line in lines})
        return [line for line in last.values() if mode in (None, line["mode"])]

    def rollout_files(self) -> list[Path]:
        """The files of rollouts/ in order of step, those that are being written among them."""
        self.beside.settle()
        return row_files(self.path / "rollouts")

    def rollouts(self, mode: str | None = None, without: Collection[str] = ()) -> Iterator[Record]:
        """The rows of rollouts/*.parquet in order of step, without these columns; of a step that
        was taken again, those written last.

        Damaged files are left out, with a warning.
        """
        files = self.rollout_files()
        _check_mode(mode, set(map(mode_of, files)))
        yield from read_rows(files, mode, without)

    def evaluation(self, *, of_best: bool = False) -> Record | None:
        """The content of evaluation.json, of the last step or the best, or None before it is
        written.

        Raises RunError when it is damaged.
        """
        path = self._evaluation_file(of_best)
        if not path.exists():
            return None
        try:
            return read_checked(path)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read ({error}); train with --resume measures again"
            ) from error


def _write_recipe(folder: Path, recipe: Facts) -> tuple[str, str]:
    """Write recipe.yaml; returns its text and the sha256 of that."""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    write_text(folder / "recipe.yaml", text)
    return text, sha256(text.encode()).hexdigest()


def _identity(recipe: str, files: Any) -> str:
    """A hash of what a run begins with, its recipe and the content of its files: what is the same
    again has the same bytes.
    """
    content = json.dumps(files, sort_keys=True, default=str)
    return sha256(f"{recipe}\n{content}".encode()).hexdigest()[:32]


def _check_mode(mode: str | None, written: Collection[str]) -> None:
    """Raise RunError for a mode that no run writes and this one did not."""
    modes = {*MODES, *written}
    if mode is not None and mode not in modes:
        raise RunError(f"a run has nothing of the mode {mode!r}{nearest(mode, modes)}")
