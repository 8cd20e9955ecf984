"""The reference goes with the checkpoint: a resumed run measures its KL against the reference it
had.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from llmpolicy.errors import PolicyError
from llmpolicy.grpo.reference import FILE, load_reference, save_reference
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm.kinds import REFERENCE
from tests import models, training
from tests.test_kinds import ACTIONS, OTHERS, PROMPTS, move

SYNC = {
    "sync_ref_model": True,
    "ref_model_sync_steps": 1,
    "ref_model_mixup_alpha": 0.5,
    "beta": 0.1,
}
RANDOM = {"r": 4, "init_lora_weights": False}


def trained(
    folder: Path,
    resumed: Path | None = None,
    *,
    lora: dict[str, Any] | None,
    seed: int,
    **grpo: Any,
) -> Any:
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
    ("lora", "grpo"),
    [(None, SYNC), (RANDOM, {"beta": 0.1})],
    ids=["synchronised", "random adapter"],
)
def test_a_resumed_run_has_the_reference_of_the_uninterrupted_one(
    tmp_path: Path, lora: Any, grpo: Any
) -> None:
    whole = trained(tmp_path / "whole", lora=lora, seed=0, **grpo)
    resumed = trained(
        tmp_path / "resumed", tmp_path / "whole/checkpoint-2", lora=lora, seed=1, **grpo
    )
    assert kl(whole.state)[-1] > 1e-4
    assert kl(resumed.state) == kl(whole.state)
    assert torch.equal(training.vector(resumed.model), training.vector(whole.model))


def test_a_reference_that_moved_and_is_not_in_the_checkpoint_is_missed(tmp_path: Path) -> None:
    trained(tmp_path, lora=None, seed=0, **SYNC)
    (tmp_path / "checkpoint-2" / FILE).unlink()
    with pytest.raises(PolicyError, match=r"checkpoint-2 has no reference.safetensors"):
        trained(tmp_path / "resumed", tmp_path / "checkpoint-2", lora=None, seed=0, **SYNC)


def test_the_reference_of_a_kind_whose_layers_share_tensors_goes_with_the_checkpoint(
    tmp_path: Path,
) -> None:
    policy = move(
        CausalLMPolicy(
            get_peft_model(models.model("llama"), OTHERS["RANDLORA"]()), models.tokenizer()
        )
    )
    trainer: Any = SimpleNamespace(
        beta=0.1, args=SimpleNamespace(should_save=True, sync_ref_model=False), policy=policy
    )
    start = policy.reference.log_prob(PROMPTS, ACTIONS)[0]
    save_reference(trainer, tmp_path)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if f".{REFERENCE}." in f"{name}.":
                parameter.add_(0.1)
    assert (policy.reference.log_prob(PROMPTS, ACTIONS)[0] - start).abs().max() > 0.01
    load_reference(trainer, tmp_path)
    assert torch.equal(policy.reference.log_prob(PROMPTS, ACTIONS)[0], start)


def test_a_reference_of_another_adapter_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "run", lora=RANDOM, seed=0, beta=0.1)
    file = tmp_path / "run/checkpoint-2" / FILE
    save_file(dict(list(load_file(file).items())[1:]), file)
    with pytest.raises(PolicyError, match="reference.safetensors does not fit"):
        trained(tmp_path / "resumed", tmp_path / "run/checkpoint-2", lora=RANDOM, seed=0, beta=0.1)


def test_a_reference_that_can_be_made_again_is_not_written(tmp_path: Path) -> None:
    trained(tmp_path, lora=None, seed=0, beta=0.1)
    assert not list(tmp_path.rglob(FILE))


@pytest.mark.parametrize(
    ("lora", "beta", "sentence"),
    [(None, 0.0, "beta is 0; expected beta above 0"), (RANDOM, 0.1, "an adapter is trained")],
)
def test_a_reference_that_could_not_move_is_refused(
    tmp_path: Path, lora: Any, beta: float, sentence: str
) -> None:
    with pytest.raises(PolicyError, match=sentence):
        training.trainer(tmp_path, training.policy(lora=lora), **{**SYNC, "beta": beta})
