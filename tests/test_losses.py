"""The eight losses of GRPOConfig against values computed by hand, both signs of advantage, with
clipping active.

Every case has two completions of two tokens (the second one shorter by a mask) and literal ratios;
the expected numbers were worked out on paper from the formula in each docstring line and are
written as arithmetic on literals.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import training

RATIOS = [[1.5, 0.5], [0.6, 1.1]]  # π/π_old per token; the last token of row 1 is padding
ADVANTAGES = [2.0, -1.0]
MASK = [[1, 1], [1, 0]]
LENGTH = 4  # max_completion_length, the constant of dr_grpo
LOG_PROB = [[-1.0, -2.0], [-0.5, -3.0]]
SHIFTED = [
    [-2.0, -0.9],
    [-3.0, -0.7],
]  # the same rows, each token given the log-probability of its neighbour

# min(ratio * A, clip(ratio, .8, 1.2) * A): row 0 (A = 2) 1.5 -> 1.2 * 2 = 2.4; .5 * 2 = 1.0; row 1
# (A = -1) .6 -> .8 * -1
CLIPPED = [[2.4, 1.0], [-0.8]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


SAPO = [
    [4 / 1.0 * sigmoid(1.0 * 0.5) * 2, 4 / 1.0 * sigmoid(1.0 * -0.5) * 2],
    [4 / 1.05 * sigmoid(1.05 * -0.4) * -1],
]
# CISPO: min(ratio, epsilon_high = 1.4), held constant, times A log π
CISPO = [[1.4 * 2 * -1.0, 0.5 * 2 * -2.0], [0.6 * -1 * -0.5]]
# sequence level: the geometric mean of the ratios, sqrt(1.5 * .5) = .8660 (inside the clip), and .6
# -> .8 at A = -1
SEQUENCE = [math.sqrt(1.5 * 0.5) * 2, -0.8]
# VESPO: w^k exp(lambda (1 - w)) with w the product of the ratios: .75 (k, lambda = 2, 3) and .6 (k,
# lambda = 3, 2)
PHI = [0.75**2 * math.exp(3 * (1 - 0.75)), 0.6**3 * math.exp(2 * (1 - 0.6))]

EXPECTED = {
    "grpo": -((2.4 + 1.0) / 2 + -0.8) / 2,
    "bnpo": -(2.4 + 1.0 - 0.8) / 3,
    "dr_grpo": -(2.4 + 1.0 - 0.8) / (2 * LENGTH),
    "dapo": -(2.4 + 1.0 - 0.8) / 3,
    "cispo": -(sum(CISPO[0]) + sum(CISPO[1])) / 3,
    "sapo": -(sum(SAPO[0]) / 2 + SAPO[1][0]) / 2,
    "luspo": -(SEQUENCE[0] * 2 + SEQUENCE[1] * 1) / 2,
    "vespo": -(PHI[0] * 2 * (-1.0 - 2.0) + PHI[1] * -1 * -0.5) / 3,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "cispo": {"epsilon_high": 1.4},
    "luspo": {"importance_sampling_level": "sequence"},
}


def loss_of(folder: Path, loss: str, mistake: str = "") -> float:
    """The trainer's loss for the literal batch; ``mistake`` breaks one input as a broken trainer
    would.
    """
    made = training.policy()
    trainer = training.trainer(
        folder, made, loss_type=loss, per_device_train_batch_size=2, num_generations=2, max_completion_length=LENGTH,
        **OPTIONS.get(loss, {}),
    )  # fmt: skip
    log_prob = torch.tensor(SHIFTED if mistake == "shift" else LOG_PROB)
    entropies = torch.zeros(2, 2)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (log_prob, entropies, None)  # type: ignore[method-assign]
    trainer.current_gradient_accumulation_steps = 1
    made.model.train()
    mask = torch.ones(2, 2, dtype=torch.long) if mistake == "mask" else torch.tensor(MASK)
    sign = -1 if mistake == "sign" else 1
    inputs = {
        "prompt_ids": torch.tensor([[5], [5]]), "prompt_mask": torch.ones(2, 1, dtype=torch.long),
        "completion_ids": torch.full((2, 2), 6), "completion_mask": mask,
        "advantages": sign * torch.tensor(ADVANTAGES),
        "old_per_token_logps": torch.tensor(LOG_PROB) - torch.tensor(RATIOS).log(),
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return float(trainer._compute_loss(made.model, inputs))


@pytest.mark.parametrize("loss", sorted(EXPECTED))
def test_loss_is_the_value_worked_out_by_hand(tmp_path: Path, loss: str) -> None:
    assert loss_of(tmp_path, loss) == pytest.approx(EXPECTED[loss], rel=1e-5)


@pytest.mark.parametrize("mistake", ["sign", "mask", "shift"])
@pytest.mark.parametrize("loss", sorted(EXPECTED))
def test_a_broken_sign_mask_or_label_shift_is_seen(tmp_path: Path, loss: str, mistake: str) -> None:
    assert loss_of(tmp_path, loss, mistake) != pytest.approx(EXPECTED[loss], rel=1e-3)
