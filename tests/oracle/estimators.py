"""What each estimator gives for a step: TRL's own loss, asked through the toolkit's trainer, and
the gradient it puts on every log-probability.

A step is one group of G completions of each prompt. The gradient in the weights follows by the
chain rule from the enumerated scores, so only the loss is asked, and nothing is written again here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.objectives import group_advantages
from tests import training
from tests.oracle import world
from tests.oracle.world import Floats, Prompt

Drawn = NDArray[np.int64]
"""(K, G): which completion of each prompt was drawn."""
Advantage = Callable[[Floats], Floats]
"""From the rewards of a step, (K, G), to its advantages."""


def none(rewards: Floats) -> Floats:
    return rewards


def centred(rewards: Floats) -> Floats:
    return np.asarray(group_advantages(torch.from_numpy(rewards), scale=False).numpy())


def scaled(rewards: Floats) -> Floats:
    return np.asarray(group_advantages(torch.from_numpy(rewards)).numpy())


def leave_one_out(rewards: Floats) -> Floats:
    size = rewards.shape[1]
    return centred(rewards) * size / (size - 1)


def batch_centred(rewards: Floats) -> Floats:
    return rewards - rewards.mean()


def batch_scaled(rewards: Floats) -> Floats:
    return centred(rewards) / (rewards.std(ddof=1) + 1e-4)


def maximum_likelihood(rewards: Floats) -> Floats:
    mean = rewards.mean(1, keepdims=True)
    return np.divide(rewards - mean, mean, out=np.zeros_like(rewards), where=mean > 0)


def extremes(rewards: Floats) -> Floats:
    """Of a group the half with the largest variance (PODS), centred among themselves: for rewards
    of 0 and 1 as even a half as there is.
    """
    size = rewards.shape[1] // 2
    found = np.zeros_like(rewards)
    for group, row in zip(found, rewards, strict=True):
        order = np.argsort(row, kind="stable")
        halves = [np.r_[order[:n], order[len(order) - size + n :]] for n in range(size + 1)]
        best = max(halves, key=lambda half: row[half].var())
        group[best] = 2 * (row[best] - row[best].mean())
    return found


@dataclass(frozen=True)
class Estimator:
    """A loss of TRL with its settings, and the advantages it is given.

    ``cut``: completions without an end are masked; ``dead``: what becomes of a group of equal
    rewards ("kept", "skipped", or "refilled" with other prompts until none is dead); ``corrected``:
    a completion weighs π/π_old, at most 3, in place of the loss's own ratios; ``least``: the
    smallest group that says anything.
    """

    advantage: Advantage
    loss: str = "dr_grpo"
    settings: dict[str, Any] = field(default_factory=dict)
    cut: bool = False
    dead: str = "kept"
    corrected: bool = False
    least: int = 2


ESTIMATORS = {
    "REINFORCE, no baseline": Estimator(none),
    "REINFORCE, mean of the batch": Estimator(batch_centred),
    "Dr.GRPO: mean of the group": Estimator(centred),
    "RLOO": Estimator(leave_one_out),
    "spread of the group": Estimator(scaled),
    "spread of the batch": Estimator(batch_scaled),
    "MaxRL": Estimator(maximum_likelihood),
    "mean over each completion's tokens": Estimator(centred, "grpo"),
    "GRPO": Estimator(scaled, "grpo"),
    "mean over all tokens": Estimator(centred, "dapo"),
    "DAPO": Estimator(scaled, "dapo"),
    "BNPO": Estimator(scaled, "bnpo"),
    "GSPO": Estimator(scaled, "grpo", {"importance_sampling_level": "sequence"}),
    "LUSPO": Estimator(scaled, "luspo", {"importance_sampling_level": "sequence"}),
    "CISPO": Estimator(scaled, "cispo", {"epsilon_high": 5.0}),
    "SAPO": Estimator(scaled, "sapo"),
    "VESPO": Estimator(scaled, "vespo"),
    "cut completions masked": Estimator(centred, cut=True),
    "dead groups skipped": Estimator(centred, dead="skipped"),
    "dead groups refilled": Estimator(centred, dead="refilled"),
    "PODS, half of the group": Estimator(extremes, least=4),
}
WIDE = {"epsilon": 1e6, "epsilon_high": 1e6}
LATER = {
    "no correction": Estimator(centred, settings={"on_policy": True}),
    "ratio a token, no clip": Estimator(centred, settings=WIDE),
    "ratio a token, clip .2": Estimator(centred),
    "ratio a completion, at most 3": Estimator(centred, corrected=True),
    "GRPO": ESTIMATORS["GRPO"],
    "DAPO, clip .2 and .28": Estimator(scaled, "dapo", {"epsilon_high": 0.28}),
    "GSPO": Estimator(
        scaled, "grpo", {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}
    ),
    "CISPO": ESTIMATORS["CISPO"],
    "SAPO": ESTIMATORS["SAPO"],
    "VESPO": ESTIMATORS["VESPO"],
}  # fmt: skip
"""For completions that an earlier policy wrote."""


class Asked:
    """A trainer whose loss is asked for rows of enumerated completions."""

    def __init__(self, folder: Path, estimator: Estimator, worlds: list[Prompt]) -> None:
        settings = {k: v for k, v in estimator.settings.items() if k != "on_policy"}
        self.estimator, self.now, self.before = estimator, worlds, worlds
        self.trainer = trainer(folder, world.policy(), loss_type=estimator.loss, **settings)
        self.trainer._get_per_token_logps_and_entropies = (  # type: ignore[method-assign]
            lambda *_, **__: (self.leaf, torch.zeros_like(self.leaf), None)
        )
        self.trainer.current_gradient_accumulation_steps = 1
        self.leaf = torch.zeros(0)

    def gradient(self, drawn: Drawn, prompts: list[int] | None = None) -> Floats:
        """The step's estimate of ∇J, (P,): minus the gradient of TRL's loss."""
        of = prompts if prompts is not None else list(range(len(self.now)))
        rewards = np.stack([self.now[k].reward[y] for k, y in zip(of, drawn, strict=True)])
        advantages = self.estimator.advantage(rewards)
        if self.estimator.dead == "skipped":
            live = np.flatnonzero(rewards.std(1) > 0)
            of, drawn, advantages = [of[k] for k in live], drawn[live], advantages[live]
        if not len(drawn):
            return np.zeros(self.now[0].score.shape[-1])
        rows = [(k, y) for k, group in zip(of, drawn, strict=True) for y in group]
        coefficient = self._coefficients(rows, advantages.ravel())
        score = np.stack([self.now[k].score[y] for k, y in rows])  # (B, T, P)
        return np.asarray(coefficient.ravel() @ score.reshape(coefficient.size, -1))

    def _coefficients(self, rows: list[tuple[int, int]], advantages: Floats) -> Floats:
        """−∂loss/∂ log π of every token, (B, T)."""
        gathered = {
            name: np.stack([getattr(of[k], name)[y] for k, y in rows])
            for name, of in (("log_prob", self.now), ("mask", self.now))
        }
        old = np.stack([self.before[k].log_prob[y] for k, y in rows])
        mask = gathered["mask"]
        if self.estimator.corrected:
            ratio = np.exp(((gathered["log_prob"] - old) * mask).sum(1))
            advantages = advantages * np.minimum(ratio, 3.0)
        if self.estimator.corrected or self.estimator.settings.get("on_policy"):
            old = gathered["log_prob"]
        if self.estimator.cut:
            ends = np.array([world.completions()[y][-1] == world.END for _, y in rows])
            mask = mask * ends[:, None]
        self.leaf = torch.tensor(gathered["log_prob"], requires_grad=True)
        ids = torch.ones(len(rows), world.LENGTH, dtype=torch.long)
        inputs = {
            "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids,
            "completion_mask": torch.tensor(mask).long(), "advantages": torch.tensor(advantages),
            "old_per_token_logps": torch.tensor(old),
            "num_items_in_batch": torch.tensor(mask.sum()),
        }  # fmt: skip
        self.trainer._metrics["train"].clear()
        loss = self.trainer._compute_loss(self.trainer.model, inputs)
        return np.asarray(-torch.autograd.grad(loss, self.leaf)[0].numpy())


def trainer(folder: Path, policy: Any, **grpo: Any) -> PolicyTrainer:
    """The toolkit's trainer over the enumerated prompts, with the enumerated reward."""

    def judged(prompt: str, completion_ids: list[int]) -> float:
        return world.right(completion_ids, prompt)

    usual = {
        "per_device_train_batch_size": 4, "num_generations": 2, "learning_rate": 1.0,
        "max_completion_length": world.LENGTH,
    }  # fmt: skip
    made = training.trainer(
        folder, policy, chat=False, questions=grpo.pop("questions", world.PROMPTS),
        reward=grpo.pop("reward", judged), options=grpo.pop("options", None), **{**usual, **grpo},
    )  # fmt: skip
    made.model.train()
    return made


def draw(worlds: list[Prompt], size: int, random: np.random.Generator) -> Drawn:
    """A group of each prompt."""
    return np.stack([one(prompt, size, random) for prompt in worlds])


def one(prompt: Prompt, size: int, random: np.random.Generator) -> Drawn:
    """A group of one prompt."""
    chance = prompt.probability / prompt.probability.sum()
    return random.choice(len(chance), size=size, p=chance)


def refilled(
    worlds: list[Prompt], size: int, random: np.random.Generator
) -> tuple[Drawn, list[int]]:
    """As many live groups as there are prompts, each of a prompt drawn anew until it is live."""
    groups, of = [], []
    while len(groups) < len(worlds):
        k = int(random.integers(len(worlds)))
        group = one(worlds[k], size, random)
        if np.ptp(worlds[k].reward[group]) > 0:
            groups.append(group)
            of.append(k)
    return np.stack(groups), of


def exact(worlds: list[Prompt]) -> Floats:
    """∇J, (P,)."""
    return np.asarray(np.mean([prompt.gradient for prompt in worlds], axis=0))


def unbiased(worlds: list[Prompt], before: list[Prompt], drawn: Drawn) -> Floats:
    """RLOO in plain numpy, with the ratio of whole completions: its expectation is ∇J."""
    total = np.zeros(worlds[0].score.shape[-1])
    for now, old, group in zip(worlds, before, drawn, strict=True):
        weight = leave_one_out(now.reward[group][None])[0]
        weight = weight * now.probability[group] / old.probability[group]
        total += weight @ now.score[group].sum(1) / group.size / len(worlds)
    return total


def figures(estimates: Floats, controls: Floats | None, truth: Floats) -> dict[str, float]:
    """Bias and variance of estimates, (N, P), against ∇J.

    The mean is taken with ``controls`` (the same draws in an unbiased estimator) subtracted, and
    the squared noise of that mean from its squared distance. ``scale`` is the length along ∇J,
    ``turned`` the part across it relative to that along, ``noise`` the root of what was subtracted,
    ``variance`` the trace of the covariance over the squared length along ∇J.
    """
    length = float(truth @ truth)
    steady = estimates - _carried(estimates, controls, truth)  # the same mean, less noise
    mean = steady.mean(0)
    scale = float(mean @ truth) / length
    across = mean - scale * truth
    sideways = steady - np.outer(steady @ truth / length, truth)
    noise = float(sideways.var(0, ddof=1).sum()) / len(steady)
    unit = abs(scale) * math.sqrt(length)
    turned = math.sqrt(max(float(across @ across) - noise, 0.0)) / unit
    return {
        "scale": scale,
        "turned": turned,
        "cosine": math.copysign(1 / math.hypot(1, turned), scale),
        "noise": math.sqrt(noise) / unit,
        "variance": float(estimates.var(0, ddof=1).sum()) / unit**2,
    }


def _carried(estimates: Floats, controls: Floats | None, truth: Floats) -> Floats:
    """The part of each estimate that its control explains, whose mean is 0."""
    if controls is None:
        return np.zeros_like(estimates)
    around = controls - truth
    share = ((estimates - estimates.mean(0)) * around).sum() / (around**2).sum()
    return np.asarray(share * around)


def cell(
    folder: Path,
    estimator: Estimator,
    now: list[Prompt],
    before: list[Prompt],
    size: int,
    steps: int,
) -> dict[str, float]:
    """The figures of an estimator over ``steps`` steps that ``before`` wrote, with a fixed seed."""
    asked, random = Asked(folder, estimator, now), np.random.default_rng(size)
    asked.before = before
    if estimator.dead == "refilled":
        drawn = [refilled(now, size, random) for _ in range(steps)]
        return figures(np.stack([asked.gradient(*one) for one in drawn]), None, exact(now))
    groups = [draw(before, size, random) for _ in range(steps)]
    controls = np.stack([unbiased(now, before, group) for group in groups])
    return figures(np.stack([asked.gradient(group) for group in groups]), controls, exact(now))
