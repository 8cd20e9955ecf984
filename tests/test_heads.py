"""What was replaced in a model, or hooked, is part of its π: sampler and scorer give what its own
forward gives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.door import group_path, shared_path
from scripts.zoo.plain import Plain
from tests import models, training

PROMPTS = [[5, 6, 7, 8, 9], [5, 6, 7, 8, 9], [5, 6, 7, 8, 10, 11], [5, 6, 7, 8, 10, 11], [12]]
LORA = {"r": 2, "init_lora_weights": False, "target_modules": ["q_proj", "v_proj", "down_proj"]}


class Half(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class Capped(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.tanh(super().forward(x) / 2)


class Cosine(nn.Module):
    """It has a weight, and does something else with it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, None

    def forward(self, x: Tensor) -> Tensor:
        return 3 * linear(normalize(x, dim=-1), self.weight)


def replaced(kind: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.lm_head.__class__ = kind

    return change


def cosine(model: Any) -> None:
    model.lm_head = Cosine(model.lm_head)


def several(model: Any) -> None:
    model.lm_head = nn.Sequential(model.lm_head, nn.Tanh())


def hooked(name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.get_submodule(name).register_forward_hook(lambda _, given, output: output * 2)

    return change


def hooked_whole(model: Any) -> None:
    def halve(_: Any, given: Any, output: Any) -> Any:
        output.logits = output.logits / 2
        return output

    model.register_forward_hook(halve)


def own_forward(model: Any) -> None:
    plain = model.forward

    def forward(*given: Any, **named: Any) -> Any:
        output = plain(*given, **named)
        output.logits = output.logits / 2
        return output

    model.forward = forward


def of_the_same_name(model: Any) -> None:
    named = type(
        "LlamaMLP", (LlamaMLP,), {"forward": lambda self, x: 1.5 * LlamaMLP.forward(self, x)}
    )
    for layer in model.model.layers:
        layer.mlp.__class__ = named


def norm_of_the_same_name(model: Any) -> None:
    forward = {
        "forward": lambda self, x: 1.7 * LlamaRMSNorm.forward(self, x),
        "__module__": LlamaRMSNorm.__module__,
    }
    named = type("LlamaRMSNorm", (LlamaRMSNorm,), forward)
    for layer in model.model.layers:
        layer.input_layernorm.__class__ = named


def activation_of_the_same_name(model: Any) -> None:
    named = type("SiLU", (nn.Module,), {"forward": lambda self, x: torch.tanh(x)})
    for layer in model.model.layers:
        layer.mlp.act_fn = named()


BY_GROUPS: dict[str, Callable[[Any], None]] = {
    "embeddings are hooked": hooked("model.embed_tokens"),
    "a norm is hooked": hooked("model.norm"),
    "an MLP of the same name": of_the_same_name,
    "a norm of the same name": norm_of_the_same_name,
    "an activation of the same name": activation_of_the_same_name,
}
NOT_BY_GROUPS: dict[str, tuple[Callable[[Any], None], str]] = {
    "half": (replaced(Half), "the output head of LlamaForCausalLM was replaced by Half"),
    "capped": (replaced(Capped), "replaced by Capped"),
    "cosine": (cosine, "replaced by Cosine"),
    "no weight": (several, "replaced by Sequential"),
    "head hooked": (hooked("lm_head"), "a hook was put into the output head"),
    "model hooked": (hooked_whole, "a hook was put into LlamaForCausalLM"),
    "own forward": (own_forward, "other log-probabilities than its own forward, by"),
}
CHANGES = {**BY_GROUPS, **{name: change for name, (change, _) in NOT_BY_GROUPS.items()}}


def made(change: Callable[[Any], None], **settings: Any) -> CausalLMPolicy:
    model = models.model("llama")
    change(model)
    return CausalLMPolicy(model, models.tokenizer(), **settings)


def farthest(policy: CausalLMPolicy, plain: Plain) -> tuple[float, float, float]:
    """How far what was sampled, what is scored without a gradient and with one are from the model's
    own forward.
    """
    written = policy.act(PROMPTS, generator=torch.Generator().manual_seed(1), max_new_tokens=6)
    with torch.no_grad():
        rows = [plain.log_prob(p, a, 1.0) for p, a in zip(PROMPTS, written.value, strict=True)]
        quick, mask = policy.log_prob(PROMPTS, written.value)
    expected = torch.cat(rows)
    scored, _ = policy.log_prob(PROMPTS, written.value)
    sides = (side[mask] for side in (written.log_prob, quick, scored.detach()))
    sampled, scored_quickly, scored_padded = (
        float((side - expected).abs().max()) for side in sides
    )
    return sampled, scored_quickly, scored_padded


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_was_put_into_a_model_is_sampled_and_scored(name: str, lora: Any) -> None:
    policy = made(CHANGES[name], lora=lora)
    plain = Plain(models.model("llama") if name == "own forward" else policy.model)
    if name == "own forward":  # a copy would go on calling the model that it was made for
        if lora is not None:
            return
        own_forward(plain.model)
    assert max(farthest(policy, plain)) < 1e-4
    if name in BY_GROUPS:
        assert group_path(policy.model) is None
    else:
        assert NOT_BY_GROUPS[name][1] in str(shared_path(policy.model))


def test_what_is_done_to_a_class_of_transformers_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: plain(self, x) * 1.5)
    policy = made(lambda _: None)
    assert max(farthest(policy, Plain(policy.model))) < 1e-4


def test_what_is_done_to_a_function_that_layers_call_is_tried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn = modeling_llama.apply_rotary_pos_emb

    def twice(q: Tensor, k: Tensor, *angles: Any, **named: Any) -> tuple[Tensor, Tensor]:
        turned = turn(q, k, *angles, **named)
        return turned[0] * 2, turned[1]

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", twice)
    policy = made(lambda _: None)
    assert "other log-probabilities than its own forward" in str(group_path(policy.model))
    assert max(farthest(policy, Plain(policy.model))) < 1e-4


def test_a_hook_that_comes_later_is_seen_and_one_that_goes_too() -> None:
    policy = made(lambda _: None, lora=LORA)
    assert group_path(policy.model) is None
    for part in (
        policy.model.base_model.model.lm_head,
        policy.model.base_model.model.model.layers[0].mlp,
    ):
        handle = part.register_forward_hook(lambda _, given, output: output * 2)
        assert max(farthest(policy, Plain(policy.model))) < 1e-4
        handle.remove()
    assert group_path(policy.model) is None
    policy.model.register_forward_hook(lambda _, given, output: output)
    assert "hook" in str(group_path(policy.model))


def test_hooks_inside_an_adapter_are_seen() -> None:
    policy = made(lambda _: None, lora=LORA)
    for name, layer in policy.model.named_modules():
        if name.endswith("lora_A.default"):
            layer.register_forward_hook(lambda _, given, output: output * 3)
    assert max(farthest(policy, Plain(policy.model))) < 1e-4


def test_nothing_is_left_in_a_model_that_was_tried_out() -> None:
    model = models.model("qwen3")
    before = {name: p.clone() for name, p in model.named_parameters()}
    policy = CausalLMPolicy(model, models.tokenizer())
    assert group_path(policy.model) is None
    assert policy.model.training
    assert all(
        torch.equal(p, before[name]) and p.grad is None
        for name, p in policy.model.named_parameters()
    )
    assert not any("forward" in vars(module) for module in policy.model.modules())


@pytest.mark.parametrize("name", ["half", "cosine", "no weight", "head hooked", "model hooked"])
def test_a_model_with_another_head_is_trained_as_stock_trains_it(name: str, tmp_path: Path) -> None:
    words = models.tokenizer(alphabet=training.ALPHABET)
    model = models.model("llama", vocab_size=len(words), initializer_range=0.1)
    CHANGES[name](model)
    policy = CausalLMPolicy(model, words, lora={"r": 2, "target_modules": ["q_proj"]})
    trainer = training.trainer(tmp_path, policy, learning_rate=1e-2)
    assert NOT_BY_GROUPS[name][1] in trainer.ways.path
    trainer.train()
    assert trainer.parity is not None
    assert trainer.parity < 1e-5
