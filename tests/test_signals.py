"""Ctrl-C and SIGTERM at any moment of a run: words and no traceback, the exit code of the signal, a
command that goes on.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from llmpolicy.run import Run
from llmpolicy.signals import Interrupted, Signals, terminable
from llmpolicy.stages.process import go_on

ROOT = Path(__file__).parent.parent
BRIEF = [
    "grpo.max_steps=3", "grpo.per_device_train_batch_size=16", "grpo.gradient_accumulation_steps=1", "grpo.save_steps=1",
    "grpo.num_generations=4", "evaluate.n=20", "evaluate.samples=2", "evaluate.every=1", "grpo.use_cpu=true",
]  # fmt: skip
SLOWED = """
import importlib, os, sys, time
place, name, at, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
module, _, owner = place.partition(":")
owner = getattr(importlib.import_module(module), owner) if owner else importlib.import_module(module)
real, calls = getattr(owner, name), 0

def slow(*arguments, **options):
    global calls
    calls += 1
    if calls == at:
        open("there", "w").close()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
    return real(*arguments, **options)

setattr(owner, name, slow)
sys.argv = ["llmpolicy", *sys.argv[5:]]
from llmpolicy.cli import run
run()
"""
"""The command line, with one function that takes long when it is called for the n-th time."""

GENERATION = ("llmpolicy.grpo.step", "generate", 2)
REWARDS = ("llmpolicy.grpo.judging", "waited", 2)
LOOK = ("llmpolicy.evaluation", "greedy_answers", 2)
LOADING = ("llmpolicy.stages.language", "build_policy", 1)
EVALUATION = ("llmpolicy.stages.evaluation", "evaluate_policy", 1)


def environment(folder: Path) -> dict[str, str]:
    here = {
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    return {**os.environ, **here, "CUDA_VISIBLE_DEVICES": ""}


def interrupted(
    folder: Path, slow: tuple[str, str, int], seconds: float, sent: Sequence[int]
) -> tuple[int, str]:
    """A run to which signals are sent while something is slow; its exit code and all that it
    said.
    """
    words = [sys.executable, "-u", "-c", SLOWED, *map(str, slow), str(seconds)]
    process = subprocess.Popen(
        [*words, "train", "quickstart", *BRIEF, "--out", "run"], cwd=folder, env=environment(folder),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (folder / "there").exists() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    for number in sent:
        time.sleep(0.3)
        process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output and "Aborted" not in output, output
    return process.returncode, output


def resumed(folder: Path, said: str) -> Run:
    """The run after the command that was printed."""
    (line,) = [line for line in said.splitlines() if line.startswith("go on with: llmpolicy ")]
    command = [
        sys.executable,
        "-m",
        "llmpolicy",
        *shlex.split(line.removeprefix("go on with: llmpolicy ")),
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Run.open(folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize("slow", [GENERATION, LOOK], ids=["generation", "a look"])
def test_the_first_ctrl_c_says_that_it_ends_after_the_step(
    tmp_path: Path, slow: tuple[str, str, int]
) -> None:
    code, output = interrupted(tmp_path, slow, 1.0, [signal.SIGINT])
    assert code == 130
    assert (
        output.count("stopping after this step, with a checkpoint; Ctrl-C again to stop at once\n")
        == 1
    )
    assert "stopped by SIGINT at step " in output and "a checkpoint was saved" in output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["status"], manifest["reason"]) == ("stopped", "SIGINT")
    if slow == GENERATION:
        run = resumed(tmp_path, output)
        assert run.manifest["status"] == "finished" and run.metrics("train")[-1]["step"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "sent", "code", "kept"),
    [
        (
            REWARDS,
            [signal.SIGTERM, signal.SIGTERM],
            143,
            "what came after the checkpoint of step 1 is lost",
        ),
        (EVALUATION, [signal.SIGINT], 130, "stopped at once: "),
    ],
    ids=["rewards", "evaluation"],
)
def test_the_second_one_and_one_outside_of_a_step_end_at_once(
    tmp_path: Path, slow: tuple[str, str, int], sent: list[int], code: int, kept: str
) -> None:
    ended, output = interrupted(tmp_path, slow, 30.0, sent)
    assert ended == code and kept in output
    assert "go on with: llmpolicy train " in output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["status"], manifest["reason"]) == (
        "stopped",
        f"{signal.Signals(sent[-1]).name}, at once",
    )


def test_ctrl_c_while_a_model_loads_is_one_line(tmp_path: Path) -> None:
    code, output = interrupted(tmp_path, LOADING, 30.0, [signal.SIGINT])
    assert (code, output.splitlines()[-1]) == (130, "stopped at once: nothing was saved")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_wish_becomes_an_order_when_it_is_repeated_and_interrupts_outside_of_a_loop(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the tests may have been started by nohup
    stop = Signals("update").listen()
    try:
        signal.raise_signal(number)
        assert (stop.reason, stop.signal) == (number.name, number)
        with pytest.raises(Interrupted) as again:
            signal.raise_signal(number)
        assert again.value.number == number
    finally:
        stop.forget()
    assert (
        capfd.readouterr().err
        == "stopping after this update, with a checkpoint; a second signal to stop at once\n"
    )
    with pytest.raises(KeyboardInterrupt) as ended, terminable():
        signal.raise_signal(number)
    assert getattr(ended.value, "number", None) == number
    assert signal.signal(number, before) == signal.SIG_DFL


def test_a_terminal_that_closes_ends_nothing_that_was_started_by_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Signals().listen()
        with terminable():
            signal.raise_signal(signal.SIGHUP)
        stop.forget()
        assert stop.reason is None and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ending", ["2>&1 | head -1", "<&- >&- 2>&-"], ids=["reader gone", "all closed"]
)
def test_a_run_that_nobody_listens_to_comes_to_its_end(ending: str, tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text(
        "def longer(completion):\n    print(completion)\n    return len(completion) / 9\n"
    )
    words = [
        sys.executable,
        "-m",
        "llmpolicy",
        "train",
        "quickstart",
        *BRIEF,
        "rewards=says.py:longer",
        "--out",
        "run",
    ]
    command = f"set -o pipefail; {shlex.join(words)} {ending}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert Run.open(tmp_path / "run").manifest["status"] == "finished"


def test_the_command_that_goes_on_starts_as_many_processes_with_the_rights_that_the_run_had(
    tmp_path: Path,
) -> None:
    run = Run.create(
        tmp_path / "my run",
        {"name": "x"},
        launcher="torchrun --nproc_per_node 2",
        code_runs_in="unsafe",
    )
    assert (
        go_on(run)
        == f"go on with: torchrun --nproc_per_node 2 -m llmpolicy train '{run.path}/recipe.yaml' "
        f"--out '{run.path}' --resume --unsafe-local-exec"
    )


# One write: what print says and its line end are two where nothing is buffered, and processes mix.
LOOK = """
import os
from llmpolicy.stages.process import launcher
os.write(1, f"{launcher()!r}\\n".encode())
"""
STARTS = [
    "torchrun --nproc_per_node 2",
    "accelerate launch --config_file ddp.yaml --num_processes 2",
]


@pytest.mark.parametrize("start", STARTS)
def test_the_launcher_is_known_and_starts_as_many_again(start: str, tmp_path: Path) -> None:
    (tmp_path / "ddp.yaml").write_text(
        (ROOT / "recipes/accelerate/ddp.yaml").read_text().replace("bf16", "'no'")
    )
    (tmp_path / "look.py").write_text(LOOK)
    module = {
        "torchrun": "torch.distributed.run",
        "accelerate": "accelerate.commands.accelerate_cli",
    }
    expected = start.replace("ddp.yaml", str(tmp_path / "ddp.yaml"))
    for command in (start, expected):
        name, *words = shlex.split(command)
        call = [sys.executable, "-m", module[name], *words, "look.py"]
        done = subprocess.run(
            call,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
        )
        lines = {line for line in done.stdout.splitlines() if line.startswith("'")}
        assert lines == {repr(expected)} and done.stdout.count(repr(expected)) == 2, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells of a launcher's death")
def test_a_run_stops_with_a_checkpoint_when_its_launcher_is_killed(tmp_path: Path) -> None:
    words = [
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        "2",
        "--cpu",
        "--mixed_precision",
        "no",
    ]
    words += [
        "-m",
        "llmpolicy",
        "train",
        "quickstart",
        *BRIEF,
        "grpo.max_steps=5000",
        "--out",
        "run",
    ]
    with open(tmp_path / "said", "w") as said:
        launcher = subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=said,
            stderr=said,
        )
    until = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert time.monotonic() < until and launcher.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.1)
    ranks = psutil.Process(launcher.pid).children(recursive=True)
    launcher.kill()
    launcher.wait()
    _, living = psutil.wait_procs(ranks, timeout=60)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not living
    run = Run.open(tmp_path / "run")
    assert (run.manifest["status"], run.manifest["reason"]) == ("stopped", "SIGTERM")
    assert run.checkpoints()
