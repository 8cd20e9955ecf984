"""An advantage and a loss of one's own: those of TRL, written by hand, train what TRL trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import training

WAYS = [
    {"loss_type": "grpo"},
    {"loss_type": "dapo", "beta": 0.05},
    {"loss_type": "dr_grpo", "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    {"loss_type": "grpo", "num_iterations": 2, "max_steps": 4},
    {"loss_type": "bnpo", "num_iterations": 2, "max_steps": 4},  # TRL's own path
]


def clipped(log_prob: Tensor, old: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    ratio = (log_prob - old).exp()
    return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


def standardised(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / (scores.std() + 1e-4)


def trained(folder: Path, options: dict[str, Any], **grpo: Any) -> Tensor:
    policy = training.policy()
    optimizers = training.sgd(policy.model, lr=0.5)
    options = {"optimizers": optimizers, **options}
    training.trainer(folder, policy, options=options, **{"max_steps": 2, **grpo}).train()
    return training.vector(policy.model)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_trls_loss_and_advantage_written_by_hand_train_the_same(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    own = trained(tmp_path / "own", {"loss": clipped, "advantage": standardised}, **way)
    torch.testing.assert_close(own, trained(tmp_path / "trl", {}, **way), rtol=1e-5, atol=1e-6)


def test_a_loss_may_learn_from_rows_without_an_advantage(tmp_path: Path) -> None:
    def likelier(log_prob: Tensor, old: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
        return -log_prob

    def equal(scores: Tensor) -> Tensor:
        return torch.zeros_like(scores)

    start = training.vector(training.policy().model)
    assert torch.equal(trained(tmp_path / "a", {"advantage": equal}), start)
    moved = trained(tmp_path / "b", {"advantage": equal, "loss": likelier})
    assert not torch.equal(moved, start)


def test_a_completion_that_nobody_could_judge_is_in_no_group(tmp_path: Path) -> None:
    groups: list[list[float]] = []

    def noted(scores: Tensor) -> Tensor:
        groups.append(scores.tolist())
        return scores - scores.mean()

    def reward(completion: str, completion_ids: list[int]) -> float | None:
        return None if completion_ids[0] % 3 == 0 else float(completion_ids[0])

    def keep(inputs: Any) -> Any:
        output = usual(inputs)
        weighed.append((output["advantages"], trainer.generation.table))
        return output

    weighed: list[tuple[Tensor, Tensor]] = []
    trainer = training.trainer(
        tmp_path, training.policy(), reward=reward, options={"advantage": noted}
    )
    usual = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = keep  # type: ignore[method-assign]
    trainer.train()
    advantages, table = weighed[0]
    unjudged = table.isnan()[:, 0]
    assert unjudged.any() and not unjudged.all() and (advantages[unjudged] == 0).all()
    expected = [group[~group.isnan()].tolist() for group in table[:, 0].view(-1, 4)]
    assert groups == [group for group in expected if len(group) > 1]
