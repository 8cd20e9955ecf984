"""What of a handed-over model is trained is kept as it was given, and what no step could be made of
is refused in words.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.trained import check_trained
from tests import models, training

WORDS = models.tokenizer(alphabet=training.ALPHABET)


def adapted(**settings: Any) -> PeftModel:
    config = LoraConfig(
        r=2, init_lora_weights=False, task_type="CAUSAL_LM", target_modules="all-linear", **settings
    )
    made: Any = get_peft_model(
        models.model("llama", vocab_size=len(WORDS), initializer_range=0.1), config
    )
    return made


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def partly_frozen() -> PeftModel:
    model = adapted()
    for name, parameter in model.named_parameters():
        if ".layers.0." in name:
            parameter.requires_grad = False
    return model


def test_what_is_frozen_in_an_adapter_stays_frozen(tmp_path: Path) -> None:
    model = partly_frozen()
    before, frozen = (
        trained(model),
        {n: p.clone() for n, p in model.named_parameters() if ".layers.0." in n},
    )
    policy = CausalLMPolicy(model, WORDS)
    assert before
    assert trained(policy.model) == before
    with policy.adapter_off():
        policy.act([[5, 6]], max_new_tokens=2)
    policy.kl([[5, 6]], [[7, 8]])
    policy.rehearse()
    assert trained(policy.model) == before
    trainer = training.trainer(tmp_path, policy, max_steps=2, beta=0.1, learning_rate=1e-2)
    start = {name: p.clone() for name, p in policy.model.named_parameters() if name in before}
    trainer.train()
    assert trained(policy.model) == before
    now = dict(policy.model.named_parameters())
    assert all(
        torch.equal(now[name], value) and now[name].grad is None for name, value in frozen.items()
    )
    assert any(not torch.equal(now[name], value) for name, value in start.items())


def test_an_adapter_that_is_not_trained_is_scored_and_not_trained(tmp_path: Path) -> None:
    policy = CausalLMPolicy(adapted(inference_mode=True), WORDS)
    assert not trained(policy.model)
    policy.act([[5, 6]], max_new_tokens=2)
    with pytest.raises(PolicyError, match="nothing of it is trained.*is_trainable=True"):
        check_trained(policy.model, policy.name, training.config(tmp_path))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda model: model.base_model.disable_adapter_layers(), "switched off"),
        (lambda model: model.merge_adapter(), "merged into its base"),
    ],
)
def test_an_adapter_of_which_nothing_would_be_trained_is_refused(change: Any, why: str) -> None:
    model = adapted()
    change(model)
    with pytest.raises(PolicyError, match=why):
        CausalLMPolicy(model, WORDS)


def half(**settings: Any) -> CausalLMPolicy:
    return CausalLMPolicy(
        models.model("llama", vocab_size=len(WORDS), initializer_range=0.1).half(),
        WORDS,
        **settings,
    )


def test_full_weights_in_float16_are_refused_before_a_step(tmp_path: Path) -> None:
    with pytest.raises(
        PolicyError, match=r"float16 cannot be trained by adamw.*expected model.dtype bfloat16"
    ):
        training.trainer(tmp_path, half(), options={"optimizers": (None, None)})


def test_an_adapter_of_a_base_in_float16_is_trained_in_float32(tmp_path: Path) -> None:
    policy = half(lora={"r": 2, "target_modules": ["q_proj"]})
    trainer = training.trainer(
        tmp_path, policy, options={"optimizers": (None, None)}, learning_rate=1e-3, max_steps=2
    )
    trainer.train()
    assert all(torch.isfinite(p).all() for p in policy.parameters())


def test_adam_in_float16_makes_a_weight_without_gradient_no_number(tmp_path: Path) -> None:
    """Why it is refused: what a step of each optimiser comes to, where a gradient is 0 or 1e-4."""
    steps = {}
    for name, kind in {"adamw_torch": torch.optim.AdamW, "sgd": torch.optim.SGD}.items():
        weight = nn.Parameter(torch.ones(2, dtype=torch.float16))
        weight.grad = torch.tensor([0.0, 1e-4], dtype=torch.float16)
        kind([weight], lr=1e-2).step()
        steps[name] = bool(torch.isfinite(weight).all())
        args = training.config(tmp_path, optim=name)
        model = nn.Module()
        model.weight = nn.Parameter(torch.ones(2, dtype=torch.float16))
        if steps[name]:
            check_trained(model, "m", args)
        else:
            with pytest.raises(PolicyError, match=f"by {name}"):
                check_trained(model, "m", args)
    assert steps == {"adamw_torch": False, "sgd": True}
