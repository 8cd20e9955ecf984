"""A tiny trainer for the tests of GRPO: a 2-layer policy, a few prompts, a reward that spreads a
group.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.rewards import Rewards
from llmpolicy.tasks import Row
from tests.models import model, tokenizer

QUESTIONS = ("1+1", "22+3", "4", "5+5+5")
ALPHABET = "0123456789+ \nuserait"  # a small vocabulary, so that some completions end by themselves
GRPO: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 6,
    "max_steps": 1,
    "learning_rate": 1.0,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "weight_decay": 0.0,
    "save_strategy": "no",
    "use_cpu": True,
    "bf16": False,
}


def digest(completion: str, completion_ids: Sequence[int]) -> float:
    """A reward that differs within a group and needs no sense in the text."""
    return (sum(completion_ids) % 11) / 10


def rows(chat: bool = True, questions: Sequence[str] = QUESTIONS) -> list[Row]:
    prompts: list[Any] = [[{"role": "user", "content": q}] if chat else q for q in questions]
    return [
        Row(prompt, {"answer": "2"}, index, question, "t")
        for index, (prompt, question) in enumerate(zip(prompts, questions, strict=True))
    ]


def policy(architecture: str = "llama", *, seed: int = 0, **settings: Any) -> CausalLMPolicy:
    words = tokenizer(alphabet=ALPHABET)
    return CausalLMPolicy(
        model(architecture, seed=seed, vocab_size=len(words), initializer_range=0.1),
        words,
        **settings,
    )


def config(folder: Path, **grpo: Any) -> GRPOConfig:
    return grpo_config({**GRPO, **grpo}, output_dir=folder, seed=0, reward_weights=[1.0])


def sgd(
    module: torch.nn.Module, lr: float = 1.0
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=lr)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def trainer(
    folder: Path,
    policy: CausalLMPolicy,
    *,
    chat: bool = True,
    reward: Callable[..., Any] | list[Any] = digest,
    questions: Sequence[str] = QUESTIONS,
    options: dict[str, Any] | None = None,
    kind: type[PolicyTrainer] = PolicyTrainer,
    **grpo: Any,
) -> PolicyTrainer:
    """A PolicyTrainer with plain SGD (unless options say otherwise), so that one step is the
    gradient itself.
    """
    # Its rewards count their calls and send signals: the firewall has tests of its own.
    rewards = Rewards(reward if isinstance(reward, list) else [reward], isolate=False)
    args = config(folder, **grpo)
    args.reward_weights = rewards.composition.weights
    return kind(
        policy,
        rewards,
        rows(chat, questions),
        args,
        **{"optimizers": sgd(policy.model), **(options or {})},
    )


def vector(module: torch.nn.Module) -> torch.Tensor:
    """All trainable parameters as one float64 vector."""
    return torch.cat(
        [p.detach().double().flatten() for p in module.parameters() if p.requires_grad]
    )
