"""One process writes a run: the system's lock says which, whatever the file says and however its
holder ended.
"""

import contextlib
import json
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import pytest

import llmpolicy.run.lock as room
from llmpolicy.errors import RunError
from llmpolicy.run import Run, is_failed_start, is_live
from llmpolicy.run.lock import LOCK, holds, lock, release

RECIPE = {"name": "x", "seed": 3}
HOLDER = """
import os, sys, time
from pathlib import Path
from llmpolicy.run import Run
run = Run.create(Path(sys.argv[1]), {"name": "x", "seed": 3})
if len(sys.argv) > 2 and os.fork() == 0:
    time.sleep(600)  # a child that lives on
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a process that creates a run and holds it."""
    started = []

    def start(path: Path, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLDER, str(path), *more]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_run_that_another_process_writes_is_refused_and_the_sentence_names_it(
    tmp_path: Path, holder: Any
) -> None:
    path = tmp_path / "run"
    process = holder(path)
    for content in (None, "", "garbage", "999999999"):  # whatever becomes of the text
        if content is not None:
            (path / LOCK).write_text(content)
        assert is_live(path) and not is_failed_start(path)
        with pytest.raises(
            RunError, match=r"is being written by .*: wait for its end, stop it, or choose another"
        ) as said:
            Run.create(path, RECIPE)
        if content is None:
            assert f"process {process.pid} on {platform.node()} since 20" in str(said.value)
    process.kill()
    process.wait()
    assert not is_live(path) and is_failed_start(path)
    assert holds(Run.create(path, RECIPE).path)


def test_a_lock_ends_with_its_process_though_a_fork_of_it_lives(
    tmp_path: Path, holder: Any
) -> None:
    process = holder(tmp_path / "run", "fork")
    process.kill()
    process.wait()
    until = time.monotonic() + 20  # the fork lets go of the lock as soon as it gets a processor
    while is_live(tmp_path / "run") and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_live(tmp_path / "run")
    assert Run.create(tmp_path / "run", RECIPE).manifest["status"] == "running"


@pytest.mark.parametrize(
    "content",
    ["", "garbage \x00", "{}", "[]", '{"process": null, "host": 3}', str(os.getppid()), f"{os.getppid()} {platform.node()}",
     json.dumps({"process": os.getppid(), "host": platform.node(), "since": "2026-01-01T00:00:00+0000"})],
)  # fmt: skip
def test_a_lock_that_nobody_holds_is_taken_over_though_its_number_lives_again(
    tmp_path: Path, content: str
) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    release(run.path)
    (run.path / LOCK).write_text(content)
    assert is_failed_start(run.path)
    assert Run.create(run.path, RECIPE).manifest["status"] == "running"


@pytest.mark.parametrize(
    "content", ["12 elsewhere", '{"process": 12, "host": "elsewhere", "since": "2026-01-01"}']
)
def test_a_run_of_another_host_is_refused_with_the_way_out(tmp_path: Path, content: str) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    release(run.path)
    (run.checkpoint_dir / "checkpoint-1").mkdir()
    (run.path / LOCK).write_text(content)
    assert is_live(run.path)
    with pytest.raises(
        RunError,
        match=rf"was taken by process 12 on elsewhere.*; if it is gone, delete {run.path / LOCK}",
    ):
        Run.create(run.path, RECIPE)
    assert (run.path / LOCK).read_text() == content
    (run.path / LOCK).unlink()
    assert holds(Run.create(run.path, RECIPE).path)


def test_a_finished_run_leaves_no_lock_and_one_of_this_process_is_not_taken_twice(
    tmp_path: Path,
) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(run.path, RECIPE)
    run.finish("failed")
    assert not (run.path / LOCK).exists() and not holds(run.path)
    assert holds(Run.create(run.path, RECIPE).path)


# --- starts that were killed
# ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from llmpolicy.run import Run, directory
calls = 0
def dies(path, text, write=directory.write_text):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        (path.parent / f".{path.name}.77").write_text(text[:9])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)
directory.write_text = dies
Run.create(Path(sys.argv[1]), {"name": "x", "seed": 3})
"""


@pytest.mark.parametrize("write", [1, 2], ids=["before the recipe", "between recipe and manifest"])
def test_a_start_that_was_killed_makes_room_for_the_next(tmp_path: Path, write: int) -> None:
    path = tmp_path / "run"
    assert (
        subprocess.run([sys.executable, "-c", KILLED, str(path), str(write)]).returncode
        == -signal.SIGKILL
    )
    assert (path / "recipe.yaml").exists() == (write == 2) and not (path / "manifest.json").exists()
    (path / "notes.txt").write_text("mine")
    run = Run.create(path, {**RECIPE, "seed": 4})
    assert run.recipe["seed"] == 4
    assert {one.name for one in path.iterdir()} == {
        "recipe.yaml", "manifest.json", "rollouts", "checkpoints", "notes.txt", LOCK,
    }  # fmt: skip


# --- races
# ----------------------------------------------------------------------------------------------------------

RACERS, ROUNDS, CREATIONS, SWEEPS = 4, 300, 12, 60


def race(path: Path, rounds: int, create: bool, start: Any, end: Any, wins: Any, me: int) -> None:
    room._PATIENCE = 0.0
    for number in range(rounds):
        folder = path / f"{number}"
        start.wait()
        try:
            Run.create(folder, RECIPE) if create else lock(folder)
            wins[number] += 1
            wins[rounds] = me
        except RunError:
            pass
        end.wait()
        if wins[rounds] == me:
            release(folder)


def run_together(target: Any, *arguments: Any) -> None:
    context: SpawnContext = multiprocessing.get_context("spawn")
    racers: list[SpawnProcess] = [
        context.Process(target=target, args=(*arguments, me)) for me in range(1, RACERS + 1)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * RACERS


@pytest.mark.parametrize(
    ("rounds", "create"), [(ROUNDS, False), (CREATIONS, True)], ids=["locks", "starts"]
)
def test_of_many_that_claim_one_stale_lock_exactly_one_wins(
    tmp_path: Path, rounds: int, create: bool
) -> None:
    stale = json.dumps({"process": 2**22 - 1, "host": platform.node(), "since": "2026-01-01"})
    for number in range(rounds):
        if create:
            release(Run.create(tmp_path / f"{number}", RECIPE).path)
        else:
            (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / LOCK).write_text(random.choice(["", "garbage", stale]))
    context = multiprocessing.get_context("spawn")
    wins = context.Array("i", rounds + 1)
    run_together(
        race, tmp_path, rounds, create, context.Barrier(RACERS), context.Barrier(RACERS), wins
    )
    assert list(wins[:rounds]) == [1] * rounds


def test_who_looks_at_a_folder_that_another_deletes_meanwhile_sees_nothing_in_it(
    tmp_path: Path,
) -> None:
    path = Run.create(tmp_path / "run", RECIPE).path
    release(path)
    deleted = []

    def delete_when_opened(event: str, arguments: tuple[Any, ...]) -> None:
        if (
            not deleted
            and event in ("os.scandir", "os.listdir")
            and Path(arguments[0]) == path / "checkpoints"
        ):
            deleted.append(arguments[0])
            (path / "checkpoints").rmdir()

    sys.addaudithook(delete_when_opened)
    assert is_failed_start(path) and deleted


def sweep(path: Path, inside: Any, entered: Any, me: int) -> None:
    room._PATIENCE = 0.0
    won = 0
    while won < SWEEPS // RACERS:
        try:
            lock(path)
        except RunError:
            continue
        assert inside.value == 0
        inside.value = me
        time.sleep(random.random() / 2000)
        assert inside.value == me
        inside.value, won = 0, won + 1
        with entered.get_lock():
            entered.value += 1
        release(path)


def test_a_lock_that_is_given_back_and_taken_at_once_is_never_held_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    entered = context.Value("i", 0)
    run_together(sweep, tmp_path, context.Value("i", 0, lock=False), entered)
    assert entered.value == SWEEPS and not (tmp_path / LOCK).exists()
