"""Attention by groups: the packed pass gives the numbers of plain forwards, one row at a time, and their gradients."""

import functools
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import generate
from llmpolicy.policies.causal_lm import kv_buffer as buffers
from llmpolicy.policies.causal_lm.group_attention import group_path
from tests import models

SERVED = ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt2", "qwen3_moe", "mixtral"]
every_architecture = pytest.mark.parametrize("architecture", SERVED)


@functools.cache
def model(architecture: str) -> torch.nn.Module:
    return CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model


def rows_of(lengths: list[int], seed: int = 0, vocabulary: int = 50) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(5, vocabulary, (n,), generator=draw).tolist() for n in lengths]


@every_architecture
def test_the_architectures_need_no_other_path(architecture: str) -> None:
    assert group_path(model(architecture)) is None


def test_what_groups_cannot_serve_has_its_reason_in_words() -> None:
    refused = {
        "soft-capping": (models.model("gemma3", attn_logit_softcapping=30.0), "gemma3_text has attn_logit_softcapping"),
        "order": (models.model("gpt2", reorder_and_upcast_attn=True), "gpt2 has reorder_and_upcast_attn"),
    }
    for made, reason in refused.values():
        assert group_path(made) == reason
        CausalLMPolicy(made, models.tokenizer()).act([[5, 6]], max_new_tokens=3)  # and the other path serves it


# generation


def written(architecture: str, prompts: list[list[int]], steps: int, seed: int = 0) -> None:
    """Generate; every log-probability is that of a plain forward of its row."""
    made = generate(
        model(architecture), prompts, max_new_tokens=steps, temperature=0.8, stop_ids=[4, 9, 17], pad_id=0,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    for prompt, ids, log_probs in zip(prompts, made.token_ids, made.log_probs, strict=True):
        with torch.no_grad():
            logits = model(architecture)(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / 0.8
        truth = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(log_probs), truth, atol=1e-4, rtol=0)


@every_architecture
def test_rows_that_share_prompts_and_leave_keep_their_numbers(architecture: str) -> None:
    prompts = rows_of([12, 3, 7, 1])
    mixed = [prompts[place] for place in (0, 1, 1, 2, 0, 3, 2, 2, 2, 0, 1, 1, 3, 2, 0, 0)]
    written(architecture, mixed, 40)  # beyond the first room of the buffers, and the window of 4 leaves the prompt


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=5), st.integers(0, 99))
def test_any_groups_keep_their_numbers(shape: list[tuple[int, int]], seed: int) -> None:
    prompts = rows_of([length for length, _ in shape], seed)
    rows = list(itertools.chain.from_iterable([prompt] * many for prompt, (_, many) in zip(prompts, shape, strict=True)))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    written("mistral" if seed % 2 else "gemma3", [rows[place] for place in order], 6, seed)


def test_attention_with_its_mass_is_softmax_on_every_device() -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8, generator=draw) for length in (5, 7, 7))
    mask = torch.zeros(2, 1, 1, 7)
    mask[0, ..., 4:] = float("-inf")
    scores = q @ k.transpose(-1, -2) * 0.3 + mask
    for of in (buffers.attend_with_mass, buffers._plain_with_mass):
        out, mass = of(q, k, v, mask.expand(-1, 1, 5, -1), 0.3)
        torch.testing.assert_close(out, scores.softmax(-1) @ v)
        torch.testing.assert_close(mass, scores.logsumexp(-1))
