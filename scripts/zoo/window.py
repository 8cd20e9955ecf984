"""One training window of the real trainer, against plain REINFORCE by hand and against stock TRL's
loss.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOTrainer

from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from scripts.zoo.laws import Differs
from scripts.zoo.plain import Plain, gradients, relative
from tests import training

QUESTIONS = ("1+1", "22+3 is a", "4", "5+5+5-2*6 =? ", "a test is", "9-9-9-9-9-9-9-9-9-9-9-9")
WARM = 1.5
"""The temperature of training, so that the completions of a group differ whatever the model."""
SETTINGS = {"max_completion_length": 6, "temperature": WARM}


class _Keeping(PolicyTrainer):
    """Keep what was generated, as the update gets it."""

    kept: dict[str, Any]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        self.kept = dict(output)
        for key, value in output.items():
            if isinstance(value, Tensor):
                self.kept[key] = value.clone()
        return output


def _no_reward(completions: list[str], **_: Any) -> list[float | None]:
    """Stock TRL wants one; the advantages are those of the rows that it is given."""
    return [0.0] * len(completions)


class Window:
    """One step of plain SGD at learning rate 1: the weights move by minus the gradient."""

    def __init__(self, policy: CausalLMPolicy, plain: Plain, **grpo: Any) -> None:
        self.plain, self.settings = plain, {**SETTINGS, **grpo}
        before = {}
        for name, parameter in policy.model.named_parameters():
            if parameter.requires_grad:
                before[name] = parameter.detach().double()
        with tempfile.TemporaryDirectory() as folder:
            trainer: Any = training.trainer(
                Path(folder),
                policy,
                chat=False,
                questions=QUESTIONS,
                kind=_Keeping,
                **self.settings,
            )
            self.path, self.aux = trainer.ways.path, bool(trainer.aux_loss_enabled)
            trainer.train()
        self.trainer = trainer
        after = dict(policy.model.named_parameters())
        self.moved = {name: value - after[name].detach().double() for name, value in before.items()}

    def by_hand(self) -> float:
        """How far the step is from the gradient of −Σ A log π / Σ T, row by row without padding."""
        episodes = self.trainer.generation.episodes
        rewards = torch.tensor([episode.total for episode in episodes]).view(-1, 4)  # (D, G)
        advantages = (
            (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        ).flatten()
        turns = [turn for episode in episodes for turn in episode.turns]
        actions, prompts = [turn.action for turn in turns], [turn.state for turn in turns]
        if not advantages.any():
            raise Differs("no group has a signal: expected another seed")
        rows = [
            advantage * self.plain.log_prob(prompt, action, WARM).sum()
            for advantage, prompt, action in zip(advantages, prompts, actions, strict=True)
        ]
        return relative(
            self.moved, self.plain.gradient(-torch.stack(rows).sum() / sum(map(len, actions)))
        )

    def stock(self) -> float:
        """How far the step is from the gradient of stock TRL's loss on the same rows."""
        model = copy.deepcopy(self.plain.model)
        with tempfile.TemporaryDirectory() as folder:
            trainer: Any = GRPOTrainer(
                model=model,
                reward_funcs=[_no_reward],
                args=training.config(Path(folder), **self.settings),
                train_dataset=Dataset.from_dict({"prompt": list(QUESTIONS)}),
                processing_class=self.trainer.processing_class,
            )
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(model, self.trainer.kept).backward()
        return relative(self.moved, gradients(model))
