"""Asking a policy many questions: completions in large batches, and the verdict on each of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llmpolicy.rewards import Rewards, Sample
from llmpolicy.tasks import Row, prompt_text
from llmpolicy.types import Completion

TOKENS_AT_ONCE = 32_768
"""Most tokens (prompts and longest possible completions, padding included) that are generated side
by side.
"""


class LanguagePolicy(Protocol):
    """What an evaluation asks of a policy; prompts and actions are lists of token ids."""

    temperature: float
    max_new_tokens: int

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """The token ids of each prompt."""
        ...

    def complete(
        self,
        prompts: Sequence[Any],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Completion]:
        """One completion a prompt."""
        ...

    def quote(self, prompt: Sequence[int]) -> str:
        """The text of a prompt."""
        ...

    def log_prob(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """The log-probability of each token and the mask of those that count, both (B, T)."""
        ...


def complete(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    *,
    greedy: bool = False,
    generator: torch.Generator | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> list[Completion]:
    """One completion a prompt (token ids), in the order of the prompts; as many at once as
    TOKENS_AT_ONCE allows.

    Prompts of like length go together. ``batch_size`` limits the number at once, whatever their
    length.
    """
    length = max_new_tokens or policy.max_new_tokens
    found: dict[int, Completion] = {}
    for batch in batches([len(ids) + length for ids in prompts], TOKENS_AT_ONCE, batch_size):
        completions = policy.complete(
            [prompts[i] for i in batch], greedy=greedy, generator=generator, max_new_tokens=length
        )
        # Rewards see the text that was continued, its opening of a thinking block included.
        found.update(
            {
                i: replace(one, prompt=policy.quote(prompts[i]))
                for i, one in zip(batch, completions, strict=True)
            }
        )
    return [found[i] for i in range(len(prompts))]


def batches(lengths: Sequence[int], budget: int, limit: int | None = None) -> Iterator[list[int]]:
    """Split rows into batches of like length, the longest first: rows x longest <= budget, or a
    single row above it.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and ((len(batch) + 1) * lengths[batch[0]] > budget or len(batch) == limit):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def judge(
    correct: Rewards,
    rows: Sequence[Row],
    completions: Sequence[Completion],
    threshold: float,
    group_size: int = 1,
) -> list[bool | None]:
    """Whether each completion's score reaches the threshold; None where it could not be judged."""
    samples = samples_of(rows, completions)
    return [
        None if row.value is None else row.value >= threshold
        for row in correct.score(samples, group_size)
    ]


def samples_of(rows: Sequence[Row], completions: Sequence[Completion]) -> list[Sample]:
    """Completions as the rewards see them."""
    return [
        row.sample(
            one.prompt if isinstance(one.prompt, str) else prompt_text(row.prompt),
            one.text,
            one.token_ids,
            one.truncated,
            raw=one.raw,
        )
        for row, one in zip(rows, completions, strict=True)
    ]


@contextmanager
def evaluating(*policies: Any) -> Iterator[None]:
    """Put the policies' models into eval mode, and every module back into its own mode
    afterwards.
    """
    models = [
        policy.model for policy in policies if isinstance(getattr(policy, "model", None), nn.Module)
    ]
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class WithoutAdapter:
    """A policy with its adapter switched off: the base that it started from."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.temperature: float = policy.temperature
        self.max_new_tokens: int = policy.max_new_tokens

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """The token ids of each prompt."""
        ids: list[list[int]] = self.policy.encode(prompts)
        return ids

    def quote(self, prompt: Sequence[int]) -> str:
        """The text of a prompt."""
        return str(self.policy.quote(prompt))

    def complete(self, prompts: Sequence[Any], **how: Any) -> list[Completion]:
        """One completion a prompt, by the base."""
        with self.policy.adapter_off():
            completions: list[Completion] = self.policy.complete(prompts, **how)
        return completions

    def log_prob(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """The base's log-probability of each token, and the mask, both (B, T)."""
        with self.policy.adapter_off():
            log_prob, mask = self.policy.log_prob(states, actions)
        return log_prob, mask
