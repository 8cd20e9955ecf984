"""A disk that is full, has no inodes left or becomes read-only midway: a sentence, nothing lost,
and the run goes on after it.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from llmpolicy.grpo.callbacks import forgive_trackers
from llmpolicy.run import Run, place, written_whole
from llmpolicy.run.disk import DiskError
from llmpolicy.run.lock import release
from llmpolicy.run.sealed import damage
from llmpolicy.stages.process import drawn, failing
from tests import training

RECIPE = {"name": "x", "seed": 3}
KIB = 1024


class Disk:
    """A small disk of its own that can be filled, emptied of inodes, and made read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ballast = path / "ballast"

    def full(self) -> None:
        with self.ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(KIB))
            except OSError:
                return

    def no_inodes(self) -> None:
        self.ballast.mkdir()
        try:
            for number in range(10_000):
                (self.ballast / f"{number}").touch()
        except OSError:
            return

    def read_only(self) -> None:
        for run in self.path.glob(
            "*/.lock"
        ):  # only the system itself, after an error, does it under an open file
            release(run.parent)
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)

    def free(self) -> None:
        """Make space again."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)
        subprocess.run(["rm", "-rf", str(self.ballast)], check=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk of 2 MiB and 200 inodes."""
    monkeypatch.setattr(place, "MINIMUM_FREE_BYTES", 0)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=200", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk can only be mounted by root")
    yield Disk(tmp_path)
    subprocess.run(
        ["umount", "--lazy", str(tmp_path)], check=True
    )  # torch keeps a file that it failed to write open


def save_best(run: Run) -> None:
    with written_whole(run.best_dir, step=2) as folder:
        (folder / "weights").write_bytes(bytes(200 * KIB))


WRITES: dict[str, tuple[str, Callable[[Run], Any]]] = {
    "metrics": ("metrics.jsonl", lambda run: run.log(2, {"text": "x" * 9 * KIB})),
    "faults": ("faults.jsonl", lambda run: run.log_faults([{"why": "x" * 9 * KIB}])),
    "rollouts": (
        "rollouts/train-000002-00-00.parquet",
        lambda run: run.write_rollouts(2, [{"a": list(range(999))}]),
    ),
    "manifest": ("manifest.json", lambda run: run.update_manifest(note="x" * 9 * KIB)),
    "evaluation": ("evaluation.json", lambda run: run.write_evaluation({"n": "x" * 9 * KIB})),
    "best": ("best", save_best),
}
NEEDS_NO_INODE = ("metrics", "faults")


def seen(run: Run) -> Any:
    """All that a run holds, as a reader sees it."""
    files = sorted(path for path in run.path.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("full", r"No space left on device\): it needs about [\d,]+ bytes and 0 bytes are free"),
        (
            "no_inodes",
            r"No space left on device\): no new file is possible there, for all inodes are taken",
        ),
        (
            "read_only",
            r"Read-only file system\): it needs about [\d,]+ bytes and [\d,]+ bytes are free",
        ),
    ],
)
def test_each_write_of_a_run_names_its_file_and_leaves_what_was_there(
    disk: Disk, how: str, why: str
) -> None:
    run = Run.create(disk.path / "run", RECIPE)
    for _, write in WRITES.values():
        write(run)
    run.log(1, {"reward": 0.5})
    before = seen(run)
    getattr(disk, how)()
    for kind, (name, write) in WRITES.items():
        if how == "no_inodes" and kind in NEEDS_NO_INODE:
            continue
        with pytest.raises(DiskError) as said:
            write(run)
        place_of = name.replace("00-00", "00-01") if kind == "rollouts" else name
        assert str(said.value).startswith(f"{run.path / place_of} could not be written ("), kind
        assert re.search(why, str(said.value)), (kind, said.value)
        assert seen(run) == before, kind
    disk.free()
    again = Run.open(run.path)
    assert again.metrics() == run.metrics() and damage(run.best_dir) is None
    for _, write in WRITES.values():
        write(run)
    assert [line["step"] for line in run.metrics()] == [2, 1]


@pytest.mark.parametrize("how", ["full", "no_inodes"])
def test_a_checkpoint_that_does_not_fit_costs_nothing_and_training_goes_on_after_it(
    disk: Disk, how: str
) -> None:
    def train(run: Run, resume: bool, at_step: int = 0) -> torch.Tensor:
        options: dict[str, Any] = {"run": run}
        settings: dict[str, Any] = {
            "max_steps": 4,
            "save_strategy": "steps",
            "save_steps": 1,
            "save_total_limit": 2,
        }
        made = training.trainer(run.checkpoint_dir, training.policy(), options=options, **settings)
        log = run.log

        def fill(step: int, metrics: Any, mode: str = "train") -> None:
            log(step, metrics, mode)
            if step == at_step:  # after the line of a step and before its checkpoint
                getattr(disk, how)()

        run.log = fill  # type: ignore[method-assign]
        with failing(run):
            made.train(resume_from_checkpoint=str(run.checkpoints()[-1]) if resume else None)
        return torch.cat([parameter.detach().flatten() for parameter in made.model.parameters()])

    undisturbed = train(Run.create(disk.path / "a", RECIPE), resume=False)
    subprocess.run(["rm", "-rf", str(disk.path / "a")], check=True)
    run = Run.create(disk.path / "run", RECIPE)
    with pytest.raises(DiskError) as said:
        train(run, resume=False, at_step=2)
    sentence = str(said.value)
    assert f"{run.checkpoint_dir / 'checkpoint-2'} could not be written (" in sentence
    assert sentence.endswith(
        f"make space, then\ngo on with: llmpolicy train {run.path}/recipe.yaml --out {run.path}"
        " --resume"
    )
    assert [path.name for path in run.checkpoints()] == ["checkpoint-1"] and damage(
        run.checkpoints()[0]
    ) is None
    disk.free()
    assert torch.equal(train(Run.resume(run.path), resume=True), undisturbed)
    assert [line["step"] for line in run.metrics("train")] == [1, 2, 3, 4]


def test_a_disk_that_is_full_before_the_first_checkpoint_lets_the_same_command_start_again(
    disk: Disk,
) -> None:
    run = Run.create(disk.path / "run", RECIPE)
    disk.full()
    sentence = r"metrics.jsonl could not be written .*; make space and give the same command again"
    with pytest.raises(DiskError, match=sentence), failing(run):
        run.log(1, {"text": "x" * 9 * KIB})
    disk.free()
    assert json.loads((run.path / "manifest.json").read_text())["status"] in ("failed", "running")
    assert Run.create(run.path, RECIPE).manifest["status"] == "running"


class Tracker(TrainerCallback):
    """Appends to a file of its own, as TensorBoard does."""

    def on_log(self, args: Any, *_: Any, logs: Any = None, **__: Any) -> None:
        with (Path(args.output_dir) / "events").open("a") as file:
            file.write(f"{logs}" * 99)


Tracker.__module__ = "transformers.integrations.integration_utils"


def test_a_picture_and_a_tracker_that_cannot_be_written_end_nothing(disk: Disk) -> None:
    from llmpolicy.report.plot import plot_run

    run, said = Run.create(disk.path / "run", RECIPE), list[str]()
    made = training.trainer(
        run.checkpoint_dir, training.policy(), max_steps=3, options={"callbacks": [Tracker()]}
    )
    forgive_trackers(made.callback_handler.callbacks, said.append)
    run.log(1, {"reward": 0.5})
    disk.full()
    made.train()
    assert made.state.global_step == 3
    assert said == [
        "note: Tracker could not write (No space left on device); training goes on without it"
    ]
    drawn("plot", lambda: plot_run(run), said.append)
    assert said[-1] == "plot: could not be drawn (No space left on device); all else is written"
