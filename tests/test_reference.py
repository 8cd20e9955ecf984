"""The reference goes with the checkpoint: a resumed run measures its KL against the reference it had."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerState

from llmpolicy.errors import PolicyError
from llmpolicy.grpo.reference import FILE
from tests import training

SYNC = {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.5, "beta": 0.1}
RANDOM = {"r": 4, "init_lora_weights": False}


def trained(folder: Path, resumed: Path | None = None, *, lora: dict[str, Any] | None, seed: int, **grpo: Any) -> Any:
    torch.manual_seed(seed)  # of a random adapter's start
    settings = {
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 2,
        "learning_rate": 0.3,
        **grpo,
    }
    trainer = training.trainer(folder, training.policy(lora=lora), **settings)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return trainer


def kl(state: TrainerState) -> list[float]:
    return [line["kl"] for line in state.log_history if "kl" in line]


@pytest.mark.parametrize(
    ("lora", "grpo"), [(None, SYNC), (RANDOM, {"beta": 0.1})], ids=["synchronised", "random adapter"]
)
def test_a_resumed_run_has_the_reference_of_the_uninterrupted_one(tmp_path: Path, lora: Any, grpo: Any) -> None:
    whole = trained(tmp_path / "whole", lora=lora, seed=0, **grpo)
    resumed = trained(tmp_path / "resumed", tmp_path / "whole/checkpoint-2", lora=lora, seed=1, **grpo)
    assert kl(whole.state)[-1] > 1e-4
    assert kl(resumed.state) == kl(whole.state)
    assert torch.equal(training.vector(resumed.model), training.vector(whole.model))


def test_a_reference_that_moved_and_is_not_in_the_checkpoint_is_missed(tmp_path: Path) -> None:
    trained(tmp_path, lora=None, seed=0, **SYNC)
    (tmp_path / "checkpoint-2" / FILE).unlink()
    with pytest.raises(PolicyError, match=r"checkpoint-2 has no reference.safetensors"):
        trained(tmp_path / "resumed", tmp_path / "checkpoint-2", lora=None, seed=0, **SYNC)


def test_a_reference_that_can_be_made_again_is_not_written(tmp_path: Path) -> None:
    trained(tmp_path, lora=None, seed=0, beta=0.1)
    assert not list(tmp_path.rglob(FILE))


@pytest.mark.parametrize(
    ("lora", "beta", "sentence"),
    [(None, 0.0, "beta is 0; expected beta above 0"), (RANDOM, 0.1, "an adapter is trained")],
)
def test_a_reference_that_could_not_move_is_refused(tmp_path: Path, lora: Any, beta: float, sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        training.trainer(tmp_path, training.policy(lora=lora), **{**SYNC, "beta": beta})
