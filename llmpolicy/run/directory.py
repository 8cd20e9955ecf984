"""A run directory, open for writing or reading."""

import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.errors import RunError
from llmpolicy.run.checkpoints import checkpoints
from llmpolicy.run.files import SCHEMA, cut_torn_line, read_run, write_text
from llmpolicy.run.lock import lock, make_space, release
from llmpolicy.run.machine import environment, now
from llmpolicy.run.place import FOLDERS, claim, is_failed_start


class Run:
    """One run directory, open for writing (``create``, ``resume``) or reading (``open``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe, self.manifest = read_run(path)

    @classmethod
    def create(cls, path: str | Path, recipe: Mapping[str, Any], **facts: Any) -> "Run":
        """Claim an empty directory, or one with a start that failed, and write the run's recipe and manifest.

        ``facts`` are added to the manifest (recipe_hash, rewards, hardware, command ...).
        Raises RunError when the directory already holds a run or cannot be written.
        """
        path = Path(path)
        claim(path)
        for folder in FOLDERS:
            (path / folder).mkdir(exist_ok=True)
        text = yaml.safe_dump({"schema": SCHEMA, **recipe}, sort_keys=False, allow_unicode=True)
        write_text(path / "recipe.yaml", text)
        manifest = {"schema": SCHEMA, "status": "running", "started": now(), **environment(), **facts}
        write_text(path / "manifest.json", json.dumps(manifest, indent=2, default=str))
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run for reading; raises RunError when there is none or its schema is another."""
        return cls(Path(path))

    @classmethod
    def resume(cls, path: str | Path) -> "Run":
        """Open a run to go on with it, and claim its lock; raises RunError without a checkpoint."""
        run = cls.open(path)
        if not run.checkpoints():
            how = "without --resume" if is_failed_start(run.path) else "with another --out DIR"
            raise RunError(f"{path} has no checkpoint to go on from; start it anew {how}")
        lock(run.path)
        run = cls.open(path)  # as it is now that nobody else writes it
        for name in ("metrics.jsonl", "faults.jsonl"):
            cut_torn_line(run.path / name)
        run.update_manifest(status="running", resumed=[*run.manifest.get("resumed", []), now()])
        return run

    # What lies where

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
        """Weights or adapter of the step with the best held-out accuracy, when it was measured during training."""
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

    # Writing

    def update_manifest(self, **facts: Any) -> None:
        """Add facts to manifest.json, atomically."""
        self.manifest.update(facts)
        write_text(self.path / "manifest.json", json.dumps(self.manifest, indent=2, default=str))

    def change_recipe(self, recipe: Mapping[str, Any], recipe_hash: str) -> None:
        """Go on with another recipe, and keep the names of the blocks that changed."""
        new = {"schema": SCHEMA, **recipe}
        changed = sorted(key for key in {*self.recipe, *new} if self.recipe.get(key) != new.get(key))
        write_text(self.path / "recipe.yaml", yaml.safe_dump(new, sort_keys=False, allow_unicode=True))
        self.recipe = new
        self.update_manifest(recipe_hash=recipe_hash, recipe_changed=changed)

    def log(self, step: int, metrics: Mapping[str, Any], mode: str = "train") -> None:
        """Append one line to metrics.jsonl."""
        line = {"schema": SCHEMA, "step": step, "mode": mode, "time": round(time.time(), 3), **metrics}
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=float) + "\n")

    def log_faults(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Append to faults.jsonl; returns ``FILE:LINE`` of each record."""
        path = self.path / "faults.jsonl"
        first = 1 + (path.read_bytes().count(b"\n") if path.exists() else 0)
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps({"schema": SCHEMA, **record}, default=str) + "\n" for record in records)
        return [f"{path}:{first + place}" for place in range(len(records))]

    def write_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]], mode: str = "train") -> None:
        """Write the completions of one generation as one parquet file; never over another one."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.path / "rollouts"
        name = f"{mode}-{step:06d}-{len(self.manifest.get('resumed', [])):02d}"
        part = sum(1 for _ in folder.glob(f"{name}-*.parquet"))
        table = pa.Table.from_pylist([{"schema": SCHEMA, "step": step, "mode": mode, **row} for row in rows])
        temporary = folder / f"{name}-{part:02d}.part"
        pq.write_table(table, temporary, compression="zstd")
        os.replace(temporary, temporary.with_suffix(".parquet"))

    def write_evaluation(self, evaluation: Mapping[str, Any], *, of_best: bool = False) -> None:
        """Write evaluation.json, atomically; that of the best step lies beside its weights."""
        write_text((self.best_dir if of_best else self.path) / "evaluation.json", json.dumps(evaluation, indent=2))

    def finish(self, status: str, **facts: Any) -> None:
        """Release the run and note how it ended."""
        make_space(self.path)
        try:
            self.update_manifest(status=status, ended=now(), **facts)
        finally:
            release(self.path)

    # Reading

    def metrics(self, mode: str | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; after a resume a step that was taken twice counts once, as it went last."""
        path = self.path / "metrics.jsonl"
        written = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        lines = [json.loads(line) for line in written if line.endswith(b"\n")]  # a kill can break off the last one
        last = {(line["mode"], line["step"]): line for line in lines}
        return [line for line in last.values() if mode in (None, line["mode"])]

    def rollouts(self, mode: str | None = None) -> Iterator[dict[str, Any]]:
        """The rows of rollouts/*.parquet in order of step; of a step that was taken again, those written last."""
        import pyarrow.parquet as pq

        files = sorted((self.path / "rollouts").glob("*-*.parquet"), key=lambda path: path.stem.split("-")[1:])
        for _, same in itertools.groupby(files, lambda path: path.stem.split("-")[1]):
            parts = list(same)
            newest = max(map(_attempt, parts))
            for path in parts:
                if _attempt(path) == newest and mode in (None, path.stem.split("-")[0]):
                    yield from pq.read_table(path).to_pylist()

    def evaluation(self) -> dict[str, Any] | None:
        """The content of evaluation.json, or None before it is written."""
        path = self.path / "evaluation.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _attempt(rollouts: Path) -> list[str]:
    """How often the run had been resumed when it wrote ``mode-step-attempt-part.parquet``; older files do not say."""
    return rollouts.stem.split("-")[2:-1]
