"""What lies in a run is read and checked before it is used: damage is said, kept aside, and what
can go on goes on.
"""

import errno
import importlib.util
import json
import math
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmpolicy import cli
from llmpolicy.errors import PolicyError, PublishError, RunError
from llmpolicy.grpo.callbacks import BestCheckpoint
from llmpolicy.publish.choice import choose
from llmpolicy.recipe import load_recipe
from llmpolicy.run import Run, add_checkpoint, damage, mend, written_whole
from llmpolicy.run.disk import DiskError
from llmpolicy.session import train_recipe
from llmpolicy.session.evaluate import evaluate_model
from tests.test_reinforce import cartpole, quietly, trained
from tests.test_run import RECIPE
from tests.test_session import EVALUATE, GRPO, run_of

ROOT = Path(__file__).parent.parent
_SPEC = importlib.util.spec_from_file_location("kills", ROOT / "scripts" / "receipts" / "kills.py")
assert _SPEC is not None
assert _SPEC.loader is not None
kills: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kills)

BLOCKS: dict[str, Any] = {
    "grpo": {**GRPO, "max_steps": 4, "save_steps": 2, "learning_rate": 5e-3, "logging_steps": 1},
    "evaluate": {**EVALUATE, "n": 8, "every": 1},
}
FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "checksums.json",
)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for index in range(len(content) // 2, len(content) // 2 + 8):
        content[index] ^= 0xFF
    path.write_bytes(bytes(content))


WAYS: dict[str, Callable[[Path], None]] = {
    "truncated": truncated, "emptied": emptied, "flipped": flipped, "deleted": lambda path: path.unlink(),
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its rows, and a run of four steps that came to its end."""
    folder = tmp_path_factory.mktemp("ended")
    run_of(folder, **BLOCKS)
    return folder


@pytest.fixture
def folder(ended: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ended, tmp_path / "copy"))


def kill_after_the_last_step(folder: Path) -> None:
    """As a SIGKILL in the final evaluation leaves a run: not ended, without policy and
    evaluation.
    """
    run = Run.open(folder / "run")
    run.update_manifest(status="running")
    shutil.rmtree(run.policy_dir)
    for name in ("evaluation.json", "plot.png"):
        (run.path / name).unlink()


def go_on(folder: Path, *overrides: str, **how: Any) -> list[str]:
    lines: list[str] = []
    train_recipe(
        str(folder / "mine.yaml"),
        overrides,
        out=folder / "run",
        resume=True,
        say=lines.append,
        **how,
    )
    return lines


def unlike(ended: Path, folder: Path) -> list[str]:
    lines: list[str] = kills.differences(
        kills.contents(ended / "run"), kills.contents(folder / "run")
    )
    return [line for line in lines if not line.startswith("/left over")]


# checkpoints


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_is_kept(
    folder: Path, name: str, way: str
) -> None:
    run, lines = Run.open(folder / "run"), list[str]()
    WAYS[way](run.checkpoint_dir / "checkpoint-4" / name)
    mend(run.path, lines.append)
    assert [path.name for path in run.checkpoints()] == ["checkpoint-2"]
    assert (run.checkpoint_dir / "broken-checkpoint-4" / "tokenizer.json").is_file()
    assert len(lines) == 1
    assert lines[0].startswith("note: checkpoint-4 is damaged (")
    assert lines[0].endswith("kept as broken-checkpoint-4; going on from checkpoint-2")
    assert name in lines[0]


def test_a_run_goes_on_from_the_older_checkpoint_to_the_very_same_end(
    ended: Path, folder: Path
) -> None:
    flipped(folder / "run/checkpoints/checkpoint-4/optimizer.pt")
    kill_after_the_last_step(folder)
    lines = go_on(folder)
    assert any("optimizer.pt is not what was written" in line for line in lines)
    assert unlike(ended, folder) == []


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run of the same recipe with another seed."""
    folder = tmp_path_factory.mktemp("other")
    return run_of(folder, **{**BLOCKS, "seed": 5}).path


def test_a_checkpoint_of_another_run_or_step_is_not_gone_on_from(
    ended: Path, folder: Path, other: Path
) -> None:
    home = folder / "run/checkpoints"
    shutil.rmtree(home / "checkpoint-4")
    shutil.copytree(other / "checkpoints/checkpoint-4", home / "checkpoint-4")
    shutil.copytree(home / "checkpoint-2", home / "checkpoint-3")
    kill_after_the_last_step(folder)
    lines = go_on(folder)
    notes = [line for line in lines if "going on from checkpoint-2" in line]
    assert len(notes) == 2
    assert "checkpoint-4 is damaged (it is of run " in notes[0]
    assert (
        "checkpoint-3 is damaged (it is of step 2, not of 3) and kept as broken-checkpoint-3"
        in notes[1]
    )
    assert unlike(ended, folder) == []


@pytest.mark.parametrize("name", ["best", "policy"])
def test_weights_of_another_run_are_not_taken_for_those_of_this_one(
    folder: Path, other: Path, name: str
) -> None:
    target = folder / "run" / name
    shutil.rmtree(target)
    shutil.copytree(other / name, target)
    if name == "policy":
        with pytest.raises(
            RunError, match="policy is damaged .it is of run .*train with --resume writes it anew"
        ):
            evaluate_model(str(folder / "run"))
    lines = go_on(folder) if name == "policy" else []
    if name == "best":
        mend(folder / "run", lines.append)
    assert any(f"note: {name}/ is damaged (it is of run " in line for line in lines)
    assert (folder / f"run/broken-{name}").is_dir()


def test_what_a_kill_left_of_a_write_goes(folder: Path) -> None:
    names = [
        ".grpo_config.json.16176",
        ".manifest.json.7",
        ".evaluation.json.7",
        "best/.evaluation.json.7",
    ]
    for name in names:
        (folder / "run" / name).write_text("half")
    mend(folder / "run", lambda _: None)
    assert not [name for name in names if (folder / "run" / name).exists()]


def test_without_a_whole_checkpoint_nothing_is_moved_and_nothing_is_cleared(folder: Path) -> None:
    run = Run.open(folder / "run")
    for step in (2, 4):
        emptied(run.checkpoint_dir / f"checkpoint-{step}" / "model.safetensors")
    with pytest.raises(
        RunError,
        match=r"no whole checkpoint .*checkpoint-4: model.safetensors has 0 bytes instead of",
    ):
        go_on(folder, "grpo.max_steps=6")
    assert len(run.checkpoints()) == 2
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(run.path, RECIPE)


def test_the_newest_checkpoints_stay_when_a_clock_was_set_back(tmp_path: Path) -> None:
    for step, moment in ((2, 3e9), (4, 2e9), (6, 1e9)):
        staged = tmp_path / ".new" / f"checkpoint-{step}"
        staged.mkdir(parents=True)
        (staged / "model.safetensors").write_bytes(b"weights")
        add_checkpoint(staged, tmp_path, 2)
        os.utime(tmp_path / f"checkpoint-{step}", (moment, moment))
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-4",
        "checkpoint-6",
    ]


def test_an_older_checkpoint_goes_only_when_the_newer_one_reads_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        staged = tmp_path / ".new" / f"checkpoint-{step}"
        staged.mkdir(parents=True)
        (staged / "model.safetensors").write_bytes(b"weights")
    add_checkpoint(tmp_path / ".new" / "checkpoint-1", tmp_path, 1)
    rename = os.rename

    def spoil(source: Path, target: Path) -> None:
        rename(source, target)
        truncated(Path(target) / "model.safetensors")

    monkeypatch.setattr(os, "rename", spoil)
    with pytest.raises(RunError, match="reads back otherwise"):
        add_checkpoint(tmp_path / ".new" / "checkpoint-2", tmp_path, 1)
    assert damage(tmp_path / "checkpoint-1") is None


# after the last step


@pytest.mark.parametrize(
    "left", ["nothing", "a staged policy", "the policy", "status only", "an old checkpoint"]
)
def test_a_run_that_was_killed_after_its_last_step_is_finished_without_training(
    ended: Path, folder: Path, left: str
) -> None:
    if left == "status only":
        Run.open(folder / "run").update_manifest(status="running")
    else:
        kill_after_the_last_step(folder)
    if left == "a staged policy":
        (folder / "run/.policy.new").mkdir()
        (folder / "run/.policy.new/model.safetensors").write_bytes(b"half")
    if (
        left == "an old checkpoint"
    ):  # the kill came after the last one was in its place, before this one was deleted
        shutil.copytree(
            folder / "run/checkpoints/checkpoint-2", folder / "run/checkpoints/checkpoint-1"
        )
    if left == "the policy":
        shutil.copytree(ended / "run/policy", folder / "run/policy")
    before = (folder / "run/metrics.jsonl").read_bytes()
    lines = go_on(folder)
    assert "all steps are taken: finishing with the weights of checkpoint-4" in lines
    assert (folder / "run/metrics.jsonl").read_bytes() == before
    assert (folder / "run/plot.png").is_file()
    assert unlike(ended, folder) == []


def test_what_a_finished_run_lost_comes_back_and_a_whole_one_is_at_its_end(
    ended: Path, folder: Path
) -> None:
    with pytest.raises(RunError, match="already at step 4 of 4; raise grpo.max_steps"):
        go_on(folder)
    truncated(folder / "run/evaluation.json")
    with pytest.raises(
        RunError, match="evaluation.json cannot be read .*; train with --resume measures again"
    ):
        Run.open(folder / "run").evaluation()
    flipped(folder / "run/policy/model.safetensors")
    with pytest.raises(
        RunError, match="policy is damaged .model.safetensors is not what was written"
    ):
        evaluate_model(str(folder / "run"), None, [], say=quietly)
    lines = go_on(folder)
    assert any(
        line.startswith("note: policy/ is damaged (model.safetensors is not what was written)")
        for line in lines
    )
    assert (folder / "run/broken-policy/model.safetensors").is_file()
    assert unlike(ended, folder) == []


def test_damaged_weights_are_loaded_from_nowhere(folder: Path) -> None:
    """Also where the folder is named by itself: as what is measured, or as the model of another
    recipe.
    """
    policy = folder / "run/policy"
    flipped(policy / "model.safetensors")
    mine = str(folder / "mine.yaml")
    for load in (
        lambda: evaluate_model(str(policy), mine, [], say=quietly),
        lambda: train_recipe(mine, [f"model={policy}"], out=folder / "other", say=quietly),
    ):
        with pytest.raises(
            PolicyError, match="policy is damaged .model.safetensors is not what was written"
        ):
            load()


def test_a_figure_that_was_edited_is_not_shown_not_published_and_measured_again(
    ended: Path, folder: Path
) -> None:
    run = Run.open(folder / "run")
    measured = run.evaluation()
    for place in (run.path, run.best_dir):
        file = place / "evaluation.json"
        if file.is_file():
            file.write_text(
                json.dumps({**json.loads(file.read_text()), "accuracy": {"value": 0.9}}, indent=2)
            )
    with pytest.raises(
        RunError, match="evaluation.json cannot be read .it is not what was written"
    ):
        run.evaluation()
    with pytest.raises(RunError, match="it is not what was written"):
        choose(run, which="last")
    go_on(folder)
    assert Run.open(folder / "run").evaluation() == measured
    assert unlike(ended, folder) == []


def test_damaged_weights_are_not_published(folder: Path) -> None:
    run = Run.open(folder / "run")
    flipped(run.policy_dir / "model.safetensors")
    with pytest.raises(
        PublishError,
        match="policy is not what the run wrote .model.safetensors is not what was written",
    ):
        choose(run, which="last")


def test_a_run_without_checkpoints_is_finished_from_its_policy(tmp_path: Path) -> None:
    blocks = {**BLOCKS, "grpo": {**BLOCKS["grpo"], "save_strategy": "no"}}
    measured = run_of(tmp_path, **blocks).evaluation()
    (tmp_path / "run/evaluation.json").unlink()
    Run.open(tmp_path / "run").update_manifest(status="running")
    assert "all steps are taken: finishing with the weights of policy" in go_on(tmp_path)
    assert Run.open(tmp_path / "run").evaluation() == measured
    with pytest.raises(
        RunError, match="no checkpoint to go on from, only the policy of step .* with model.path="
    ):
        go_on(tmp_path, "grpo.max_steps=9")


def test_a_file_system_that_waits_for_no_folder_holds_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SMB and FUSE do, of which there is none here; a file that is not synced is an error all
    the same.
    """
    wait = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        wait(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    run = Run.create(tmp_path / "run", {"name": "one"})
    with written_whole(run.policy_dir) as folder:
        (folder / "weights").write_text("whole")
    assert damage(run.policy_dir) is None

    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Invalid argument"):
        run.finish("finished")


def test_other_processes_cannot_go_on_but_can_finish(ended: Path, folder: Path) -> None:
    Run.open(folder / "run").update_manifest(world_size=2)
    with pytest.raises(
        RunError,
        match="trained by 2 processes and 1 would not go on .* torchrun --nproc_per_node 2",
    ):
        go_on(folder, "grpo.max_steps=6")
    kill_after_the_last_step(folder)
    go_on(folder)
    assert unlike(ended, folder) == []


def half_deleted(folder: Path, **_: Any) -> None:
    for weights in Path(folder).glob("model.safetensors"):
        weights.unlink()


def test_a_kill_while_an_old_checkpoint_is_deleted_leaves_none_that_is_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        staged = tmp_path / "checkpoints/.new" / f"checkpoint-{step}"
        staged.mkdir(parents=True)
        (staged / "model.safetensors").write_bytes(b"weights")
        if step == 2:
            monkeypatch.setattr(shutil, "rmtree", half_deleted)
        add_checkpoint(staged, tmp_path / "checkpoints", 1)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")) == [
        "checkpoint-2"
    ]
    shutil.rmtree(tmp_path / "checkpoints" / "checkpoint-2")
    mend(tmp_path, print)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_start_that_was_killed_before_its_manifest_holds_no_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.finish("failed")
    (run.path / "manifest.json").unlink()
    with pytest.raises(RunError, match="holds no run"):
        train_recipe("quickstart", (), out=run.path, resume=True, say=quietly)


# best/


def test_the_record_to_beat_is_what_lies_in_best(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.log(1, {"accuracy": 0.9}, mode="eval")
    assert BestCheckpoint(run, 1, dict, print).best == -math.inf
    with written_whole(run.best_dir, step=1, accuracy=0.5) as staged:
        (staged / "model.safetensors").write_bytes(b"weights")
    assert BestCheckpoint(run, 1, dict, print).best == 0.5
    assert run.manifest["best"] == {"step": 1, "accuracy": 0.5}
    flipped(run.best_dir / "checksums.json")
    lines: list[str] = []
    mend(run.path, lines.append)
    assert lines == [
        "note: best/ is damaged (checksums.json cannot be read) and kept as broken-best/"
    ]
    assert BestCheckpoint(Run.open(run.path), 1, dict, print).best == -math.inf


def test_a_disk_that_fills_up_while_the_best_step_is_saved_loses_nothing(tmp_path: Path) -> None:
    best = tmp_path / "best"
    with written_whole(best, accuracy=0.5) as staged:
        (staged / "model.safetensors").write_bytes(b"weights")

    def save(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"hal")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match="No space"), written_whole(best, accuracy=0.7) as staged:
        save(staged)
    assert damage(best) is None
    assert (best / "model.safetensors").read_bytes() == b"weights"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize(
    "moment", ["before the old one moved", "between the two renames", "before the old one went"]
)
def test_a_kill_while_best_is_replaced_leaves_one_that_is_whole(
    tmp_path: Path, moment: str
) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for name, step in ((".best.old", 1), (".best.new", 2)):
        with written_whole(run.path / name, step=step, accuracy=step / 10) as staged:
            (staged / "model.safetensors").write_bytes(str(step).encode())
    if moment == "before the old one moved":
        (run.path / ".best.old").rename(run.best_dir)
    if moment == "before the old one went":
        (run.path / ".best.new").rename(run.best_dir)
    run.finish("failed")
    mend(run.path, print)
    assert damage(run.best_dir) is None
    record = Run.open(run.path).best()
    assert record is not None
    assert record["step"] == (1 if moment == "before the old one moved" else 2)
    assert not list(run.path.glob(".best*"))


# the record


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["manifest.json", "recipe.yaml", "metrics.jsonl"])
def test_the_record_comes_back_from_the_checkpoint(
    folder: Path, ended: Path, name: str, way: str
) -> None:
    """All of it before the first step that is taken again: nothing is lost."""
    path, lines = folder / "run", list[str]()
    Run.open(path).update_manifest(status="running")
    WAYS[way](path / name)
    mend(path, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith(f"note: {name} ")
    assert "taken from checkpoint-4" in lines[0]
    assert (path / f"broken-{name}").exists() == (way != "deleted")
    run, whole = Run.open(path), Run.open(ended / "run")
    steps = {line["step"] for line in whole.metrics("train")}
    assert {line["step"] for line in run.metrics("train")} == steps
    assert run.recipe == whole.recipe
    assert run.manifest["files"] == whole.manifest["files"]


@pytest.mark.parametrize("way", ["truncated", "emptied", "flipped"])
def test_damaged_rows_are_left_out_and_said(
    folder: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.open(folder / "run")
    rows = len(list(run.rollouts()))
    WAYS[way](run.rollout_files()[1])
    assert len(list(run.rollouts())) == rows - 16
    assert "damaged and left out" in caplog.text
    caplog.clear()
    lines = (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b"\0" * len(lines[2].strip()) + b"\n"
    (run.path / "metrics.jsonl").write_bytes(b"".join(lines))
    assert len(run.metrics()) == len(lines) - 1
    assert "damaged and left out: line 3" in caplog.text


def test_no_flipped_byte_of_the_rows_is_read_as_another_value(tmp_path: Path) -> None:
    """The pages of a file have checksums; its own names and statistics have none."""
    run = Run.create(tmp_path / "run", RECIPE)
    run.write_rollouts(
        1, [{"completion": f"answer {number}", "reward": number / 7} for number in range(20)]
    )
    (path,) = run.rollout_files()
    content, whole = path.read_bytes(), [list(row.values()) for row in run.rollouts()]
    pages = content.index(b"completion")  # what comes behind is the table of contents
    left_out = 0
    for index in range(4, pages, 16):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0x10]) + content[index + 1 :])
        values = [list(row.values()) for row in run.rollouts()]
        left_out += values == []
        assert values in ([], whole)
    assert left_out > 5


# the readable loop


def test_the_loop_of_reinforce_goes_on_from_its_older_checkpoint_to_the_same_end(
    tmp_path: Path,
) -> None:
    whole = cartpole(tmp_path / "whole")
    run = cartpole(tmp_path / "run")
    assert [path.name for path in run.checkpoints()] == ["checkpoint-2", "checkpoint-3"]
    flipped(run.checkpoint_dir / "checkpoint-3" / "state.pt")
    shutil.rmtree(run.policy_dir)
    run.update_manifest(status="running")
    lines: list[str] = []
    mend(run.path, lines.append)
    assert lines[0].startswith("note: checkpoint-3 is damaged (state.pt is not what was written)")
    trained(load_recipe(run.path / "recipe.yaml"), run.path, resume=True)
    assert kills.differences(kills.contents(whole.path), kills.contents(run.path)) == []


# kills


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 4])
def test_killed_runs_come_to_the_same_end(tmp_path: Path, first: int) -> None:
    """Eight of the cases of the receipt `kills`, in a process without threads of ours, which forks
    them.
    """
    code = (
        "import importlib.util, json, sys, pathlib\nspec ="
        " importlib.util.spec_from_file_location('kills',"
        f" {str(ROOT / 'scripts/receipts/kills.py')!r})\nkills ="
        " importlib.util.module_from_spec(spec); spec.loader.exec_module(kills)\nfound ="
        f" kills.cases(range({first}, {first + 4}), ('lora', 'full'),"
        f" pathlib.Path({str(tmp_path)!r}),"
        f" None)\npathlib.Path({str(tmp_path / 'found.json')!r}).write_text(json.dumps(found))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    records = json.loads((tmp_path / "found.json").read_text())
    assert [record["different"] for record in records] == [[]] * 4
    assert sum(record["killed"] > 0 for record in records) >= 3


# the page


def page_rows() -> list[tuple[str, str, str, int]]:
    """File, way, what is said and exit code of each row of docs/resume.md; one way a row, in turn:
    the fast tests try all.
    """
    lines = (
        (ROOT / "docs" / "resume.md")
        .read_text()
        .split("## Damage")[1]
        .split("\n## ")[0]
        .splitlines()
    )
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| `")
    ]
    rows = []
    for number, (file, ways, sentence, code, _) in enumerate(cells):
        assert ways.split(", ") == list(WAYS)
        rows.append(
            (file.strip("`"), list(WAYS)[number % len(WAYS)], sentence.strip("`"), int(code))
        )
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("file", "way", "sentence", "code"), page_rows())
def test_the_page_on_damage_is_true(
    ended: Path,
    folder: Path,
    file: str,
    way: str,
    sentence: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Run.open(folder / "run").update_manifest(status="running")
    if file.startswith("checkpoints"):
        kill_after_the_last_step(folder)
    for path in list((folder / "run").glob(file)):
        WAYS[way](path)
    arguments = [
        "llmpolicy",
        "train",
        str(folder / "mine.yaml"),
        "--out",
        str(folder / "run"),
        "--resume",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as left:
        cli.run()
    output = capsys.readouterr()
    assert left.value.code == code
    assert sentence in output.out + output.err
    assert "Traceback" not in output.err
    if code == 0:
        lost = ("/best", "/rollouts") if file.startswith(("best", "rollouts")) else ()
        assert [line for line in unlike(ended, folder) if not line.startswith(lost or ("-",))] == []
