"""One step as long as a step can be: the longest prompts, no completion that ends by itself, a
signal in every group.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.tasks import Row


def worst_step(plan: Any, policy: CausalLMPolicy, folder: Path) -> float:
    """Seconds of such a step, of the second generation, as the first one sets up the optimiser; the
    policy is of no use afterwards.
    """
    arithmetic = plan.explanation.arithmetic
    cycle = max(round(arithmetic.optimiser_steps_per_generation), 1)
    changes = {
        "max_steps": 2 * cycle,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
    }
    changes["mask_truncated_completions"] = False
    args = grpo_config(
        {**(plan.recipe.grpo or {}), **changes},
        output_dir=folder,
        seed=plan.recipe.seed,
        reward_weights=plan.rewards.composition.weights,
    )
    rows = _longest(plan.train_rows, policy, arithmetic.prompts_per_generation)
    trainer = PolicyTrainer(policy, plan.rewards, rows, args, advantage=_apart)
    policy.codec.stop_ids = []
    trainer.train()
    seconds = [line["step_time"] for line in trainer.state.log_history if "step_time" in line]
    return fmean(seconds[-cycle:])


def _longest(rows: Sequence[Row], policy: CausalLMPolicy, count: int) -> list[Row]:
    lengths = [len(ids) for ids in policy.encode([row.prompt for row in rows])]
    order = sorted(range(len(rows)), key=lambda place: -lengths[place])
    return [rows[place] for place in order[:count]]


def _apart(rewards: Tensor) -> Tensor:
    """Advantages that differ whatever was paid, (G,)."""
    signs = torch.ones_like(rewards)
    signs[::2] = -1.0
    return signs
