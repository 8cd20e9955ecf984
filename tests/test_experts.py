"""Settings are told by what they do: what acts in training alone is off, what evaluation needs is
kept; experts and routers.
"""

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.stages.sft import warm_start
from llmpolicy.stages.trainers import stage_config
from llmpolicy.tasks import Demonstration
from tests import models, training

EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
LLAMA4 = {
    "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 32, "interleave_moe_layer_step": 2,
    "attention_chunk_size": 64, "no_rope_layers": [1, 0],
}  # fmt: skip
GEMMA3N = {
    "head_dim": 8, "num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4,
    "hidden_size_per_layer_input": 8, "laurel_rank": 4, "vocab_size_per_layer_input": 105, "altup_num_inputs": 2,
    "activation_sparsity_pattern": [0.5, 0.0], "intermediate_size": 32,
}  # fmt: skip
DBRX = {
    "d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64,
    "attn_config": {"kv_n_heads": 1, "rope_theta": 1e4, "clip_qkv": 8.0},
    "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 32, "moe_jitter_eps": 0.3, "hidden_size": 16},
}  # fmt: skip
MINIMAX = {**EXPERTS, "head_dim": 8, "router_jitter_noise": 0.3, "num_key_value_heads": 2}
JITTERED: dict[str, dict[str, Any]] = {
    "mixtral": {**EXPERTS, "router_jitter_noise": 0.3},
    "phimoe": {**EXPERTS, "router_jitter_noise": 0.3, "input_jitter_noise": 0.1},
    "minimax_m2": MINIMAX,
    "dbrx": DBRX,
}
PROMPTS, ACTIONS = [[20, 30, 40, 50], [60, 61]], [[70, 71, 72], [73, 74, 75]]


@torch.no_grad()
def evaluated(model: Any) -> torch.Tensor:
    """Of each token of the completions, from a forward of transformers in evaluation, (B, T)."""
    rows = []
    for prompt, action in zip(PROMPTS, ACTIONS, strict=True):
        logits = model.eval()(torch.tensor([prompt + action]), use_cache=False).logits[
            0, len(prompt) - 1 : -1
        ]
        rows.append(torch.log_softmax(logits, -1).gather(1, torch.tensor(action)[:, None])[:, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("kind", JITTERED)
def test_routers_choose_in_training_as_in_evaluation(kind: str) -> None:
    model = models.other(kind, **JITTERED[kind])
    untouched = copy.deepcopy(model)
    expected = evaluated(untouched)
    assert not torch.equal(*(untouched.train()(torch.tensor(PROMPTS[:1])).logits for _ in range(2)))
    pi = CausalLMPolicy(model, models.tokenizer())
    found, _ = pi.log_prob(PROMPTS, ACTIONS)
    assert pi.model.training
    torch.testing.assert_close(found.detach(), expected, atol=1e-4, rtol=0)
    act = pi.act(PROMPTS, generator=torch.Generator().manual_seed(0), max_new_tokens=4)
    again, _ = pi.log_prob(PROMPTS, act.value)
    torch.testing.assert_close(act.log_prob, again.detach(), atol=1e-4, rtol=0)
    assert pi.model.config.to_dict() == untouched.config.to_dict()


def test_the_gradient_through_a_still_router_is_that_of_evaluation() -> None:
    model = models.other("phimoe", **JITTERED["phimoe"])
    untouched = copy.deepcopy(model).eval()
    pi = CausalLMPolicy(model, models.tokenizer())
    pi.log_prob(PROMPTS[:1], ACTIONS[:1])[0].sum().backward()
    logits = untouched(torch.tensor([PROMPTS[0] + ACTIONS[0]]), use_cache=False).logits[0, 3:-1]
    torch.log_softmax(logits, -1).gather(1, torch.tensor(ACTIONS[0])[:, None]).sum().backward()
    for (name, found), expected in zip(
        model.named_parameters(), untouched.parameters(), strict=True
    ):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_weights_that_would_be_cut_in_training_are_left_alone() -> None:
    model = models.other("gemma3n_text", **GEMMA3N, altup_coef_clip=0.05)
    before = {name: p.clone() for name, p in model.named_parameters()}
    expected = evaluated(copy.deepcopy(model))
    pi = CausalLMPolicy(model, models.tokenizer())
    found, _ = pi.log_prob(PROMPTS, ACTIONS)
    torch.testing.assert_close(found.detach(), expected, atol=1e-4, rtol=0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


class Scaled(GPT2LMHeadModel):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * (1 + self.config.token_dropout)
        return output


class Warmer(GPT2LMHeadModel):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * (0.8 if self.training else 1.0)
        return output


@pytest.mark.parametrize("kind", [Scaled, Warmer])
def test_a_model_that_would_become_another_is_refused(kind: Any) -> None:
    config = models.model("gpt2").config
    config.token_dropout = 0.2
    with pytest.raises(
        PolicyError,
        match=f"{kind.__name__} is not what its own forward computes when its noise is off",
    ):
        CausalLMPolicy(kind(config).train(), models.tokenizer())


SPECIAL: dict[str, tuple[dict[str, Any], str]] = {
    "llama4_text": (LLAMA4, "router"),
    "phimoe": (JITTERED["phimoe"], "router"),
    "gemma3n_text": (GEMMA3N, "prediction_coefs"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_all_linear_takes_no_layer_that_gives_more_than_a_product(kind: str) -> None:
    settings, layer = SPECIAL[kind]
    lora = {"r": 2, "init_lora_weights": False}
    torch.manual_seed(0)
    pi = CausalLMPolicy(models.other(kind, **settings), models.tokenizer(), lora=lora)
    names = [name for name, module in pi.model.named_modules() if hasattr(module, "base_layer")]
    assert names
    assert not any(name.endswith(layer) for name in names)
    found, _ = pi.log_prob(PROMPTS, ACTIONS)
    merged, _ = pi.merge().log_prob(PROMPTS, ACTIONS)
    torch.testing.assert_close(found.detach(), merged.detach(), atol=1e-3, rtol=0)
    with pytest.raises(
        PolicyError, match=rf"lora: target_modules include .*{layer}.*expected exclude_modules"
    ):
        CausalLMPolicy(
            models.other(kind, **settings),
            models.tokenizer(),
            lora={**lora, "target_modules": ["q_proj", layer]},
        )


SILENT: dict[str, dict[str, Any]] = {
    "llama4_text": LLAMA4,
    "doge": {"is_moe": False, "head_dim": 8},
}


@pytest.mark.parametrize("kind", SILENT)
def test_experts_without_an_auxiliary_loss_are_trained_without_one_and_it_is_said(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    settings = {**SILENT[kind], "vocab_size": len(words), "initializer_range": 0.1}
    pi = CausalLMPolicy(models.other(kind, **settings), words)
    before = training.vector(pi.model)
    with caplog.at_level(logging.WARNING, "llmpolicy"):
        training.trainer(tmp_path, pi, chat=False).train()
    assert "gives no auxiliary loss: its experts are trained without one" in caplog.text
    assert not torch.equal(before, training.vector(pi.model))
    pi.model.config.output_router_logits = True
    with pytest.raises(
        PolicyError,
        match=r"router_aux_loss_coef is 0.01, but .* gives no auxiliary loss; expected 0",
    ):
        training.trainer(tmp_path, pi, chat=False, router_aux_loss_coef=0.01)
    args = stage_config(
        "sft",
        {"max_steps": 1, "use_cpu": True, "bf16": False},
        folder=tmp_path,
        seed=0,
        target="cpu",
    )
    demonstrations = [Demonstration("1+1", "2", "a")]
    if kind == "llama4_text":  # TRL asks for its layers by a name that they do not have
        with pytest.raises(
            PolicyError, match="sft: TRL finds no layers under the head of Llama4ForCausalLM"
        ):
            warm_start(pi, demonstrations, [], args, tmp_path / "out", {})
    else:
        warm_start(pi, demonstrations, [], args, tmp_path / "out", {})


def test_experts_with_an_auxiliary_loss_keep_it(tmp_path: Path) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    settings = {**JITTERED["phimoe"], "vocab_size": len(words), "initializer_range": 0.1}
    pi = CausalLMPolicy(models.other("phimoe", **settings), words)
    trainer = training.trainer(tmp_path, pi, chat=False)
    trainer.train()
    assert trainer.aux_loss_enabled
    assert any("aux_loss" in line for line in trainer.state.log_history)
