"""The laws of a language model as a policy, on every architecture; the independent truth is a plain
unpadded forward.
"""

import functools
import itertools
import subprocess
import sys
import types
from importlib import import_module

import pytest
import torch
from accelerate.utils import convert_outputs_to_fp32
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Prepend
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from trl.trainer.utils import add_fused_lm_head

from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy, Policy
from llmpolicy.policies.causal_lm import choose, generate, score
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.fast import door, read
from llmpolicy.policies.causal_lm.forward import bare, left_pad
from tests import models

TEMPERATURE = 0.7
SHORT, LONG, CHAT = "7", "What is 12 + 34 ? ", [{"role": "user", "content": "hi"}]
PROMPTS = [SHORT, LONG, CHAT]
ACTIONS = [
    [20, 4, 0, 30, 31, 4],
    [50],
    [60, 61, 62, 63, 64, 65, 66, 67, 4],
]  # the pad and the end token in the middle too
SMALL = 9  # a vocabulary so small that random models stop now and then; 4 is the end token

every_architecture = pytest.mark.parametrize("architecture", models.ARCHITECTURES)


@functools.cache
def policy(architecture: str, vocab_size: int | None = None) -> CausalLMPolicy:
    model = models.model(architecture, vocab_size=vocab_size)
    return CausalLMPolicy(model, models.tokenizer(), temperature=TEMPERATURE, max_new_tokens=16)


@torch.no_grad()
def plain(
    model: torch.nn.Module, prompt: list[int], action: list[int], temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Log-probabilities (T, V) before each token of the action: no padding, no mask, no positions,
    no cache.
    """
    logits = model(torch.tensor([prompt + action])).logits[0]
    return torch.log_softmax(logits / temperature, dim=-1)[len(prompt) - 1 : -1]


def chosen(log_probs: torch.Tensor, action: list[int]) -> torch.Tensor:
    return log_probs[torch.arange(len(action)), action]


def assert_rows(
    found: torch.Tensor, mask: torch.Tensor, expected: list[torch.Tensor], atol: float = 1e-4
) -> None:
    for row, row_mask, truth in zip(found, mask, expected, strict=True):
        assert row_mask.tolist() == [t < len(truth) for t in range(len(row_mask))]
        torch.testing.assert_close(row[: len(truth)], truth, atol=atol, rtol=0)
        assert not row[len(truth) :].any()


def prompts_of(vocab_size: int, rows: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 10, (rows,), generator=generator).tolist()
    return [torch.randint(vocab_size, (n,), generator=generator).tolist() for n in lengths]


# the law


@every_architecture
def test_log_prob_is_the_distribution_step_by_step(architecture):
    pi = policy(architecture)
    log_prob, mask = pi.log_prob(PROMPTS, ACTIONS)
    stepwise = []
    for ids, action in zip(pi.encode(PROMPTS), ACTIONS, strict=True):
        contexts = [ids + action[:t] for t in range(len(action))]
        stepwise.append(pi.distribution(contexts).log_prob(torch.tensor(action)))
    assert_rows(log_prob, mask, stepwise)


@every_architecture
def test_log_prob_equals_a_plain_forward_of_each_row(architecture):
    pi = policy(architecture)
    prompts, actions = (
        PROMPTS * 2,
        [
            *ACTIONS,
            *ACTIONS[:0:-1],
            [],
        ],
    )  # each prompt twice, once with nothing
    truth = [
        chosen(plain(pi.model, p, a), a) for p, a in zip(pi.encode(prompts), actions, strict=True)
    ]
    assert_rows(*pi.log_prob(prompts, actions), truth)
    with torch.no_grad():  # by groups
        assert_rows(*pi.log_prob(prompts, actions), truth)


@every_architecture
def test_the_generator_and_the_scorer_are_one_policy(architecture):
    pi = policy(architecture, SMALL)
    prompts = prompts_of(SMALL, 64)
    action = pi.act(prompts, generator=torch.Generator().manual_seed(1))
    assert 5 < action.terminated.sum() < 64  # rows left the batch early, and some did not
    for ids, ended in zip(action.value, action.terminated.tolist(), strict=True):
        assert ended == (ids[-1] == 4)
        assert 4 not in ids[:-1]
        assert ended or len(ids) == 16
    log_prob, mask = pi.log_prob(prompts, action.value)
    assert torch.equal(mask, action.mask)
    torch.testing.assert_close(action.log_prob, log_prob.detach(), atol=1e-4, rtol=0)


@every_architecture
def test_a_prompt_of_several_rows_is_read_once_and_each_row_goes_its_own_way(architecture):
    pi = policy(architecture, SMALL)
    prompts = [prompts_of(SMALL, 3)[place] for place in (2, 0, 2, 1, 0, 2, 2, 1)]
    pi.act(prompts)  # the first one also looks at the lengths around a window
    passes: list[tuple[int, ...]] = []
    embedding = pi.model.get_input_embeddings()
    watch = embedding.register_forward_hook(
        lambda module, inputs, output: passes.append(tuple(inputs[0].shape))
    )
    action = pi.act(prompts, generator=torch.Generator().manual_seed(2))
    watch.remove()
    assert passes[0] == (1, sum(map(len, prompts_of(SMALL, 3))))  # each prompt once, and no padding
    still = [sum(len(ids) > t for ids in action.value) for t in range(1, 16)]
    assert passes[1:] == [(1, rows) for rows in still if rows]  # who stopped is not read again
    log_prob, _ = pi.log_prob(prompts, action.value)
    torch.testing.assert_close(action.log_prob, log_prob.detach(), atol=1e-4, rtol=0)


@every_architecture
def test_order_and_split_of_the_batch_change_nothing(architecture):
    pi = policy(architecture)
    expected, mask = pi.log_prob(PROMPTS, ACTIONS)
    for size in (1, 2):
        found, found_mask = pi.log_prob(PROMPTS, ACTIONS, batch_size=size)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        assert torch.equal(found_mask, mask)
    reversed_rows, _ = pi.log_prob(PROMPTS[::-1], ACTIONS[::-1])
    torch.testing.assert_close(reversed_rows.flip(0), expected, atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=5),
    st.integers(0, 999),
)
def test_company_in_the_batch_changes_nothing(lengths, seed):
    pi = policy("mistral", SMALL)
    draw = torch.Generator().manual_seed(seed)
    rows = [[torch.randint(SMALL, (n,), generator=draw).tolist() for n in pair] for pair in lengths]
    truth = [chosen(plain(pi.model, p, a), a) for p, a in rows]
    assert_rows(*pi.log_prob([p for p, _ in rows], [a for _, a in rows]), truth)


@every_architecture
def test_greedy_is_the_argmax_and_deterministic(architecture):
    pi = policy(architecture, SMALL)
    prompts = prompts_of(SMALL, 4)
    action = pi.act(prompts, greedy=True, max_new_tokens=8)
    for prompt, ids, log_prob in zip(prompts, action.value, action.log_prob, strict=True):
        log_probs = plain(pi.model, prompt, ids)
        assert log_probs.argmax(-1).tolist() == ids
        torch.testing.assert_close(log_prob[: len(ids)], chosen(log_probs, ids), atol=1e-4, rtol=0)
    assert pi.act(prompts, greedy=True, max_new_tokens=8).value == action.value


# sampling, over whole completions: each of the two tests fails a right sampler with probability
# 1e-4, were the seed not fixed

VOCABULARY, STEPS, DRAWS = 6, 3, 4000


@torch.no_grad()
def outcomes(
    model: torch.nn.Module, prompt: list[int], temperature: float
) -> dict[tuple[int, ...], float]:
    """Every completion of at most STEPS tokens and its exact probability."""
    actions = torch.tensor(list(itertools.product(range(VOCABULARY), repeat=STEPS)))  # (V^T, T)
    rows = torch.cat([torch.tensor([prompt]).expand(len(actions), -1), actions], dim=1)
    logits = model(rows).logits[:, len(prompt) - 1 : -1] / temperature
    log_prob = torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]  # (V^T, T)
    found: dict[tuple[int, ...], float] = {}
    for ids, row in zip(actions.tolist(), log_prob, strict=True):
        ending = next((t + 1 for t, token in enumerate(ids) if token == 4), STEPS)
        found[tuple(ids[:ending])] = float(row[:ending].sum().exp())
    assert abs(sum(found.values()) - 1) < 1e-4
    return found


def p_value(
    counts: dict[tuple[int, ...], int], probabilities: dict[tuple[int, ...], float]
) -> float:
    """That counts come from probabilities; outcomes expected less than 5 times share one cell."""
    common = [outcome for outcome, p in probabilities.items() if p * DRAWS >= 5]
    cells = [(counts.get(outcome, 0), probabilities[outcome] * DRAWS) for outcome in common]
    rest = DRAWS - sum(n for n, _ in cells), DRAWS - sum(e for _, e in cells)
    cells += [rest] if rest[1] >= 5 else []
    statistic = sum((n - expected) ** 2 / expected for n, expected in cells)
    return float(
        torch.special.gammaincc(torch.tensor((len(cells) - 1) / 2.0), torch.tensor(statistic / 2))
    )


def z_score(
    counts: dict[tuple[int, ...], int], probabilities: dict[tuple[int, ...], float]
) -> float:
    """How many standard errors the mean log-probability of the draws lies above its expectation,
    minus the entropy.
    """
    p = torch.tensor(list(probabilities.values()), dtype=torch.float64)
    n = torch.tensor([counts.get(outcome, 0) for outcome in probabilities], dtype=torch.float64)
    mean = (p * p.log()).sum()
    deviation = (p * (p.log() - mean) ** 2).sum().sqrt()
    return float(((n / DRAWS * p.log()).sum() - mean) / deviation * DRAWS**0.5)


def test_a_distribution_asks_the_head_for_one_place_a_row():
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer())
    prompts = [[20], [20, 30, 40, 50, 60, 70, 80], [50, 60, 70]]
    alone = torch.cat([pi.distribution([prompt]).logits for prompt in prompts])
    shapes = []
    pi.model.get_output_embeddings().register_forward_hook(
        lambda *call: shapes.append(call[2].shape)
    )
    assert torch.allclose(pi.distribution(prompts).logits, alone, atol=1e-5)
    assert [tuple(shape[:2]) for shape in shapes] == [(3, 1)]


@every_architecture
def test_sampling_follows_the_distribution(architecture):
    pi = policy(architecture, VOCABULARY)
    prompts = [[1, 3], [5, 0, 3, 2, 1, 1, 0]]  # one is padded on the left
    action = pi.act(
        prompts * DRAWS, max_new_tokens=STEPS, generator=torch.Generator().manual_seed(0)
    )
    for row, prompt in enumerate(prompts):
        counts: dict[tuple[int, ...], int] = {}
        for ids in action.value[row::2]:
            counts[tuple(ids)] = counts.get(tuple(ids), 0) + 1
        truth = outcomes(pi.model, prompt, TEMPERATURE)
        assert p_value(counts, truth) > 1e-4
        assert (
            abs(z_score(counts, truth)) < 3.89
        )  # sees a sharper or flatter sampler, where Pearson's test is weak
        assert (
            p_value(counts, outcomes(pi.model, prompt, TEMPERATURE * 1.3)) < 1e-9
        )  # the tests have power
        assert abs(z_score(counts, outcomes(pi.model, prompt, TEMPERATURE * 1.2))) > 3.89


@pytest.mark.parametrize("chunk", [1, 7, 128])
def test_the_draw_goes_by_chunks_to_every_token_of_a_large_vocabulary(monkeypatch, chunk):
    monkeypatch.setattr(choose, "_CHUNK", chunk)
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(300, generator=draw)
    made = choose.choose(logits.expand(DRAWS, -1), TEMPERATURE, False, draw)
    log_probs = torch.log_softmax(logits / TEMPERATURE, -1)
    torch.testing.assert_close(made.log_prob, log_probs[made.token], atol=1e-5, rtol=0)
    counts = {(token,): int(n) for token, n in enumerate(made.token.bincount(minlength=300))}
    assert p_value(counts, {(token,): float(p) for token, p in enumerate(log_probs.exp())}) > 1e-4
    assert (
        p_value(counts, {(token,): float(p) for token, p in enumerate(log_probs.exp().roll(1))})
        < 1e-9
    )


@pytest.mark.parametrize("every", [3, 99])
def test_rows_that_the_host_sees_end_late_are_the_same(monkeypatch, every):
    pi, prompts = policy("llama", SMALL), prompts_of(SMALL, 8)
    greedy = pi.act(prompts, greedy=True)
    monkeypatch.setitem(
        import_module("llmpolicy.policies.causal_lm.generate").LOOK_EVERY, "cpu", every
    )
    late = pi.act(prompts, greedy=True)
    assert late.value == greedy.value
    torch.testing.assert_close(late.log_prob, greedy.log_prob, atol=1e-4, rtol=0)
    action = pi.act(prompts * 4, generator=torch.Generator().manual_seed(2))
    assert {ids.index(4) + 1 - len(ids) for ids in action.value if 4 in ids} == {
        0
    }  # nothing after the end
    log_prob, _ = pi.log_prob(prompts * 4, action.value)
    torch.testing.assert_close(action.log_prob, log_prob.detach(), atol=1e-4, rtol=0)


@every_architecture
def test_padded_rows_as_a_gpu_reads_them_are_the_same_policy(monkeypatch, architecture):
    pi, prompts = policy(architecture, SMALL), prompts_of(SMALL, 5) * 4
    greedy = pi.act(prompts, greedy=True)
    generating = import_module("llmpolicy.policies.causal_lm.generate")
    monkeypatch.setattr(door, "BY_GROUPS", ())
    monkeypatch.setattr(read, "GroupReader", None)  # to call it would fail
    monkeypatch.setitem(generating.LOOK_EVERY, "cpu", 8)
    assert pi.act(prompts, greedy=True).value == greedy.value
    action = pi.act(prompts, generator=torch.Generator().manual_seed(3))
    log_prob, _ = pi.log_prob(prompts, action.value)
    torch.testing.assert_close(action.log_prob, log_prob.detach(), atol=1e-4, rtol=0)


def test_a_generator_gives_the_same_completions_again():
    pi = policy("llama", SMALL)
    draw = [
        pi.act(prompts_of(SMALL, 8), generator=torch.Generator().manual_seed(s)).value
        for s in (3, 3, 4)
    ]
    assert draw[0] == draw[1] != draw[2]


# entropy, KL, gradient, auxiliary loss


@every_architecture
def test_entropy_equals_the_sum_over_the_vocabulary(architecture):
    pi = policy(architecture)
    truth = []
    for ids, action in zip(pi.encode(PROMPTS), ACTIONS, strict=True):
        p = plain(pi.model, ids, action).double().exp()
        truth.append(torch.special.entr(p).sum(-1).float())
    assert_rows(*pi.entropy(PROMPTS, ACTIONS), truth)
    with torch.no_grad():
        assert_rows(*pi.entropy(PROMPTS, ACTIONS), truth)


def test_the_gradient_is_that_of_a_plain_forward():
    pi = CausalLMPolicy(models.model("gpt2"), models.tokenizer(), temperature=TEMPERATURE)
    weights = [0.5, -2.0, 1.0]
    log_prob, mask = pi.log_prob(PROMPTS, ACTIONS)
    loss = (log_prob * mask).sum(1) @ torch.tensor(weights)
    found = torch.autograd.grad(loss, list(pi.parameters()))
    total = torch.zeros(())
    for ids, action, weight in zip(pi.encode(PROMPTS), ACTIONS, weights, strict=True):
        logits = pi.model(torch.tensor([ids + action])).logits[0, len(ids) - 1 : -1] / TEMPERATURE
        total = total - weight * torch.nn.functional.cross_entropy(
            logits, torch.tensor(action), reduction="sum"
        )
    for gradient, truth in zip(
        found, torch.autograd.grad(total, list(pi.parameters())), strict=True
    ):
        torch.testing.assert_close(gradient, truth, atol=1e-3, rtol=1e-3)
    assert max(float(g.abs().max()) for g in found) > 1


def test_kl_is_the_literal_k3_to_the_model_at_the_start():
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(), temperature=TEMPERATURE)
    start = models.model("llama")
    assert not pi.kl(PROMPTS, ACTIONS)[0].any()
    with torch.no_grad():
        for parameter in pi.parameters():
            parameter.mul_(1.1)
    truth = []
    for ids, action in zip(pi.encode(PROMPTS), ACTIONS, strict=True):
        p, q = (chosen(plain(m, ids, action), action) for m in (pi.model, start))
        truth.append((q - p).exp() - (q - p) - 1)
    kl, mask = pi.kl(PROMPTS, ACTIONS)
    assert_rows(kl, mask, truth)
    assert kl[mask].mean() > 0.01


def batch(pi: CausalLMPolicy) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The prompts padded on the left and four more tokens a row, as a trainer holds them."""
    ids, mask = left_pad(pi.encode(PROMPTS), 0, torch.device("cpu"))
    return (
        torch.cat([ids, torch.full((3, 4), 42)], 1),
        torch.cat([mask, torch.ones(3, 4, dtype=torch.long)], 1),
        4,
    )


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "qwen3_moe"])
def test_trl_fused_head_gives_the_same_scores(architecture):
    pi = CausalLMPolicy(models.model(architecture), models.tokenizer(), temperature=TEMPERATURE)
    wanted = {"entropy": True, "entropy_grad": True, "aux_loss": architecture == "qwen3_moe"}
    expected = score(pi.model, *batch(pi), TEMPERATURE, **wanted)
    add_fused_lm_head(pi.model, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    found = score(pi.model, *batch(pi), TEMPERATURE, fused=True, **wanted)
    torch.testing.assert_close(found.log_prob, expected.log_prob, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.aux_loss, expected.aux_loss)
    after = score(
        pi.model, *batch(pi), TEMPERATURE
    )  # a patched model is scored by its logits as before
    torch.testing.assert_close(after.log_prob, expected.log_prob)


@pytest.mark.parametrize("fused", [False, True])
def test_entropy_has_a_gradient_only_if_asked(fused):
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(), temperature=TEMPERATURE)
    add_fused_lm_head(pi.model, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    for wanted in (False, True):
        scored = score(
            pi.model, *batch(pi), TEMPERATURE, entropy=True, entropy_grad=wanted, fused=fused
        )
        assert scored.entropy.requires_grad == wanted
        assert scored.log_prob.requires_grad


def test_the_auxiliary_loss_counts_real_tokens_only():
    pi = policy("qwen3_moe")
    ids, mask, keep = batch(pi)
    loss = score(pi.model, ids, mask, keep, 1.0, aux_loss=True).aux_loss
    rows = [row[row_mask.bool()] for row, row_mask in zip(ids, mask, strict=True)]
    with torch.no_grad():
        each = [pi.model(row[None], output_router_logits=True).router_logits for row in rows]
    layers = tuple(
        torch.cat(layer) for layer in zip(*each, strict=True)
    )  # all real tokens, layer by layer
    torch.testing.assert_close(
        loss.detach(), load_balancing_loss_func(layers, 4, 2), atol=1e-5, rtol=1e-4
    )


# masks come from positions


def test_the_chosen_end_token_is_trained_when_it_is_the_pad_token():
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(pad="<|im_end|>"))
    assert pi.pad_id == 4
    assert pi.stop_ids == [4]
    log_prob, mask = pi.log_prob(["ab", "abc"], [[20, 4], [4, 20, 4]])  # and one in the middle
    assert mask.tolist() == [[True, True, False], [True, True, True]]
    truth = [
        chosen(plain(pi.model, p, a, 1.0), a)
        for p, a in zip(pi.encode(["ab", "abc"]), [[20, 4], [4, 20, 4]], strict=True)
    ]
    assert_rows(log_prob, mask, truth)
    assert torch.autograd.grad(log_prob[0, 1], pi.model.lm_head.weight)[0].abs().sum() > 0


def test_actions_may_be_tensors_and_may_be_empty():
    pi = policy("llama")
    expected, _ = pi.log_prob(PROMPTS, ACTIONS)
    found, _ = pi.log_prob(PROMPTS, [torch.tensor(action) for action in ACTIONS])
    assert torch.equal(found, expected)
    log_prob, mask = pi.log_prob(["a", "b"], [[], []])
    assert log_prob.shape == mask.shape == (2, 0)


# train mode, wrappers, precision


def test_train_mode_and_checkpointing_change_nothing():
    model = models.model("llama", vocab_size=SMALL)
    pi = CausalLMPolicy(model, models.tokenizer(), max_new_tokens=12)
    prompts = prompts_of(SMALL, 6)
    calls = [0]
    model.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: calls.append(inputs[0].shape[1])
    )
    model.eval()
    expected = pi.act(prompts, greedy=True)
    model.train()
    model.gradient_checkpointing_enable()
    found = pi.act(prompts, greedy=True)
    assert found.value == expected.value
    assert set(calls[2:]) <= {
        sum(map(len, prompts)),
        *range(1, 7),
    }  # one token a row: the keys were kept
    assert model.training
    assert all(layer.gradient_checkpointing for layer in model.model.layers)


def test_dropout_and_router_jitter_are_gone():
    for architecture, config in (
        ("gpt2", {}),
        ("mixtral", {}),
        ("llama", {"attention_dropout": 0.5}),
    ):
        model = models.model(architecture, **config)
        ids = torch.tensor([[20, 30, 40, 50]])
        assert not torch.equal(model(ids).logits, model(ids).logits), (
            f"{architecture} was random before"
        )
        CausalLMPolicy(model, models.tokenizer())
        assert model.training
        assert torch.equal(model(ids).logits, model(ids).logits)


class Noisy(GPT2LMHeadModel):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = torch.nn.functional.dropout(output.logits, 0.1, self.training)
        return output


class Evaluating(GPT2LMHeadModel):
    def forward(self, *args, **kwargs):
        if self.training:
            raise ValueError("training wants 256 tokens")
        return super().forward(*args, **kwargs)


class Counting(GPT2LMHeadModel):
    """Takes no positions, and counts them from the first column, padded or not."""

    def forward(
        self, input_ids=None, attention_mask=None, past_key_values=None, use_cache=None, **kwargs
    ):
        return super().forward(input_ids, past_key_values, attention_mask, use_cache=use_cache)


class Cache(GPT2LMHeadModel):
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        cache=None,
        use_cache=None,
        **kwargs,
    ):
        return super().forward(
            input_ids, cache, attention_mask, position_ids=position_ids, use_cache=use_cache
        )


class PastKeyValues(GPT2LMHeadModel):
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
        **kwargs,
    ):
        return super().forward(
            input_ids,
            past_key_values,
            attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
        )


class CacheParams(GPT2LMHeadModel):
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        cache_params=None,
        use_cache=None,
        **kwargs,
    ):
        return super().forward(
            input_ids, cache_params, attention_mask, position_ids=position_ids, use_cache=use_cache
        )


@pytest.mark.parametrize("kind", [Cache, PastKeyValues, CacheParams])
def test_a_model_is_given_its_cache_by_the_name_it_has_for_it(kind):
    network = models.model("gpt2")
    named = kind(network.config)
    named.load_state_dict(network.state_dict())
    prompts = [[20, 30, 40], [50]]
    found, expected = (
        CausalLMPolicy(model, models.tokenizer()).act(prompts, greedy=True, max_new_tokens=8)
        for model in (named, network)
    )
    assert found.value == expected.value
    assert torch.allclose(found.log_prob, expected.log_prob, atol=1e-4)


class WithoutCache(GPT2LMHeadModel):
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, use_cache=None):
        return super().forward(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        )


def test_a_model_without_a_cache_reads_its_rows_again():
    network = models.model("gpt2")
    without = WithoutCache(network.config)
    without.load_state_dict(network.state_dict())
    prompts = [[20, 30, 40], [50], [50]]
    found, expected = (
        CausalLMPolicy(model, models.tokenizer()).act(prompts, greedy=True, max_new_tokens=8)
        for model in (without, network)
    )
    assert found.value == expected.value
    assert torch.allclose(found.log_prob, expected.log_prob, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Noisy, "still random in train mode"),
        (Counting, "padded on the left"),
        (Evaluating, r"Evaluating cannot read 16 tokens in training \(training wants 256 tokens\)"),
    ],
)
def test_a_model_that_is_no_function_of_its_context_is_refused(kind, sentence):
    with pytest.raises(PolicyError, match=sentence):
        CausalLMPolicy(kind(models.model("gpt2").config).train(), models.tokenizer())


def test_a_model_that_looks_ahead_is_refused():
    model = models.model("llama")
    model.config.is_causal = False
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    model.model.config._attn_implementation = "eager"
    hidden = model.model.forward
    model.model.forward = types.MethodType(
        lambda self, **kwargs: _mean_of_all(hidden(**kwargs)), model.model
    )
    with pytest.raises(PolicyError, match="see what comes after"):
        CausalLMPolicy(model, models.tokenizer())


def _mean_of_all(output):
    output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.mean(
        1, keepdim=True
    )
    return output


def test_the_scorer_goes_through_ddp(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        pi = CausalLMPolicy(models.model("gpt2"), models.tokenizer(), temperature=TEMPERATURE)
        wrapped = torch.nn.parallel.DistributedDataParallel(pi.model)
        assert bare(wrapped) is pi.model
        found, expected = (
            score(model, *batch(pi), TEMPERATURE).log_prob for model in (wrapped, pi.model)
        )
        assert torch.equal(found, expected)
    finally:
        torch.distributed.destroy_process_group()


def test_the_head_is_given_rows_that_lie_together():
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(), temperature=TEMPERATURE)
    given = []
    pi.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0])
    )
    with torch.no_grad():
        score(pi.model, *batch(pi), TEMPERATURE)
    assert len(given) == 1
    assert len(given[0]) > 1
    assert given[0].is_contiguous()  # else torch copies the weights of the head once a row


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [None, {"r": 4, "init_lora_weights": False}])
def test_a_forward_patched_for_autocast_still_gives_one_policy_in_float32(lora, dtype):
    torch.manual_seed(0)
    network = models.model("llama", vocab_size=SMALL).to(dtype)
    pi = CausalLMPolicy(network, models.tokenizer(), max_new_tokens=8, lora=lora)
    autocast = torch.autocast("cpu", torch.bfloat16)(type(pi.model).forward)
    pi.model.forward = types.MethodType(convert_outputs_to_fp32(autocast), pi.model)
    prompts = prompts_of(SMALL, 8)
    action = pi.act(prompts, generator=torch.Generator().manual_seed(0))
    log_prob, mask = pi.log_prob(prompts, action.value)
    assert log_prob.dtype == action.log_prob.dtype == torch.float32
    assert (log_prob - action.log_prob)[
        mask
    ].abs().mean() < 0.05  # bfloat16 rounds a prefill and a step differently


# prompts and texts


def test_the_first_token_is_given_once():
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(bos=True))
    text, chat = "hi", [{"role": "user", "content": "hi"}]
    rendered = pi.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert rendered.startswith("<s><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    found = pi.encode([text, chat, rendered])
    assert [ids.count(2) for ids in found] == [1, 1, 1]
    assert found[1] == found[2]
    assert pi.tokenizer.decode(found[1]) == rendered


def test_a_last_word_of_the_assistant_is_continued():
    pi = policy("llama")
    prefill = [*CHAT, {"role": "assistant", "content": "The answer is"}]
    ids = pi.encode([prefill])[0]
    assert (
        pi.tokenizer.decode(ids)
        == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nThe answer is"
    )


def test_token_ids_are_taken_as_they_are_and_template_arguments_are_passed():
    tokenizer = models.tokenizer()
    tokenizer.chat_template = "{{ 'yes' if think else 'no' }}" + models.CHATML
    pi = CausalLMPolicy(models.model("llama"), tokenizer, chat_template_kwargs={"think": True})
    assert pi.encode([[9, 8, 7], torch.tensor([6, 5])]) == [[9, 8, 7], [6, 5]]
    assert pi.tokenizer.decode(pi.encode([CHAT])[0]).startswith("yes")


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=models.ALPHABET, min_size=1, max_size=20), st.booleans())
def test_decode_gives_the_text_back_without_the_stop_token(text, stopped):
    pi = policy("llama")
    ids = pi.encode([text])[0]
    assert pi.decode(ids + [4] * stopped) == text


def test_complete_says_how_each_completion_ended():
    pi = policy("llama", SMALL)
    prompts = prompts_of(SMALL, 12)
    found = pi.complete(prompts, generator=torch.Generator().manual_seed(3), batch_size=5)
    assert {record.terminated for record in found} == {True, False}
    for prompt, record in zip(prompts, found, strict=True):
        assert record.state == pi.encode([prompt])[0]
        assert record.prompt == pi.quote(prompt)
        assert record.truncated == (not record.terminated) == (record.action[-1] != 4)
        assert len(record.log_probs) == len(record.action)
        assert record.text == pi.decode(record.action, record.state)


def test_a_stop_is_read_as_it_stands_within_a_text():
    """A tokenizer that puts a blank before a text has two tokens for a line break alone, and one
    within.
    """
    names = ["<unk>", "</s>", "▁", "a", "▁a", "<0x0A>"]
    vocabulary = {name: index for index, name in enumerate(names)}
    raw = Tokenizer(BPE(vocabulary, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    raw.normalizer = Prepend("▁")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="</s>")
    assert tokenizer("\n")["input_ids"] == [2, 5]
    assert Codec(tokenizer, None, vocabulary=6, stop=["\n"]).stop_ids == [1, 5]


def test_each_stop_id_stops():
    model = models.model("llama", vocab_size=SMALL)
    model.generation_config.eos_token_id = [4, 7]
    pi = CausalLMPolicy(model, models.tokenizer(), stop=["1", 8, "<|im_end|>"])  # "1" is token 6
    assert pi.stop_ids == [4, 7, 6, 8]
    found = pi.act(
        prompts_of(SMALL, 64), max_new_tokens=30, generator=torch.Generator().manual_seed(0)
    )
    assert {ids[-1] for ids in found.value} == {4, 6, 7, 8}
    assert all(token not in (4, 6, 7, 8) for ids in found.value for token in ids[:-1])
    assert pi.decode([5, 6]) == "0"


# bad input, one sentence each


def refuses(sentence: str, **changes) -> None:
    given = {"model": models.model("llama"), "tokenizer": models.tokenizer(), **changes}
    with pytest.raises(PolicyError, match=sentence):
        CausalLMPolicy(given.pop("model"), given.pop("tokenizer"), **given).encode(["a", CHAT])


def test_tokenizers_that_cannot_serve_are_refused():
    refuses("no chat template", tokenizer=models.tokenizer(chat=False))
    tokenizer = models.tokenizer()
    tokenizer.eos_token = "<s>"
    model = models.model("llama", eos_token_id=2)
    refuses(
        r"ends an assistant's turn with '<\|im_end\|>' \(id 4\).*stop: \['<\|im_end\|>'\]",
        tokenizer=tokenizer,
        model=model,
    )
    CausalLMPolicy(model, tokenizer, stop=["<|im_end|>"]).encode([CHAT])
    CausalLMPolicy(model, tokenizer).encode(["plain prompts need no turn"])
    ending = models.tokenizer()
    ending.backend_tokenizer.post_processor = models.processors.TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", 4)]
    )
    refuses(r"ends every text with '<\|im_end\|>'", tokenizer=ending)
    refuses("the tokenizer that belongs to the model", model=models.model("llama", vocab_size=50))
    nameless = models.tokenizer()
    nameless.eos_token = None
    refuses("name an end token", tokenizer=nameless, model=models.model("llama", eos_token_id=None))
    padless = models.tokenizer(pad=None)
    padless.eos_token = None
    beyond = models.model("llama", vocab_size=len(padless) + 9, eos_token_id=len(padless) + 5)
    refuses("no pad token and no token of the ids", tokenizer=padless, model=beyond)


@pytest.mark.parametrize("prompt", [None, b"abc", CHAT[0], [1.5, 2], "a\ud800", [None], 7])
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(
        PolicyError, match="prompt 0 is .*; expected a text, a list of messages, or token ids"
    ):
        policy("llama").encode([prompt])


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token_and_says_so(caplog):
    pi = CausalLMPolicy(models.model("llama"), models.tokenizer(pad=None), temperature=TEMPERATURE)
    assert pi.pad_id == 4
    assert "no pad token" in caplog.text
    torch.testing.assert_close(
        pi.log_prob(PROMPTS, ACTIONS)[0], policy("llama").log_prob(PROMPTS, ACTIONS)[0]
    )


def test_no_prompt_is_refused_everywhere():
    pi = policy("llama", SMALL)
    for ask in (pi.act, pi.complete, pi.distribution):
        with pytest.raises(PolicyError, match="there is no prompt"):
            ask([])
    for ask in (pi.log_prob, pi.entropy, pi.kl):
        with pytest.raises(PolicyError, match="there is no prompt"):
            ask([], [])


def test_bad_settings_and_prompts_are_refused():
    refuses("temperature is 0", temperature=0)
    refuses("stop 'ab' is 2 tokens", stop=["ab"])
    refuses(r"stop '<\|im_ends\|>'.*did you mean '<\|im_end\|>'", stop=["<|im_ends|>"])
    pi = policy("llama")
    for prompts, limit, sentence in [
        ([""], 4, "prompt 0 has no token"),
        (["a", []], 4, "prompt 1 has no token"),
        ([[5, 1000]], 4, "prompt 0 has token id 1000"),
        ([[{"role": "assistant"}]], 4, "prompt 0: message 0 .assistant. has no content"),
        (
            ["a", "b" * 250],
            16,
            (
                r"prompt 1 has 250 tokens and max_new_tokens is 16, 266 in all; the model's context"
                r" is 256"
            ),
        ),
        (["a"], 0, "max_new_tokens is 0"),
        ([], 4, "no prompt"),
    ]:
        with pytest.raises(PolicyError, match=sentence):
            pi.act(prompts, max_new_tokens=limit)
    with pytest.raises(PolicyError, match="2 prompts and 1 actions"):
        pi.log_prob(["a", "b"], [[5]])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_diverged_are_named(value):
    model = models.model("llama")
    with torch.no_grad():
        model.lm_head.weight[7, 0], model.lm_head.weight[8, 0] = (
            value,
            -value,
        )  # one of the two logits is +inf, or both NaN
    with pytest.raises(PolicyError, match="not finite"):
        generate(model, [[5]], max_new_tokens=2, temperature=1.0, stop_ids=[4], pad_id=0)


# the protocol


def test_it_is_a_policy_and_naming_the_room_loads_no_torch():
    assert isinstance(policy("llama"), Policy)
    code = "import sys, llmpolicy.policies; print('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )
