"""Whole steps of TRL's own trainer: Δθ / −lr is the paper's gradient however the rows are split, in
micro-batches or over processes; where it is not, the test says which loss and why.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import training
from tests.semantics import rows, stock
from tests.semantics.cases import LOSSES, cases
from tests.semantics.papers import Floats
from tests.test_two_processes import updates

CASES = cases()
OTHERS = ("grpo, KL", "dapo, KL", "dapo, half the tokens by entropy", "grpo, sequence")
LOCAL = {"bnpo"}
"""Divided by the tokens of each micro-batch, and of each process."""
SPLIT = {"dapo, half the tokens by entropy"}
"""Its threshold is that of a micro-batch over all processes, not of the generation."""


def off(moved: Floats, name: str) -> float:
    """How far a step is from minus the paper's gradient, relative."""
    slope = CASES[name].expected()[1]
    return float(np.linalg.norm(moved + slope) / np.linalg.norm(slope))


def moved(folder: Path, name: str, micro: int) -> Floats:
    case, network = CASES[name], rows.policy_model()
    count = len(rows.COMPLETIONS)
    settings = {
        **case.settings, "per_device_train_batch_size": count // micro,
        "gradient_accumulation_steps": micro,
    }  # fmt: skip
    made = stock.trainer(folder, settings, network=network)
    made._generate_and_score_completions = lambda *_: case.inputs  # type: ignore[method-assign]
    start = training.vector(network)
    made.train()
    return np.asarray((training.vector(network) - start).numpy())


@pytest.mark.parametrize("name", [*LOSSES, *OTHERS])
def test_micro_batches_make_the_step_of_the_whole(tmp_path: Path, name: str) -> None:
    error = off(moved(tmp_path, name, micro=4), name)
    if name in LOCAL | SPLIT:
        assert error > 1e-2
    else:
        assert error < 1e-5


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("processes") / "two"
    return updates(folder, 2, "semantics/two_processes.py", [*LOSSES, *OTHERS])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LOSSES, *OTHERS])
def test_two_processes_make_the_step_of_one(two: dict[str, Any], name: str) -> None:
    error = off(two[name].numpy(), name)
    if name in LOCAL:
        assert error > 1e-2
    else:
        assert error < 1e-5
