"""The cross-check: one SGD step of TRL, and of our trainer, is minus our own REINFORCE gradient
with group advantages.

The gradient is computed apart from both: from ``policy.log_prob`` and ``objectives`` on the
rollouts that were trained on.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from llmpolicy.objectives import group_advantages
from llmpolicy.policies.causal_lm import CausalLMPolicy
from tests import training

MAX_RELATIVE_ERROR = 1e-5
GROUP, LENGTH = 4, 6


def reinforce_gradient(
    policy: CausalLMPolicy,
    prompts: list[Any],
    actions: list[list[int]],
    rewards: list[float],
    loss: str,
) -> torch.Tensor:
    """∇ of (1/N) Σ A·log π with the normaliser that each loss names, as one vector."""
    advantages = group_advantages(
        torch.tensor(rewards).view(-1, GROUP), scale=True
    ).flatten()  # (B,)
    log_prob, mask = policy.log_prob(prompts, actions)  # (B, T)
    weighted = (log_prob * mask) * advantages[:, None]  # (B, T)
    lengths = mask.sum(1)  # (B,)
    objective = {
        "grpo": lambda: (weighted.sum(1) / lengths).mean(),
        "dr_grpo": lambda: weighted.sum() / (len(actions) * LENGTH),
        "dapo": lambda: weighted.sum() / lengths.sum(),
    }[loss]()
    policy.model.zero_grad()
    objective.backward()
    found = [p.grad.double().flatten() if p.grad is not None else torch.zeros(p.numel(), dtype=torch.float64)
             for p in policy.model.parameters() if p.requires_grad]  # fmt: skip
    return torch.cat(found)


def relative_error(moved: torch.Tensor, expected: torch.Tensor) -> float:
    return float((moved - expected).norm() / expected.norm())


CASES = [
    ("llama", loss, chat, temperature, accumulation)
    for loss in ("grpo", "dr_grpo", "dapo")
    for chat, temperature, accumulation in ((True, 1.0, 1), (False, 0.7, 1), (True, 1.3, 4))
] + [("qwen3", "dapo", True, 0.9, 4), ("qwen3", "grpo", False, 1.0, 1)]


def settings(loss: str, temperature: float, accumulation: int) -> dict[str, Any]:
    return {
        "loss_type": loss, "temperature": temperature, "gradient_accumulation_steps": accumulation,
        "per_device_train_batch_size": 16 // accumulation, "max_completion_length": LENGTH,
    }  # fmt: skip


@pytest.mark.parametrize(("architecture", "loss", "chat", "temperature", "accumulation"), CASES)
def test_one_step_of_ours_is_the_reinforce_gradient(
    tmp_path: Path, architecture: str, loss: str, chat: bool, temperature: float, accumulation: int
) -> None:
    policy = training.policy(architecture, temperature=temperature)
    trainer = training.trainer(
        tmp_path, policy, chat=chat, **settings(loss, temperature, accumulation)
    )
    before = training.vector(policy.model)
    trainer.train()
    moved = training.vector(policy.model) - before
    episodes = trainer.generation.episodes
    fresh = training.policy(architecture, temperature=temperature)
    prompts = [trainer.rows[episode.row].prompt for episode in episodes]
    rewards = [episode.total for episode in episodes]
    actions = [episode.tokens()[0] for episode in episodes]
    expected = reinforce_gradient(fresh, prompts, actions, rewards, loss)
    assert len(episodes) == 16
    assert relative_error(moved, expected) <= MAX_RELATIVE_ERROR


@pytest.mark.parametrize(("architecture", "loss", "chat", "temperature", "accumulation"), CASES)
def test_one_step_of_stock_trl_is_the_reinforce_gradient(
    tmp_path: Path, architecture: str, loss: str, chat: bool, temperature: float, accumulation: int
) -> None:
    policy = training.policy(architecture, temperature=temperature)
    seen: dict[str, list[Any]] = {}

    def reward(prompts: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        values = [training.digest("", ids) for ids in completion_ids]
        seen.update(prompts=prompts, actions=completion_ids, rewards=values)
        return values

    args = training.config(tmp_path, **settings(loss, temperature, accumulation))
    data = Dataset.from_dict({"prompt": [row.prompt for row in training.rows(chat)]})
    trainer = GRPOTrainer(
        model=policy.model, reward_funcs=[reward], args=args, train_dataset=data, processing_class=policy.tokenizer,
        optimizers=training.sgd(policy.model),
    )  # fmt: skip
    before = training.vector(policy.model)
    trainer.train()
    moved = training.vector(policy.model) - before
    fresh = training.policy(architecture, temperature=temperature)
    expected = reinforce_gradient(fresh, seen["prompts"], seen["actions"], seen["rewards"], loss)
    assert relative_error(moved, expected) <= MAX_RELATIVE_ERROR


@pytest.mark.parametrize("mistake", ["eos", "temperature", "std", "shift", "sign"])
def test_the_check_sees_each_mistake(tmp_path: Path, mistake: str) -> None:
    policy = training.policy()
    trainer = training.trainer(tmp_path, policy, **settings("dapo", 0.7, 1))
    before = training.vector(policy.model)
    trainer.train()
    moved = training.vector(policy.model) - before
    episodes = trainer.generation.episodes
    actions = [episode.tokens()[0] for episode in episodes]
    rewards = [episode.total for episode in episodes]
    prompts: list[Any] = [trainer.rows[episode.row].prompt for episode in episodes]
    fresh = training.policy(temperature=1.0 if mistake == "temperature" else 0.7)
    if mistake == "eos":
        actions = [ids[:-1] if len(ids) > 1 else ids for ids in actions]
    if mistake == "shift":
        prompts = [[*fresh.encode([prompt])[0][1:], 7] for prompt in prompts]
    expected = reinforce_gradient(fresh, prompts, actions, rewards, "dapo") * (
        -1 if mistake == "sign" else 1
    )
    if mistake == "std":
        expected = (
            expected * (3 / 4) ** 0.5
        )  # the population's standard deviation, for a group of four
    assert relative_error(moved, expected) > 100 * MAX_RELATIVE_ERROR
