"""The command line as a user meets it: every verb, two processes, a stop and a resume, wrong input
in one sentence.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpolicy.errors import LLMPolicyError
from llmpolicy.recipe import load_recipe, recipe_folders
from llmpolicy.run import Run
from llmpolicy.session import train_recipe
from llmpolicy.signals import Signals
from llmpolicy.stages.process import end_stopped

ROOT = Path(__file__).parent.parent
TINY = [
    "grpo.max_steps=2", "grpo.per_device_train_batch_size=16", "grpo.gradient_accumulation_steps=1",
    "grpo.num_generations=4", "evaluate.n=20", "evaluate.samples=2",
]  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def llmpolicy(
    folder: Path, *arguments: str, timeout: int = 240
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmpolicy", *arguments],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def recipe(folder: Path, **changes: Any) -> Path:
    """The quickstart with some blocks replaced."""
    data = yaml.safe_load((recipe_folders()[0] / "quickstart.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


ROWS = [
    {"question": f"{a}+{b}", "answer": str(a + b)} for a in range(10, 40) for b in range(10, 40)
]


def refusal(folder: Path, *overrides: str, **changes: Any) -> str:
    """The sentence that a recipe is refused with; nothing of a run may be left behind."""
    with pytest.raises(LLMPolicyError) as found:
        train_recipe(
            str(recipe(folder, **changes)),
            [*TINY, *overrides],
            out=folder / "run",
            say=lambda _: None,
        )
    sentence = str(found.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    assert not (folder / "run").exists()
    return sentence


def data(folder: Path, rows: list[Any]) -> dict[str, Any]:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"file": "rows.jsonl", "prompt": "{question}"}


# wrong input


def test_no_such_model(tmp_path: Path) -> None:
    assert "no model at" in refusal(tmp_path, model={"path": "./nowhere"})


def test_no_such_file(tmp_path: Path) -> None:
    assert "rowz.jsonl" in refusal(tmp_path, task={"file": "rowz.jsonl"})


def test_no_such_column_in_the_template(tmp_path: Path) -> None:
    assert "did you mean 'question'" in refusal(
        tmp_path, task={**data(tmp_path, ROWS), "prompt": "{questoin}"}
    )


def test_a_reward_that_asks_for_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def right(completion, anser):\n    return 1.0\n")
    message = refusal(tmp_path, rewards=[{"fn": "mine.py:right"}])
    assert "'anser'" in message
    assert "did you mean 'answer'" in message


def test_no_such_reward(tmp_path: Path) -> None:
    assert "match" in refusal(tmp_path, rewards=[{"fn": "exact:mach"}])


def test_an_empty_dataset(tmp_path: Path) -> None:
    assert "no rows" in refusal(tmp_path, task=data(tmp_path, []))


def test_too_few_rows_for_one_generation_are_refused_instead_of_training_nothing(
    tmp_path: Path,
) -> None:
    assert "nothing would be trained" in refusal(tmp_path, task=data(tmp_path, ROWS[:23]))


def test_an_impossible_batch_names_a_valid_one(tmp_path: Path) -> None:
    assert "nearest valid" in refusal(tmp_path, "grpo.num_generations=5")


def test_a_completion_that_leaves_no_room_for_the_prompt(tmp_path: Path) -> None:
    assert "no room for a prompt" in refusal(tmp_path, "grpo.max_completion_length=5000")


def test_long_prompts_can_be_refused(tmp_path: Path) -> None:
    assert "prompt" in refusal(tmp_path, "max_prompt_tokens=3", "over_long=refuse")


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "'high'", "[1, 2]"])
def test_a_reward_that_returns_no_number_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "mine.py").write_text(f"def odd(completion):\n    return {value}\n")
    with pytest.raises(LLMPolicyError, match="odd"):
        train_recipe(
            str(recipe(tmp_path, rewards=[{"fn": "mine.py:odd"}])),
            TINY,
            out=tmp_path / "run",
            say=lambda _: None,
        )


def test_a_column_with_a_reserved_name(tmp_path: Path) -> None:
    rows = [{**row, "step": 1} for row in ROWS]
    assert "reserved" in refusal(tmp_path, task=data(tmp_path, rows))


def test_the_command_that_goes_on_can_be_pasted(tmp_path: Path) -> None:
    stop = Signals()
    stop.signal = signal.SIGINT
    run = Run.create(tmp_path / "my run", {"name": "tiny"})
    said: list[str] = []
    with pytest.raises(SystemExit, match="130"):
        end_stopped(run, 3, stop, said.append)
    words = shlex.split(said[-1].removeprefix("go on with: "))
    assert words == [
        "llmpolicy",
        "train",
        f"{run.path}/recipe.yaml",
        "--out",
        str(run.path),
        "--resume",
    ]


def test_a_missing_argument_is_named(tmp_path: Path) -> None:
    done = llmpolicy(tmp_path, "train")
    assert done.returncode == 2
    assert "RECIPE" in done.stderr


def test_an_empty_folder_is_a_variable_that_was_not_set(tmp_path: Path) -> None:
    done = llmpolicy(tmp_path, "train", "quickstart", "--out", "")
    assert done.returncode == 2 and "is empty; expected a folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_one_directory(tmp_path: Path) -> None:
    path = str(recipe(tmp_path))
    train_recipe(path, TINY, out=tmp_path / "run", say=lambda _: None)
    with pytest.raises(LLMPolicyError, match="already holds a run"):
        train_recipe(path, TINY, out=tmp_path / "run", say=lambda _: None)


def test_an_adapter_of_another_base(tmp_path: Path) -> None:
    from tests import training

    training.policy(lora={"r": 2, "target_modules": ["q_proj"]}).save(tmp_path / "adapter")
    assert "adapter" in refusal(tmp_path, model={"path": "bundled", "adapter": "adapter"})


def test_a_wrong_word_on_the_command_line_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    for arguments in (
        ["train", "quikstart"],
        ["train"],
        ["tarin"],
        ["train", "quickstart", "grpo.lerning_rate=1"],
    ):
        done = llmpolicy(tmp_path, *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

    done = llmpolicy(tmp_path)
    assert done.returncode == 2 and "Usage:" in done.stdout and done.stderr == "", done.stdout


# what works


@pytest.mark.parametrize(
    "path",
    [p for folder in recipe_folders() for p in sorted(folder.glob("*.yaml"))],
    ids=lambda p: p.stem,
)
def test_every_bundled_recipe_can_be_read(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_a_run_of_the_quickstart_leaves_every_file(tmp_path: Path) -> None:
    run = train_recipe(str(recipe(tmp_path)), TINY, out=tmp_path / "run", say=lambda _: None)
    for name in (
        "recipe.yaml",
        "manifest.json",
        "metrics.jsonl",
        "evaluation.json",
        "plot.png",
        "policy/model.safetensors",
    ):
        assert (run.path / name).is_file(), name
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    keys = {
        "schema",
        "n",
        "seed",
        "recipe_hash",
        "decoding",
        "accuracy",
        "pass_at_k",
        "truncated",
        "mean_length",
        "kl_to_base",
    }
    keys |= {"best_constant", "base", "paired_difference"}
    assert keys <= set(evaluation)
    assert (
        {"value", "low", "high"}
        == set(evaluation["accuracy"])
        == set(evaluation["paired_difference"])
    )
    assert keys <= set(evaluation["base"]) | {"base"}
    assert len(list(run.rollouts())) == 32
    assert run.manifest["status"] == "finished"
    assert run.manifest["rewards"][0]["sha256"]


def test_evaluate_gives_the_figures_of_the_run(tmp_path: Path) -> None:
    run = train_recipe(str(recipe(tmp_path)), TINY, out=tmp_path / "run", say=lambda _: None)
    done = llmpolicy(tmp_path, "evaluate", str(run.path), "--json", "again.json")
    assert done.returncode == 0, done.stderr
    again, first = json.loads((tmp_path / "again.json").read_text()), run.evaluation()
    assert first is not None
    for key in ("n", "seed", "recipe_hash", "accuracy", "pass_at_k", "base", "paired_difference"):
        assert again[key] == first[key], key


def test_explain_and_dry_run_load_no_model(tmp_path: Path) -> None:
    for arguments in (
        ["explain", "quickstart", "--json", "e.json"],
        ["train", "quickstart", "--dry-run"],
    ):
        done = llmpolicy(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert "prompts" in done.stdout
    assert json.loads((tmp_path / "e.json").read_text())["arithmetic"]["optimiser_steps"] > 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["one_gpu", "ddp", "fsdp2", "zero2", "zero3"])
def test_accelerate_configs_are_what_accelerate_reads(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "recipes" / "accelerate" / f"{name}.yaml"))
    assert config.mixed_precision == "bf16"


@pytest.mark.skipif(
    sys.platform != "linux", reason="the threads of torch are those of libgomp on Linux only"
)
@pytest.mark.parametrize(
    ("asked", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(
    tmp_path: Path, asked: dict[str, str], spins: str
) -> None:
    code = "from llmpolicy.cli import run\ntry: run()\nexcept SystemExit: import torch"
    own = {
        name: value for name, value in environment(tmp_path).items() if name != "GOMP_SPINCOUNT"
    }  # another test's
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        env={**own, "OMP_DISPLAY_ENV": "verbose", **asked}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="this C library has no mallopt",
)
@pytest.mark.skipif(
    HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text(),
    reason="huge pages are not counted one by one",
)
@pytest.mark.parametrize(
    ("asked", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)]
)
def test_freed_memory_serves_again_unless_the_user_said_how(
    asked: dict[str, str], kept: bool
) -> None:
    code = (
        "import resource; from llmpolicy.tuning import keep_memory; keep_memory()\n"
        "for _ in range(40): bytearray(b'x') * 2**24\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    )
    settled = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=settled | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    pages = 2**24 // os.sysconf("SC_PAGE_SIZE")
    assert (int(done.stdout) < 8 * pages) == kept  # new each time they are forty times as many


def test_a_file_of_the_users_does_not_take_the_place_of_a_library(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('the file of the user was imported')\n")
    done = llmpolicy(tmp_path, "explain", "cartpole")
    assert done.returncode == 0, done.stderr
    assert "environment.id" in done.stdout


@pytest.mark.slow
def test_accelerate_launches_the_script(tmp_path: Path) -> None:
    """The module is launched from the wheel in test_package.py."""
    done = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1",
            str(ROOT / "scripts" / "train_grpo.py"), "quickstart", *TINY, "--out", "run",
        ],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert Run.open(tmp_path / "run").manifest["status"] == "finished"


@pytest.mark.slow
def test_the_readable_loop_teaches_the_bundled_language_model_to_add(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "train_reinforce.py"),
        "reinforce_addition",
        "--out",
        "run",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=400
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    evaluation = Run.open(tmp_path / "run").evaluation()
    assert evaluation is not None
    assert evaluation["paired_difference"]["value"] >= 0.15
    assert evaluation["paired_difference"]["low"] > 0.10


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_and_says_the_command_that_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "llmpolicy",
        "train",
        "quickstart",
        *TINY,
        "grpo.max_steps=2000",
        "--out",
        "run",
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.time() + 120
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.time() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    line = next(line for line in output.splitlines() if line.startswith("go on with: "))
    step = json.loads((tmp_path / "run" / "manifest.json").read_text())["steps"]
    again = line.removeprefix("go on with: llmpolicy ").split()
    done = llmpolicy(tmp_path, *again, f"grpo.max_steps={step + 2}")
    assert done.returncode == 0, done.stderr
    steps = [
        json.loads(row)["step"]
        for row in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert max(steps) == step + 2


@pytest.mark.slow
def test_sigterm_during_reinforce_saves_a_checkpoint_and_the_printed_command_goes_on(
    tmp_path: Path,
) -> None:
    brief = ["environment.count=2", "evaluate.episodes=2"]
    command = [
        sys.executable,
        "-u",
        "-m",
        "llmpolicy",
        "train",
        "cartpole",
        *brief,
        "reinforce.updates=100000",
    ]
    process = subprocess.Popen(
        [*command, "--out", "run"], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.time() + 120
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["status"], manifest["reason"]) == ("stopped", "SIGTERM")
    line = next(line for line in output.splitlines() if line.startswith("go on with: "))
    again = line.removeprefix("go on with: llmpolicy ").split()
    done = llmpolicy(tmp_path, *again, f"reinforce.updates={manifest['steps'] + 2}")
    assert done.returncode == 0, done.stderr
    finished = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (finished["status"], finished["steps"]) == ("finished", manifest["steps"] + 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "status", "steps"), [("seed=0", "finished", 2), ("time_limit=0.001", "stopped", 1)]
)
def test_two_processes_train_one_run(
    tmp_path: Path, override: str, status: str, steps: int
) -> None:
    """Also when the time is up: the second process leaves while the first still evaluates, and must
    not take it along.
    """
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        str(ROOT / "scripts" / "train_grpo.py"), "quickstart", *TINY, override, "--out", "run",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("run:  run") == 1
    run = Run.open(tmp_path / "run")
    assert (run.manifest["status"], run.manifest["world_size"]) == (status, 2)
    assert len(list(run.rollouts())) == 32 * steps
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation["n"] == 20
