"""Sampler and scorer are one policy, or the run stops before its first update."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.errors import PolicyError
from llmpolicy.grpo.parity import disagreement
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.run import Run
from tests import training


@pytest.mark.parametrize(
    "options", [{}, {"loss_type": "bnpo"}, {"beta": 0.1}, {"mask_truncated_completions": True}]
)
def test_the_first_generation_is_scored_again_and_agrees(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    run = Run.create(tmp_path / "run", {"name": "tiny"})
    trainer = training.trainer(
        tmp_path, training.policy(), options={"run": run}, max_steps=2, **options
    )
    assert (trainer.stock_reason is None) == (options.get("loss_type") is None)
    trainer.train()
    assert trainer.parity is not None
    assert trainer.parity < 1e-5
    looks = [line for line in trainer.state.log_history if "sampler/parity" in line]
    assert [line["step"] for line in looks] == [1]
    assert Run.open(run.path).manifest["sampler_parity"] == trainer.parity


def test_where_no_token_counts_there_is_nothing_to_compare(tmp_path: Path) -> None:
    trainer = training.trainer(tmp_path, training.policy())
    made = trainer._generate_and_score_completions(
        [{"prompt": "", "row": row} for row in (0, 0, 0, 0, 1, 1, 1, 1)]
    )
    log_probs = [episode.log_probs() for episode in trainer.generation.episodes]
    assert None not in log_probs
    cut = {**made, "completion_mask": torch.zeros_like(made["completion_mask"])}
    assert disagreement(trainer, cut, log_probs) is None
    one = made["completion_mask"].clone()
    one[1:] = 0
    found = disagreement(trainer, {**made, "completion_mask": one}, log_probs)
    assert found is not None
    assert 0.0 <= found < 1e-5


class Warm(PolicyTrainer):
    """An engine that samples from another policy than the one that learns."""

    def _generate_single_turn(self, *arguments: Any, **options: Any) -> Any:
        temperature, self.temperature = self.temperature, self.temperature * 1.1
        try:
            return super()._generate_single_turn(*arguments, **options)
        finally:
            self.temperature = temperature


class Stale(PolicyTrainer):
    """An engine whose weights lag behind."""

    def _generate_single_turn(self, *arguments: Any, **options: Any) -> Any:
        made = super()._generate_single_turn(*arguments, **options)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(1.2)
        return made


@pytest.mark.parametrize("kind", [Warm, Stale])
def test_a_sampler_that_is_another_policy_stops_the_run_in_words(
    tmp_path: Path, kind: type[PolicyTrainer]
) -> None:
    trainer = training.trainer(tmp_path, training.policy(), kind=kind, max_steps=2)
    with pytest.raises(PolicyError, match="not one policy") as found:
        trainer.train()
    assert "\n" not in str(found.value)
    assert trainer.state.global_step == 0
