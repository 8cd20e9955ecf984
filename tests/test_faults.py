"""Training with rewards that fail: on one completion, on all, by hanging, by nonsense, by rudeness
to their process.
"""

import contextlib
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from llmpolicy.errors import RewardError
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.rewards import Rewards, RewardSpec
from llmpolicy.run import Run
from tests import training

ROOT = Path(__file__).parent.parent
SIZE = 16
SLOW = pytest.mark.slow


def digest(completion: str, completion_ids: Any) -> float:
    return (sum(completion_ids) % 11) / 10


def trainer(folder: Path, function: Callable[..., Any], **spec: Any) -> PolicyTrainer:
    """Two steps of 16 completions, with a reward in the firewall."""
    made = training.policy()
    torch.manual_seed(0)
    return PolicyTrainer(
        made,
        Rewards([RewardSpec(function, name="r", **spec)]),
        training.rows(),
        training.config(
            folder / "out", per_device_train_batch_size=SIZE, max_steps=2, learning_rate=0.1
        ),
        run=Run.create(folder / "run", {"name": "faults"}),
        optimizers=training.sgd(made.model, 0.1),
    )


def faults(made: PolicyTrainer) -> list[dict[str, Any]]:
    assert made.run is not None
    path = made.run.path / "faults.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trained(made: PolicyTrainer) -> torch.Tensor:
    """The weights after training, which moved and are finite."""
    before = training.vector(made.model)
    made.train()
    after = training.vector(made.model)
    assert torch.isfinite(after).all() and not torch.equal(before, after)
    return after


def stopped(made: PolicyTrainer) -> str:
    """The sentence with which training stopped; the weights are those before it."""
    before = training.vector(made.model)
    with pytest.raises(RewardError) as caught:
        made.train()
    assert torch.equal(training.vector(made.model), before)
    return str(caught.value)


# --- row 7: raises
# -----------------------------------------------------------------------------------------------------


class Foreign(BaseException):
    pass


ERRORS = [
    ValueError("no"),
    *(pytest.param(one, marks=SLOW) for one in (Foreign(), SystemExit(0), KeyboardInterrupt())),
]


def raising(error: BaseException, on: Callable[[int], bool]) -> Callable[..., Any]:
    def raises(completion: str, completion_ids: Any, row: int) -> float:
        if on(row):
            raise error
        return (sum(completion_ids) % 11) / 10

    return raises


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_one_completion_on_which_a_reward_raises_is_left_out_and_the_run_goes_on(
    tmp_path: Path, error: BaseException
) -> None:
    flag = tmp_path / "raised"

    def once(completion: str, completion_ids: Any) -> float:
        with contextlib.suppress(FileExistsError):
            flag.touch(exist_ok=False)  # one of the workers is first
            raise error
        return (sum(completion_ids) % 11) / 10

    made = trainer(tmp_path, once)
    trained(made)
    assert made.state.global_step == 2
    (record,) = faults(made)
    assert (record["fault"], record["reward"], record["schema"]) == ("error", "r", 1)
    assert type(error).__name__ in record["traceback"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_a_reward_that_raises_on_all_completions_stops_the_run_in_words(
    tmp_path: Path, error: BaseException
) -> None:
    made = trainer(tmp_path, raising(error, lambda row: True))
    text = stopped(made)
    first = faults(made)[0]
    assert f"failed on all {SIZE} completions of the first batch" in text
    assert re.search(rf"\(test_faults.py:\d+\) raised {type(error).__name__}", text)
    assert text.endswith(f"llmpolicy check-reward r --replay {tmp_path}/run/faults.jsonl:1")
    assert repr(first["completion"]) in text and "Traceback" in first["traceback"]


def test_a_reward_that_raises_too_often_stops_the_run(tmp_path: Path) -> None:
    made = trainer(tmp_path, raising(ValueError("no"), lambda row: row == 0))
    with pytest.raises(
        RewardError, match=r"failed on 8 of the last 32 completions \(25%; at most 10% may\)"
    ):
        made.train()
    assert made.state.global_step == 1


@SLOW
def test_the_command_line_ends_with_an_error_code_and_the_command_to_reproduce_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text("def broken(completion):\n    return completion.missing\n")
    data = {
        "model": "bundled", "task": {"rows": [{"prompt": "1+1="}] * 8}, "rewards": ["mine.py:broken"],
        "grpo": {
            "max_steps": 1, "per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 4,
            "use_cpu": True,
        },
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    command = [
        sys.executable,
        "-m",
        "llmpolicy",
        "train",
        str(tmp_path / "recipe.yaml"),
        "--out",
        str(tmp_path / "r"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(
        "error: Reward 'mine.broken' failed on all 16 completions of the first batch."
    )
    assert "(mine.py:2) raised AttributeError: 'str' object has no attribute 'missing'" in said
    pasted = said.rpartition("Make the call again with: ")[2]
    assert pasted == f"llmpolicy check-reward mine.py:broken --replay {tmp_path}/r/faults.jsonl:1"
    there = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *shlex.split(pasted)]
    again = subprocess.run(command, capture_output=True, text=True, cwd="/", env=there)
    assert again.returncode == 0 and "now        failed" in again.stdout
    assert "AttributeError: 'str' object has no attribute 'missing'" in again.stdout
    assert Run.open(tmp_path / "r").manifest["status"] == "failed"


def test_ctrl_c_stops_a_trainer_that_waits_for_a_hanging_reward(tmp_path: Path) -> None:
    def hangs(completion: str) -> float:
        while True:
            pass

    made = trainer(tmp_path, hangs, timeout=120)
    threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        made.train()
    assert time.monotonic() - started < 15


# --- row 8: hangs
# ------------------------------------------------------------------------------------------------------


def hanging(how: str, flag: Path) -> Callable[..., Any]:
    def hangs(completion: str, completion_ids: Any) -> float:
        with contextlib.suppress(FileExistsError):
            flag.touch(exist_ok=False)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if how == "sleep":
                time.sleep(600)
            if how == "backtracking":
                re.fullmatch(r"(\w+\s?)*", "a" * 60 + "!")
            if how == "lock":
                held = threading.Lock()
                held.acquire()
                held.acquire()
        return (sum(completion_ids) % 11) / 10

    return hangs


@pytest.mark.parametrize(("how", "fault"), [
    pytest.param("sleep", "timeout", marks=SLOW), pytest.param("lock", "timeout", marks=SLOW), ("backtracking", "model"),
])  # fmt: skip
def test_a_hang_costs_its_timeout_and_the_run_goes_on(tmp_path: Path, how: str, fault: str) -> None:
    quick = trainer(tmp_path / "quick", digest)
    started = time.monotonic()
    trained(quick)
    usual = time.monotonic() - started
    made = trainer(tmp_path, hanging(how, tmp_path / "hung"), timeout=1.0)
    started = time.monotonic()
    trained(made)
    assert time.monotonic() - started < 2 * usual + 1.0 + 2
    assert [record["fault"] for record in faults(made)] == [fault]


# --- row 9: nonsense
# ---------------------------------------------------------------------------------------------------


NONSENSE = [
    ("float('inf')", "returned inf"), ("-float('inf')", "returned -inf"), ("'1.0'", "returned a str '1.0'"),
    ("[1.0]", "returned a list [1.0]"), ("(x for x in 'a')", "a generator"), ("1e308", "returned 1e+308"),
    ("-1e30", "training computes in 32 bits"), ("__import__('numpy').ones(2)", "a ndarray"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("returned", "told"),
    [("float('nan')", "returned nan"), *(pytest.param(*one, marks=SLOW) for one in NONSENSE)],
)
def test_what_is_no_score_stops_the_run_before_the_weights_move(
    tmp_path: Path, returned: str, told: str
) -> None:
    text = stopped(trainer(tmp_path, eval(f"lambda completion: {returned}")))  # noqa: S307
    assert "'r'" in text and told in text


def test_a_list_of_the_wrong_length_stops_the_run(tmp_path: Path) -> None:
    text = stopped(trainer(tmp_path, lambda completions, **_: [1.0], style="trl"))
    assert (
        f"Reward 'r' over rows 0 to 3 returned 1 values; expected {SIZE}." in text
        or "returned 1 values" in text
    )


SCORES = ["True", "-0.0", "__import__('numpy').float32(0.5)"]


@pytest.mark.parametrize("other", ["None", *(pytest.param(one, marks=SLOW) for one in SCORES)])
def test_what_is_a_score_trains(tmp_path: Path, other: str) -> None:
    function = eval(  # noqa: S307
        f"lambda completion, completion_ids: {other} if sum(completion_ids) % 2 else"
        " len(completion)"
    )
    made = trainer(tmp_path, function)
    trained(made)
    assert all(row["reward"] is None or math.isfinite(row["reward"]) for row in made.run.rollouts())  # type: ignore[union-attr]


# --- row 10: rude
# ------------------------------------------------------------------------------------------------------


def rude(completion: str, completion_ids: Any) -> float:
    import locale
    import random

    import numpy

    random.seed(0)
    numpy.random.seed(0)
    os.chdir("/")
    os.environ["OMP_NUM_THREADS"] = "7"
    locale.setlocale(locale.LC_ALL, "C")
    print("noise")
    rude.kept = [*getattr(rude, "kept", []), os.open(os.devnull, os.O_RDONLY), bytearray(10**6)]  # type: ignore[attr-defined]
    return (sum(completion_ids) % 11) / 10


def test_a_rude_reward_trains_to_the_very_weights_of_a_polite_one(tmp_path: Path) -> None:
    before = (os.getcwd(), dict(os.environ))
    polite = trained(trainer(tmp_path / "polite", digest))
    assert torch.equal(trained(trainer(tmp_path / "rude", rude)), polite)
    assert (os.getcwd(), dict(os.environ)) == before


# --- several processes
# -------------------------------------------------------------------------------------------------


@SLOW
def test_no_process_stops_alone(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        str(ROOT / "tests/two_faulty.py"), str(tmp_path),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert "failed on all 8 completions of the first batch" in first
    assert second == first.partition(" Make the call again")[0]
    assert "--replay" in first


def slow_part(completion: str, completion_ids: Any) -> float:
    time.sleep(0.02)
    return (sum(completion_ids) % 11) / 10


class SlowReference(PolicyTrainer):
    """A trainer whose log-probabilities take a second."""

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **options: Any) -> Any:
        if self.generation.scoring is not None:
            time.sleep(1.0)
        return super()._get_per_token_logps_and_entropies(*arguments, **options)


def test_rewards_run_while_the_reference_is_computed(tmp_path: Path) -> None:
    trainer = training.trainer(
        tmp_path,
        training.policy(lora={"r": 2, "target_modules": ["q_proj"]}),
        kind=SlowReference,
        beta=0.1,
        max_steps=2,
    )
    trainer.rewards = Rewards([RewardSpec(slow_part)])
    trainer.train()
    waited = [
        line["seconds/rewards"] for line in trainer.state.log_history if "seconds/rewards" in line
    ]
    assert len(waited) == 2
    assert waited[1] < 0.1  # the first one starts the workers


def test_rewards_that_stay_in_this_process_do_not_run_beside_the_model(tmp_path: Path) -> None:
    seen: list[str] = []

    def here(completion: str) -> float:
        seen.append("reward")
        return float(len(completion))

    class Watched(PolicyTrainer):
        def _get_per_token_logps_and_entropies(self, *arguments: Any, **options: Any) -> Any:
            seen.append("begin")
            made = super()._get_per_token_logps_and_entropies(*arguments, **options)
            seen.append("end")
            return made

    training.trainer(
        tmp_path, training.policy(), kind=Watched, reward=here, beta=0.1, max_steps=2
    ).train()
    assert "reward" in seen
    places = [place for place, what in enumerate(seen) if what == "reward"]
    assert all(seen[:place].count("begin") == seen[:place].count("end") for place in places)
