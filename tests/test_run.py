"""The run directory: one run each, every file with its schema, nothing half written, nothing lost on a resume."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from llmpolicy.errors import RunError
from llmpolicy.run import Run, new_run_path, redact

RECIPE = {"name": "tiny", "seed": 3, "model": {"path": "bundled"}}


def test_a_run_is_what_was_written(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE, recipe_hash="abc")
    run.log(1, {"reward": 0.5})
    run.write_rollouts(1, [{"prompt": "1+1", "completion": "2", "token_ids": [3, 4], "reward": 1.0}])
    run.write_evaluation({"schema": 1, "n": 2})
    run.finish("finished", steps=1)
    again = Run.open(tmp_path / "run")
    assert again.recipe == {"schema": 1, **RECIPE}
    assert (again.manifest["schema"], again.manifest["recipe_hash"], again.manifest["status"]) == (1, "abc", "finished")
    assert [(line["schema"], line["step"], line["reward"]) for line in again.metrics()] == [(1, 1, 0.5)]
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


def test_a_directory_that_another_living_process_writes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text(str(os.getppid()))
    with pytest.raises(RunError, match="two runs cannot share a directory"):
        Run.create(tmp_path / "run", RECIPE)


def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text(str(gone.pid))
    assert Run.create(tmp_path / "run", RECIPE).path.is_dir()


@pytest.mark.parametrize("content", ["{", json.dumps({"schema": 2}), json.dumps([])])
def test_a_damaged_or_newer_manifest_is_one_sentence(tmp_path: Path, content: str) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError):
        Run.open(run.path)


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


def test_no_space_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmpolicy.run.MINIMUM_FREE_BYTES", 2**62)
    with pytest.raises(RunError, match="MiB free"):
        Run.create(tmp_path / "run", RECIPE)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_names_of_new_runs_count_up(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2").mkdir()
    assert new_run_path("x", tmp_path) == tmp_path / "x-3"


def test_tokens_never_reach_the_manifest() -> None:
    assert redact("train --token hf_AbCdEfGhIjKlMn x") == "train --token hf_[redacted] x"
