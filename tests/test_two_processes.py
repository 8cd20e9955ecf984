"""Two processes on one machine: the same rollouts give the same update as one process, though a
group spans both.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.objectives import group_advantages
from tests import training
from tests.two_processes import GROUP, ROLLOUTS, SAMPLING, completion

ROOT = Path(__file__).parent.parent
LOSSES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
LOCAL_NORMALISER = {"bnpo"}
"""TRL divides bnpo by the tokens of each process's own micro-batch: processes with fewer tokens
count more.
"""


def updates(
    folder: Path,
    processes: int,
    script: str = "two_processes.py",
    words: Sequence[str] = LOSSES,
) -> dict[str, dict[str, Any]]:
    """One update a loss under torchrun (accelerate's own launcher starts a single process on a
    CPU).
    """
    folder.mkdir()
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
        str(ROOT / "tests" / script), str(folder), *words,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = torch.load(folder / "updates.pt")
    return found


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("processes")
    return updates(folder / "one", 1), updates(folder / "two", 2)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_make_the_update_of_one(both: Any, loss: str) -> None:
    one, two = both[0][loss], both[1][loss]
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert (one["rows"], two["rows"]) == (ROLLOUTS, ROLLOUTS // 2)
    error = float((one["moved"] - two["moved"]).norm() / one["moved"].norm())
    if loss in LOCAL_NORMALISER:
        assert error > 1e-3
    else:
        assert error < 1e-5


@pytest.mark.slow
def test_processes_with_other_numbers_of_live_rows_and_batches_stay_in_step(both: Any) -> None:
    one, two = both[0]["ragged"], both[1]["ragged"]
    live = two["advantages"] != 0
    assert int(live[: ROLLOUTS // 2].sum()) < int(live[ROLLOUTS // 2 :].sum())
    assert float((one["moved"] - two["moved"]).norm() / one["moved"].norm()) < 1e-5
    for name in ("clip_ratio/low_min", "clip_ratio/high_max", "entropy/live"):
        assert one["logged"][name] == pytest.approx(two["logged"][name], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ragged with a reference", "cut"])
def test_processes_exchange_gradients_with_a_reference_and_when_the_last_generation_has_no_signal(
    both: Any, name: str
) -> None:
    one, two = both[0][name], both[1][name]
    if name == "cut":
        assert not two["advantages"][ROLLOUTS:].any()
        assert two["advantages"][:ROLLOUTS].any()
    assert float((one["moved"] - two["moved"]).norm() / one["moved"].norm()) < 1e-5


@pytest.mark.slow
def test_advantages_are_right_when_a_group_spans_processes(both: Any) -> None:
    rewards = torch.tensor([training.digest("", completion(place)) for place in range(ROLLOUTS)])
    expected = group_advantages(rewards.view(-1, GROUP)).flatten()
    torch.testing.assert_close(both[1]["dapo"]["advantages"], expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_two_processes_log_of_a_composed_reward_what_one_does(both: Any) -> None:
    one, two = (
        {
            key: value
            for key, value in run["composed"]["logged"].items()
            if key.split("/")[0] in ("parts", "terms", "reward")
        }
        for run in both
    )
    timed = {key for key in one if "seconds" in key}
    assert {key: one[key] for key in one.keys() - timed} == pytest.approx(
        {key: two[key] for key in two.keys() - timed}
    )
    assert one["parts/right/none"] > 0
    assert one["terms/right/variance_share"] + one["terms/digest/variance_share"] == pytest.approx(
        1
    )
    torch.testing.assert_close(
        both[0]["composed"]["advantages"], both[1]["composed"]["advantages"], atol=1e-5, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLING)
def test_two_processes_refill_what_one_does(both: Any, name: str) -> None:
    """All rows of the second process have a signal but for four, or are where the memory puts
    them.
    """
    one, two = both[0][name], both[1][name]
    torch.testing.assert_close(one["advantages"], two["advantages"], atol=1e-5, rtol=0)
    assert float((one["moved"] - two["moved"]).norm() / one["moved"].norm()) < 1e-5
    logged = {
        key: value
        for key, value in one["logged"].items()
        if key.startswith("sampling/") or key == "num_tokens"
    }
    assert {key: two["logged"][key] for key in logged} == pytest.approx(logged)
    assert one["memory"] == two["memory"]
    if name != "remembered":
        assert logged["sampling/dead"] == 2 - logged["sampling/refilled"] == (name == "capped")


def test_processes_that_have_read_other_settings_do_not_train_together(tmp_path: Path) -> None:
    script = tmp_path / "read.py"
    script.write_text(
        "import os, pathlib, accelerate\n"
        "from llmpolicy.errors import RunError\n"
        "from llmpolicy.stages.process import refuse_other_words\n"
        "accelerate.PartialState(cpu=True)\n"
        "refuse_other_words('the same')\n"
        "try:\n    refuse_other_words(os.environ['RANK'])\n"
        "except RunError as error:\n"
        "    pathlib.Path(__file__).with_name(os.environ['RANK']).write_text(str(error))\n"
        "accelerate.PartialState().wait_for_everyone()\n"
        "accelerate.PartialState().destroy_process_group()\n"
    )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in ("0", "1"):
        assert "read other settings or rows" in (tmp_path / rank).read_text()
