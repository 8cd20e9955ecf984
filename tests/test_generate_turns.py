"""Generation of dialogues: a limit for each row, and rows that go on behind what was read of them.

The reference is stock transformers' forward of each whole row, by itself.
"""

import functools

import pytest
import torch

from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.policies import CausalLMPolicy
from llmpolicy.policies.causal_lm import generate
from tests import models

STOP = [4, 9, 17]
SERVED = ["llama", "qwen2", "qwen3", "mistral", "gemma3", "gpt2", "qwen3_moe", "mixtral"]


@functools.cache
def network(architecture: str) -> torch.nn.Module:
    return CausalLMPolicy(models.model(architecture, vocab_size=50), models.tokenizer()).model


def rows_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 50, (n,), generator=draw).tolist() for n in lengths]


def written(
    model: torch.nn.Module, prompts: list[list[int]], limits: int | list[int], seed: int = 0
) -> list[Turn]:
    return generate(
        model, prompts, max_new_tokens=limits, temperature=0.8, stop_ids=STOP, pad_id=0,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def true_to(model: torch.nn.Module, turns: list[Turn], atol: float = 1e-5) -> None:
    """Every log-probability is that of a plain forward of its whole row."""
    for turn in turns:
        with torch.no_grad():
            logits = model(torch.tensor([turn.state + turn.action])).logits[0].float() / 0.8
        chosen_from = torch.log_softmax(logits[len(turn.state) - 1 : -1], -1)
        truth = chosen_from.gather(1, torch.tensor(turn.action)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(turn.log_probs), truth, atol=atol, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_5"])
def test_a_row_stops_at_its_own_limit(architecture: str) -> None:
    model, limits = network(architecture), [1, 9, 3, 3, 12, 2]
    prompts = [rows_of([5, 2])[row % 2] for row in range(6)]
    turns = written(model, prompts, limits)
    for turn, limit in zip(turns, limits, strict=True):
        stopped = turn.action[-1] in STOP
        assert stopped or len(turn.action) == limit
        assert (turn.terminated, turn.truncated) == (stopped, not stopped)
    true_to(model, turns, 1e-4)
    assert written(model, prompts, [7] * 6) == written(model, prompts, 7)


def test_limits_that_fit_no_rows_are_refused() -> None:
    model, prompts = network("llama"), rows_of([3, 250])
    with pytest.raises(PolicyError, match="max_new_tokens has 3 numbers for 2 prompts"):
        written(model, prompts, [1, 2, 3])
    with pytest.raises(PolicyError, match="max_new_tokens is 0; expected at least 1"):
        written(model, prompts, [4, 0])
    with pytest.raises(PolicyError, match="prompt 1 has 250 tokens and max_new_tokens is 8, 258"):
        written(model, prompts, [2, 8])
    written(model, prompts, [200, 2])
