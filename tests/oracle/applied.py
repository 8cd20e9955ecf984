"""What the trainer truly applied in one step of plain SGD: Δθ / −lr, and what it had drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests import training
from tests.oracle import estimators, world
from tests.oracle.estimators import Drawn, Estimator
from tests.oracle.world import Floats

RATE = 1.0


@dataclass(frozen=True)
class Applied:
    """The update (P,), the completions of each group (K, G), and the prompt of each group (K)."""

    update: Floats
    drawn: Drawn
    prompts: list[int]


def applied(
    folder: Path, estimator: Estimator, size: int, groups: int, *, micro: int = 1, **grpo: Any
) -> Applied:
    """One step of ``groups`` groups of each prompt, through ``PolicyTrainer.train``, in ``micro``
    micro-batches.
    """
    policy = world.policy()
    start = training.vector(policy.model)
    rows = 2 * groups * size
    settings = {
        "loss_type": estimator.loss, "num_generations": size, "learning_rate": RATE,
        "per_device_train_batch_size": rows // micro, "gradient_accumulation_steps": micro,
        "mask_truncated_completions": estimator.cut, **estimator.settings, **grpo,
    }  # fmt: skip
    own: dict[str, Any] = {"optimizers": training.sgd(policy.model, RATE)}
    if estimator.advantage is not estimators.scaled:
        own["advantage"] = _as_advantage(estimator)
    trainer = estimators.trainer(
        folder, policy, questions=world.PROMPTS * groups, options=own, **settings
    )
    kept: list[Any] = []
    usual = trainer._generate_and_score_completions

    def noted(inputs: Any) -> Any:
        output = usual(inputs)
        kept.append((output["prompt_ids"].tolist(), output["completion_ids"].tolist()))
        return output

    trainer._generate_and_score_completions = noted  # type: ignore[method-assign]
    trainer.train()
    update = (training.vector(policy.model) - start).numpy() / RATE
    return Applied(update, *_read(*kept[0], size))


def _read(prompts: list[list[int]], written: list[list[int]], size: int) -> tuple[Drawn, list[int]]:
    """Which enumerated completions were drawn, and the prompt of each group."""
    places = {completion: y for y, completion in enumerate(world.completions())}
    found = []
    for ids in written:
        end = ids.index(world.END) + 1 if world.END in ids else len(ids)
        found.append(places[tuple(ids[:end])])
    firsts = [prompt[-1] - 1 for prompt in prompts[::size]]  # "a" is token 1
    return np.array(found).reshape(-1, size), firsts


def _as_advantage(estimator: Estimator) -> Callable[[Tensor], Tensor]:
    """An advantage of one's own, over the scores of one group."""

    def advantage(scores: Tensor) -> Tensor:
        return torch.from_numpy(estimator.advantage(scores.double().numpy()[None])[0])

    return advantage
