"""The run directory: one run each, every file with its schema, nothing half written, nothing lost
on a resume.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpolicy import cli
from llmpolicy.errors import RecipeError, RunError
from llmpolicy.run import Run, new_run_path, redact
from llmpolicy.session import evaluate_model

RECIPE = {"name": "tiny", "seed": 3, "model": {"path": "bundled"}}


def checkpoint(run: Run, step: int) -> None:
    """A checkpoint that was written to the end."""
    folder = run.checkpoint_dir / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk can only be mounted by root")
    yield tmp_path
    subprocess.run(
        ["umount", "--lazy", str(tmp_path)], check=True
    )  # torch keeps the file that it failed to write open


def test_a_run_is_what_was_written(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE, recipe_hash="abc")
    run.log(1, {"reward": 0.5})
    run.write_rollouts(
        1, [{"prompt": "1+1", "completion": "2", "token_ids": [3, 4], "reward": 1.0}]
    )
    run.write_evaluation({"schema": 1, "n": 2})
    run.finish("finished", steps=1)
    again = Run.open(tmp_path / "run")
    assert again.recipe == {"schema": 1, **RECIPE}
    assert (again.manifest["schema"], again.manifest["recipe_hash"], again.manifest["status"]) == (
        1,
        "abc",
        "finished",
    )
    assert [(line["schema"], line["step"], line["reward"]) for line in again.metrics()] == [
        (1, 1, 0.5)
    ]
    assert list(again.rollouts()) == [
        {
            "schema": 1,
            "step": 1,
            "mode": "train",
            "prompt": "1+1",
            "completion": "2",
            "token_ids": [3, 4],
            "reward": 1.0,
        }
    ]
    assert again.evaluation() == {"schema": 1, "n": 2}


def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", RECIPE)
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(tmp_path / "run", RECIPE)


def test_a_start_that_failed_makes_room_for_the_next_and_only_its_own_files_go(
    tmp_path: Path,
) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.log(1, {"reward": 0.5})
    run.write_rollouts(1, [{"completion": "a"}])
    (run.path / "notes.txt").write_text("mine")
    (run.checkpoint_dir / "checkpoint-2").mkdir()
    run.finish("failed", reason="no space")
    with pytest.raises(
        RunError, match="no checkpoint to go on from; start it anew without --resume"
    ):
        Run.resume(run.path)
    again = Run.create(run.path, {**RECIPE, "seed": 4})
    assert (again.recipe["seed"], again.manifest["status"]) == (4, "running")
    assert (again.metrics(), list(again.rollouts()), list(again.checkpoint_dir.iterdir())) == (
        [],
        [],
        [],
    )
    assert (run.path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "kept", ["checkpoints/checkpoint-1/trainer_state.json", "policy/x", "best/x", "evaluation.json"]
)
def test_a_run_that_came_to_something_is_never_cleared(tmp_path: Path, kept: str) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    (run.path / kept).parent.mkdir(parents=True, exist_ok=True)
    (run.path / kept).write_text("{}")
    run.finish("failed")
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(run.path, RECIPE)
    assert (run.path / kept).exists()


@pytest.mark.parametrize("manifest", [None, "{}", "broken"])
def test_a_recipe_of_the_users_own_is_never_cleared(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "recipe.yaml").write_text("model: bundled\n")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(tmp_path, RECIPE)
    assert (tmp_path / "recipe.yaml").read_text() == "model: bundled\n"


@pytest.mark.parametrize(
    "name", ["policy/notes.txt", "best/x", "checkpoints/mine/x", "metrics.jsonl", "plot.png"]
)
def test_what_is_not_of_a_run_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(
        RunError, match=f"{name.split('/')[0]} is not of a run here, and a run would write it"
    ):
        Run.create(tmp_path, RECIPE)
    assert (tmp_path / name).read_text() == "precious"


def test_other_files_may_lie_where_a_run_goes(tmp_path: Path) -> None:
    for name in ("mine.yaml", "notes/x", "warm_start/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / "rollouts").mkdir()
    assert Run.create(tmp_path, RECIPE).manifest["status"] == "running"


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(RunError, match="run is a link that leads nowhere"):
        Run.create(tmp_path / "run", RECIPE)


@pytest.mark.parametrize("content", ["{", json.dumps({"schema": 2}), json.dumps([])])
def test_a_damaged_or_newer_manifest_is_one_sentence(tmp_path: Path, content: str) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError) as caught:
        Run.open(run.path)
    assert "\n" not in str(caught.value)


def test_no_run_and_no_checkpoint_are_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        Run.open(tmp_path)
    run = Run.create(tmp_path / "run", RECIPE)
    run.finish("stopped")
    with pytest.raises(RunError, match="no checkpoint"):
        Run.resume(run.path)


def test_an_unfinished_checkpoint_does_not_count(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for step, complete in ((9, True), (10, True), (11, False)):
        folder = run.checkpoint_dir / f"checkpoint-{step}"
        folder.mkdir()
        if complete:
            (folder / "trainer_state.json").write_text("{}")
    assert [path.name for path in run.checkpoints()] == ["checkpoint-9", "checkpoint-10"]


def test_a_step_taken_twice_counts_once_as_it_went_last(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for step, reward in ((1, 0.1), (2, 0.2), (2, 0.9)):
        run.log(step, {"reward": reward})
    assert [line["reward"] for line in run.metrics("train")] == [0.1, 0.9]


def test_a_line_that_a_kill_broke_off_is_ignored_and_cut_before_the_run_goes_on(
    tmp_path: Path,
) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    checkpoint(run, 1)
    for step in (1, 2):
        run.log(step, {"reward": 0.1})
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [line["step"] for line in run.metrics()] == [1]
    again = Run.resume(run.path)
    again.log(2, {"reward": 0.9})
    assert [(line["step"], line["reward"]) for line in again.metrics()] == [(1, 0.1), (2, 0.9)]


def test_a_misspelt_mode_is_said(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for read in (run.metrics, lambda mode: list(run.rollouts(mode))):
        assert read("eval") == read("train") == []
        with pytest.raises(RunError, match="the mode 'tarin'; did you mean 'train'"):
            read("tarin")


def test_an_evaluation_needs_the_name_of_a_run_alone(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no run at"):
        evaluate_model(str(tmp_path / "nowhere"))


def test_rollouts_of_a_step_taken_again_are_those_written_last(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    checkpoint(run, 1)
    for step, completion in ((1, "a"), (2, "b"), (2, "c"), (3, "d")):
        run.write_rollouts(step, [{"completion": completion}])
    again = Run.resume(run.path)
    again.write_rollouts(2, [{"completion": "e"}])
    again.write_rollouts(2, [{"completion": "eval"}], mode="eval")
    assert [row["completion"] for row in again.rollouts("train")] == ["a", "e", "d"]
    assert [row["completion"] for row in Run.resume(run.path).rollouts("eval")] == ["eval"]
    run.write_rollouts(2, [{"completion": "dropped by the first attempt"}], mode="dropped")
    assert [row["completion"] for row in again.rollouts()] == ["a", "eval", "e", "d"]


def test_rollouts_without_an_attempt_in_their_name_came_before_all_others(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    checkpoint(run, 1)
    run.write_rollouts(1, [{"completion": "a"}])
    (written,) = (run.path / "rollouts").iterdir()
    written.rename(written.with_name("train-000001-01.parquet"))
    assert [row["completion"] for row in run.rollouts()] == ["a"]
    again = Run.resume(run.path)
    again.write_rollouts(1, [{"completion": "b"}])
    assert [row["completion"] for row in again.rollouts()] == ["b"]


def test_rollouts_of_one_step_never_overwrite_each_other(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for completion in ("a", "b"):
        run.write_rollouts(1, [{"completion": completion}])
    assert [row["completion"] for row in run.rollouts()] == ["a", "b"]


def test_a_file_or_a_closed_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "file", RECIPE)
    with pytest.raises(RunError, match="cannot be written"):
        Run.create(Path("/proc/run"), RECIPE)


def test_no_space_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmpolicy.run.place.MINIMUM_FREE_BYTES", 2**62)
    with pytest.raises(RunError, match="MiB free"):
        Run.create(tmp_path / "run", RECIPE)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_full_disk_still_holds_that_the_run_failed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmpolicy.run.place.MINIMUM_FREE_BYTES", 0)
    run = Run.create(small_disk / "run", RECIPE)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "large").write_bytes(bytes(10**6))
    run.finish("failed", reason="no space")
    assert Run.open(run.path).manifest["status"] == "failed"


def save_safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weights": torch.zeros(300_000)}, folder / "model.safetensors")


def save_torch(folder: Path) -> None:
    import torch

    torch.save({"weights": torch.zeros(300_000)}, folder / "optimizer.pt")


def save_text(folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(bytes(10**6))


@pytest.mark.parametrize("save", [save_safetensors, save_torch, save_text])
def test_a_full_disk_is_one_sentence_that_says_what_to_do(
    save: Any, small_disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmpolicy.session.train_recipe", lambda *_, **__: save(small_disk))
    monkeypatch.setattr(sys, "argv", ["llmpolicy", "train", "quickstart"])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    (sentence,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert sentence.startswith("error: a file could not be written (")
    assert "--resume if the run has a checkpoint" in sentence


def test_the_manifest_names_the_gpus_that_a_loaded_torch_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda i: f"GPU {i}"
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert Run.create(tmp_path / "a", RECIPE).manifest["hardware"]["gpus"] == ["GPU 0", "GPU 1"]
    monkeypatch.delitem(sys.modules, "torch")
    assert Run.create(tmp_path / "b", RECIPE).manifest["hardware"]["gpus"] == []


def test_names_of_new_runs_count_up(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2").mkdir()
    assert new_run_path("x", tmp_path) == tmp_path / "x-3"


def test_tokens_never_reach_the_manifest() -> None:
    assert redact("train --token hf_AbCdEfGhIjKlMn x") == "train --token hf_[redacted] x"


def test_the_files_of_one_step_come_in_one_order_whatever_the_file_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that a refill dropped lie in a file of the same step, attempt and part as those that
    were kept.
    """
    run = Run.create(tmp_path / "run", RECIPE)
    for mode in ("train", "dropped", "eval"):
        run.write_rollouts(1, [{"completion": mode}], mode=mode)
    glob, orders = Path.glob, set()
    for backwards in (False, True):
        monkeypatch.setattr(
            Path,
            "glob",
            lambda self, pattern, to=backwards: iter(sorted(glob(self, pattern), reverse=to)),
        )
        orders.add(tuple(row["completion"] for row in run.rollouts()))
    assert orders == {("dropped", "eval", "train")}


@pytest.mark.parametrize("name", ["faults.jsonl", "evaluation.json", "plot.png", "rewards.log"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_a_run_begins(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(RunError, match=f"{name} is a folder, and a run writes a file there"):
        Run.create(tmp_path / "run", RECIPE)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


@pytest.mark.parametrize("name", ["policy", "best", "checkpoints"])
def test_a_file_in_the_place_of_a_folder_is_refused_before_a_run_begins(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name} is a file, and a run makes a folder there"):
        Run.create(tmp_path / "run", RECIPE)
    assert (tmp_path / "run" / name).read_text() == "mine"
