"""The run directory: the only room that knows where a run keeps what it did. Torch-free; everything else reads through it.

A run holds, each with ``schema: 1``::

    recipe.yaml          the resolved recipe
    manifest.json        seed, versions, git revision, hardware, rewards with their hashes, how it ended
    metrics.jsonl        one line a logged step
    faults.jsonl         calls in which a reward failed, each with what is needed to make it again
    rollouts/*.parquet   every completion with its rewards
    checkpoints/         what --resume goes on from
    policy/  best/       the weights (or adapter) of the last step, and of the best held-out accuracy
    evaluation.json      held-out accuracy before and after
    plot.png             the run at a glance
    overoptimisation.png reward and truth against the KL to the start, when evaluate.curve asked for it
    warm_start/          the model that supervised training gave, and its report, when the recipe has the stage
    reward_model/        the reward model, its report and its plot, when the recipe has the stage
"""

import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from llmpolicy.errors import RunError

SCHEMA = 1
PACKAGES = ("llmpolicy", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "gymnasium")
MINIMUM_FREE_BYTES = 200 * 2**20


class Run:
    """One run directory, open for writing (``create``, ``resume``) or reading (``open``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe: dict[str, Any] = yaml.safe_load((path / "recipe.yaml").read_text(encoding="utf-8"))
        self.manifest = read_manifest(path)

    @classmethod
    def create(cls, path: str | Path, recipe: Mapping[str, Any], **facts: Any) -> "Run":
        """Claim an empty directory, or one with a start that failed, and write the run's recipe and manifest.

        ``facts`` are added to the manifest (recipe_hash, rewards, hardware, command ...).
        Raises RunError when the directory already holds a run or cannot be written.
        """
        path = Path(path)
        _claim(path)
        for folder in ("rollouts", "checkpoints"):
            (path / folder).mkdir(exist_ok=True)
        text = yaml.safe_dump({"schema": SCHEMA, **recipe}, sort_keys=False, allow_unicode=True)
        _write(path / "recipe.yaml", text)
        manifest = {"schema": SCHEMA, "status": "running", "started": _now(), **_environment(), **facts}
        _write(path / "manifest.json", json.dumps(manifest, indent=2, default=str))
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run for reading; raises RunError when there is none or its schema is another."""
        path = Path(path)
        if not (path / "manifest.json").is_file() or not (path / "recipe.yaml").is_file():
            raise RunError(f"{path} holds no run: expected recipe.yaml and manifest.json in it")
        try:
            run = cls(path)
        except (ValueError, yaml.YAMLError) as error:
            raise RunError(f"{path}: recipe.yaml cannot be read: {' '.join(str(error).split()):.120}") from error
        schema = run.manifest.get("schema")
        if schema != SCHEMA:
            raise RunError(f"{path}: schema {schema!r} is not {SCHEMA}, the one this version reads")
        return run

    @classmethod
    def resume(cls, path: str | Path) -> "Run":
        """Open a run to go on with it, and claim its lock; raises RunError without a checkpoint."""
        run = cls.open(path)
        if not run.checkpoints():
            how = "without --resume" if is_failed_start(run.path) else "with another --out DIR"
            raise RunError(f"{path} has no checkpoint to go on from; start it anew {how}")
        _lock(run.path)
        for name in ("metrics.jsonl", "faults.jsonl"):
            _cut_torn_line(run.path / name)
        run.update_manifest(status="running", resumed=[*run.manifest.get("resumed", []), _now()])
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
        found = [p for p in self.checkpoint_dir.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
        return sorted(found, key=lambda p: int(p.name.rsplit("-", 1)[1]))

    # Writing

    def update_manifest(self, **facts: Any) -> None:
        """Add facts to manifest.json, atomically."""
        self.manifest.update(facts)
        _write(self.path / "manifest.json", json.dumps(self.manifest, indent=2, default=str))

    def change_recipe(self, recipe: Mapping[str, Any], recipe_hash: str) -> None:
        """Go on with another recipe, and keep the names of the blocks that changed."""
        new = {"schema": SCHEMA, **recipe}
        changed = sorted(key for key in {*self.recipe, *new} if self.recipe.get(key) != new.get(key))
        _write(self.path / "recipe.yaml", yaml.safe_dump(new, sort_keys=False, allow_unicode=True))
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
        _write((self.best_dir if of_best else self.path) / "evaluation.json", json.dumps(evaluation, indent=2))

    def finish(self, status: str, **facts: Any) -> None:
        """Release the run and note how it ended."""
        # The lock goes first: on a full disk the manifest is written into the space that it leaves.
        (self.path / ".lock").unlink(missing_ok=True)
        self.update_manifest(status=status, ended=_now(), **facts)

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


def new_run_path(name: str, parent: str | Path = "runs") -> Path:
    """The first free of runs/NAME, runs/NAME-2, runs/NAME-3 ..."""
    path, number = Path(parent) / name, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{name}-{number}"
    return path


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder; raises RunError when it cannot be read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{folder / 'manifest.json'} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise RunError(f"{folder / 'manifest.json'} cannot be read: expected a JSON object, found {manifest!r:.40}")
    return manifest


def is_live(path: Path) -> bool:
    """Whether the process that writes a run still lives; of one on another machine that is assumed."""
    try:
        process, _, machine = (path / ".lock").read_text(encoding="utf-8").partition(" ")
        return machine not in ("", platform.node()) or _alive(int(process))
    except (FileNotFoundError, ValueError):
        return False


def clear(path: Path) -> None:
    """Delete what a run wrote into its directory, and nothing else."""
    for folder in ("checkpoints", "policy", "best"):
        if (path / folder).exists():
            shutil.rmtree(path / folder)
    rollouts = [file for kind in ("parquet", "part") for file in (path / "rollouts").glob(f"*.{kind}")]
    names = ("metrics.jsonl", "faults.jsonl", "evaluation.json", "recipe.yaml", "manifest.json")
    pictures = ("plot.png", "overoptimisation.png")
    for file in [*rollouts, *(path / name for name in (*names, *pictures))]:
        file.unlink(missing_ok=True)


def _attempt(rollouts: Path) -> list[str]:
    """How often the run had been resumed when it wrote ``mode-step-attempt-part.parquet``; older files do not say."""
    return rollouts.stem.split("-")[2:-1]


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def is_failed_start(path: Path) -> bool:
    """Whether a directory holds a run that ended without a checkpoint, a policy or an evaluation."""
    try:
        run = Run.open(path)
    except RunError:
        return False
    kept = (run.policy_dir, run.best_dir, path / "evaluation.json")
    return not (is_live(path) or run.checkpoints() or any(one.exists() for one in kept))


def _claim(path: Path) -> None:
    """Take a directory for a new run; raise RunError if it holds one, or cannot be written, or the disk is full."""
    failed = is_failed_start(path)
    if not failed and ((path / "manifest.json").exists() or (path / "recipe.yaml").exists()):
        raise RunError(f"{path} already holds a run; go on with it (--resume) or choose another --out DIR")
    if path.is_file():
        raise RunError(f"{path} is a file; expected a new or empty directory for the run")
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
        if free < MINIMUM_FREE_BYTES:
            raise RunError(
                f"{path}: {free / 2**20:.0f} MiB free, a run needs at least {MINIMUM_FREE_BYTES // 2**20} MiB"
            )
        _lock(path)
        if failed:
            clear(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def _lock(path: Path) -> None:
    """Create the lock file with this process's number; a lock whose process is gone is taken over."""
    lock = path / ".lock"
    with contextlib.suppress(FileNotFoundError, ValueError):
        owner = int(lock.read_text(encoding="utf-8").partition(" ")[0])
        if owner != os.getpid() and _alive(owner):
            raise RunError(f"{path} is being written by process {owner}; two runs cannot share a directory")
        lock.unlink()
    try:
        with open(lock, "x", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {platform.node()}")
    except FileExistsError as error:
        raise RunError(f"{path} has just been taken by another process; two runs cannot share a directory") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _environment() -> dict[str, Any]:
    """Versions, source revision and machine: what a reader needs to run it again."""
    return {
        "versions": {"python": platform.python_version(), **dict(_versions(PACKAGES))},
        "git": git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "gpus": _gpus(),
        },
        "command": redact(" ".join([_program(), *sys.argv[1:]])),
    }


def _program() -> str:
    name = Path(sys.argv[0]).name
    return "python -m llmpolicy" if name == "__main__.py" else name


def _gpus() -> list[str]:
    """The names of the GPUs, as far as a torch that is loaded already knows of any."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return [cuda.get_device_name(i) for i in range(cuda.device_count())] if cuda and cuda.is_available() else []


def _versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package)


def git_revision(folder: Path | None = None) -> str | None:
    """The commit of the sources, with ``+changes`` when they differ from it; None outside a checkout."""
    folder = folder or Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def redact(text: str) -> str:
    """Replace what looks like an access token."""
    return re.sub(r"\b(hf_|sk-|wandb_|ghp_)[A-Za-z0-9_\-]{8,}", r"\1[redacted]", text)
