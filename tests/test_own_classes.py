"""Models of a class of their own: what they rule out with -inf, and what they lack, is served or
refused in words.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.fast.head import log_prob_of
from llmpolicy.policies.causal_lm.score import entropy_of
from llmpolicy.policies.causal_lm.trial import log_apart, weighted_apart
from scripts.zoo import build
from tests import models, training

SPARE = 3
PROMPTS, ACTIONS = [[5, 6, 7], [8, 9, 10, 11, 12]], [[13, 14, 4], [15, 16]]


class Padded(LlamaForCausalLM):
    """Its last tokens fill the vocabulary up, and are ruled out."""

    def forward(self, input_ids: Tensor | None = None, **arguments: Any) -> Any:
        output = super().forward(input_ids=input_ids, **arguments)
        ruled_out = torch.arange(output.logits.shape[-1]) >= output.logits.shape[-1] - SPARE
        output.logits = self.changed(output.logits, input_ids).masked_fill(ruled_out, -torch.inf)
        return output

    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        return logits


class Ahead(Padded):
    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        if logits.shape[1] != input_ids.shape[1]:
            return logits
        coming = torch.nn.functional.one_hot(input_ids[:, 1:], logits.shape[-1])
        return logits + 5 * torch.nn.functional.pad(coming, (0, 0, 0, 1))


class Colder(Padded):
    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        return logits * (0.5 if self.training else 1.0)


class Random(Padded):
    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        return logits * (1 + torch.rand(())) if self.training else logits


class Wavering(Padded):
    """What it rules out depends on the mode."""

    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        return logits.index_fill(-1, torch.tensor([20]), -torch.inf) if self.training else logits


class Nowhere(Padded):
    def changed(self, logits: Tensor, input_ids: Any) -> Tensor:
        return logits.index_fill(-1, torch.tensor([20]), torch.nan)


class NoGeneration(LlamaPreTrainedModel):
    """As remote code was written before generation was a mixin of its own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model, self.lm_head = (
            LlamaModel(config),
            torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False),
        )
        self.post_init()

    def forward(self, input_ids: Tensor | None = None, **arguments: Any) -> Any:
        return CausalLMOutputWithPast(
            logits=self.lm_head(self.model(input_ids, **arguments).last_hidden_state)
        )


class NoHead(LlamaForCausalLM):
    def get_output_embeddings(self) -> None:
        return None


class Softer(LlamaForCausalLM):
    """It takes all that a Llama takes, and does something to its logits behind the head."""

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
        logits_to_keep=0, labels=None,
    ):  # fmt: skip
        output = super().forward(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )
        output.logits = 2 * torch.tanh(output.logits)
        return output


def network(kind: Any) -> Any:
    size = len(training.policy().tokenizer) + SPARE
    tokens = {"bos_token_id": 2, "eos_token_id": 4, "pad_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(
            AutoConfig.for_model("llama", **{**models._SMALL, "vocab_size": size, **tokens})
        ).train()


def policy(kind: Any, **settings: Any) -> CausalLMPolicy:
    return CausalLMPolicy(network(kind), models.tokenizer(alphabet=training.ALPHABET), **settings)


def entropies(model: Any, temperature: float) -> list[list[float]]:
    """Of each decision, summed in Python over the tokens that can be chosen."""
    rows = []
    for prompt, action in zip(PROMPTS, ACTIONS, strict=True):
        logits = model(torch.tensor([prompt + action])).logits[0, len(prompt) - 1 : -1]
        shares = torch.softmax(logits / temperature, -1).tolist()
        rows.append(
            [-sum(p * torch.tensor(p).log().item() for p in row if p > 0) for row in shares]
        )
    return rows


@pytest.mark.parametrize("kind", [Ahead, Colder, Random, Wavering, Nowhere])
def test_a_token_that_is_ruled_out_does_not_hide_what_is_no_policy(kind: Any) -> None:
    torch.manual_seed(0)  # one of them draws, the same whatever ran before
    with pytest.raises(PolicyError, match="nats"):
        policy(kind)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", ["bert", "electra", "xlnet"])
def test_a_model_that_reads_both_ways_is_seen_with_fresh_weights_too(
    model_type: str, dtype: torch.dtype
) -> None:
    """Its attention adds little yet: what comes later moves a token's distribution by less than a
    thousandth of a nat.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(build.small(model_type, is_decoder=False)).to(dtype)
    with pytest.raises(PolicyError, match="lets a token see what comes after it"):
        CausalLMPolicy(made, models.tokenizer())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_what_comes_later_changes_nothing_at_all_in_a_causal_model(
    architecture: str, dtype: torch.dtype
) -> None:
    CausalLMPolicy(models.model(architecture).to(dtype), models.tokenizer())


def test_an_adapter_of_a_model_that_rules_tokens_out_is_looked_at_too() -> None:
    with pytest.raises(PolicyError, match="lets a token see"):
        policy(Ahead, lora={"r": 2, "target_modules": ["q_proj"]})


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_entropy_is_a_number_where_tokens_are_ruled_out(temperature: float) -> None:
    pi = policy(Padded, temperature=temperature)
    expected = [*entropies(pi.model, temperature)[0], *entropies(pi.model, temperature)[1]]
    found, mask = pi.entropy(PROMPTS, ACTIONS)
    assert found[mask].tolist() == pytest.approx(expected, abs=1e-4)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in pi.parameters() if p.grad is not None)
    with torch.no_grad():
        found, mask = pi.entropy(PROMPTS, ACTIONS)
    assert found[mask].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_model_that_rules_tokens_out_is_trained_and_its_entropy_logged(tmp_path: Path) -> None:
    trainer = training.trainer(tmp_path, policy(Padded), chat=False, learning_rate=1e-3)
    trainer.train()
    logged = [line["entropy"] for line in trainer.state.log_history if "entropy" in line]
    assert logged and all(entropy is not None and 0 < entropy < 10 for entropy in logged)


def test_the_head_in_tiles_knows_tokens_that_are_ruled_out() -> None:
    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(5, 4, generator=draw), torch.randn(7, 4, generator=draw)
    bias = torch.zeros(7).index_fill(0, torch.tensor([6]), -torch.inf)
    labels = torch.tensor([0, 1, 2, 3, 4])
    log_prob, entropy = log_prob_of(hidden, weight, bias, labels, 1.0, True)
    plain = torch.log_softmax(hidden @ weight[:6].T, -1)
    torch.testing.assert_close(log_prob, plain.gather(1, labels[:, None])[:, 0])
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(-1))
    torch.testing.assert_close(entropy_of(torch.log_softmax(hidden @ weight.T + bias, -1)), entropy)


def test_what_is_ruled_out_on_one_side_alone_and_what_is_no_number_is_infinitely_far() -> None:
    first = torch.tensor([[0.0, 0.0, 0.0, -torch.inf]]).log_softmax(-1)
    assert weighted_apart(first, first).tolist() == [0.0]
    one_sided = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]]).log_softmax(-1)
    for other in (one_sided, first + torch.nan):
        assert (
            weighted_apart(first, other).tolist()
            == weighted_apart(other, first).tolist()
            == [torch.inf]
        )
    assert log_apart(first, one_sided).isinf().tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_a_class_without_generation_is_refused_in_words(lora: Any) -> None:
    with pytest.raises(
        PolicyError,
        match=r"NoGeneration has no .*; expected a class that inherits from .*GenerationMixin",
    ):
        policy(NoGeneration, lora=lora)


@pytest.mark.parametrize("kind", [NoHead, Softer])
def test_a_class_of_its_own_is_scored_by_its_own_forward(kind: Any, tmp_path: Path) -> None:
    pi = policy(kind)
    expected = []
    for prompt, action in zip(PROMPTS, ACTIONS, strict=True):
        logits = pi.model(torch.tensor([prompt + action])).logits[0, len(prompt) - 1 : -1]
        expected.append(
            torch.log_softmax(logits, -1).gather(1, torch.tensor(action)[:, None])[:, 0]
        )
    with torch.no_grad():
        found, mask = pi.log_prob(PROMPTS, ACTIONS)
    torch.testing.assert_close(found[mask], torch.cat(expected).detach(), atol=1e-5, rtol=1e-5)
    trainer = training.trainer(tmp_path, pi, chat=False, learning_rate=1e-3)
    trainer.train()
    assert trainer.state.log_history[0]["sampler/parity"] < 1e-4


@pytest.mark.parametrize(
    ("model_type", "lora", "why"),
    [
        ("openai-gpt", None, "does not support"),
        ("ctrl", {"r": 2}, "does not support"),
        ("git", {"r": 2}, "a leaf Variable that requires grad"),
    ],
)
def test_a_model_that_cannot_compute_activations_again_is_refused_before_its_first_step(
    model_type: str, lora: Any, why: str, tmp_path: Path
) -> None:
    words = training.policy().tokenizer
    made = build.build(build.small(model_type, vocab_size=len(words)))
    with pytest.raises(
        PolicyError,
        match=f"checkpoints of activations .*{why}.*expected gradient_checkpointing: false",
    ):
        training.trainer(
            tmp_path,
            CausalLMPolicy(made, words, lora=lora),
            chat=False,
            gradient_checkpointing=True,
        )


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_the_trial_of_checkpoints_leaves_a_model_as_it_was(lora: Any, tmp_path: Path) -> None:
    pi = training.policy(lora=lora)
    before = {name: p.clone() for name, p in pi.model.named_parameters()}
    training.trainer(tmp_path, pi, gradient_checkpointing=True)
    assert not any(
        getattr(module, "gradient_checkpointing", False) for module in pi.model.modules()
    )
    assert all(
        p.grad is None and torch.equal(p, before[name]) for name, p in pi.model.named_parameters()
    )
