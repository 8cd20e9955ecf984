"""The comparison sees mistakes: TRL's loss with one line of it changed, as a careless edit would, is
no longer that of the paper.
"""

import inspect
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trl.trainer.grpo_trainer as module

from tests.semantics import stock
from tests.semantics.cases import BOUNDS, cases

CASES = cases()
SOURCE = textwrap.dedent(inspect.getsource(module.GRPOTrainer._compute_loss))
MISTAKES = {
    "dapo, clip .1 and .28": ("1 - self.epsilon_low", "1 - self.epsilon_high"),
    "grpo": ("-torch.min(per_token_loss1", "-torch.max(per_token_loss1"),
    "grpo, delta": ("torch.clamp(coef_1, max=", "torch.clamp(coef_1, min="),
    "grpo, KL uncorrected": (
        "torch.exp(ref_per_token_logps - per_token_logps)",
        "torch.exp(per_token_logps - ref_per_token_logps)",
    ),
    "dapo, KL": ("per_token_kl = per_token_kl * coef_1", "per_token_kl = per_token_kl"),
    "dapo, KL and token_truncate": (
        "per_token_loss = per_token_loss + self.beta * per_token_kl",
        'per_token_loss = per_token_loss + self.beta * per_token_kl * inputs["importance_sampling_ratio"]',
    ),
    "cispo": ("max=self.epsilon_high).detach()", "max=self.epsilon_high)"),
    "sapo": ("advantages > 0, self.args.sapo", "advantages < 0, self.args.sapo"),
    "vespo, sequence_truncate": ('inputs.get("importance_sampling_ratio")', "None"),
    "grpo, cut completions masked": (
        "loss = ((per_token_loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()",
        "loss = (per_token_loss * mask).sum() / mask.sum()",
    ),
    "dr_grpo": ("per_token_loss.size(0) * self.max", "mask.size(0) + self.max"),
    "grpo, sequence": ("(log_ratio * mask).sum(-1) / mask.sum(-1)", "(log_ratio * mask).sum(-1) / mask.sum()"),
    "dapo, half the tokens by entropy": ("per_token_loss * entropy_mask", "per_token_loss"),
    "dapo, stale completions masked": ("per_token_loss * off_policy_mask", "per_token_loss"),
    "dapo, tools": ('completion_mask * inputs["tool_mask"]', "completion_mask"),
    "dapo, entropy bonus": ("loss = loss - apply_coef", "loss = loss + apply_coef"),
    "grpo, entropy bonus and mask": ("mask if entropy_mask is None else mask * entropy_mask", "mask"),
    "luspo": ("(per_token_loss * mask).sum(-1).mean()", "(per_token_loss * mask).mean(-1).mean()"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_changed_line_is_seen(tmp_path: Path, name: str) -> None:
    right, wrong = MISTAKES[name]
    assert right in SOURCE, f"{right!r} is not in TRL's loss any more"
    room: dict[str, Any] = dict(vars(module))
    exec(compile(SOURCE.replace(right, wrong), "changed", "exec"), room)  # noqa: S102  TRL's own source
    case = CASES[name]
    made = stock.trainer(tmp_path, case.settings)
    if case.sampler is not None:
        stock.corrects(made, case.sampler, *BOUNDS)
    made._compute_loss = room["_compute_loss"].__get__(made)  # type: ignore[method-assign]
    _, gradient = stock.loss_and_gradient(made, case.inputs)
    slope = case.expected()[1]
    assert np.linalg.norm(gradient - slope) > 1e-3 * np.linalg.norm(slope)
