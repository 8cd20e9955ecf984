"""The laws of a policy, each against the plain forward of its own weights; a law returns how far it
is off.

Figures are nats of log-probability or a relative error of a gradient; ``LIMITS`` says how much is
rounding.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm import CausalLMPolicy
from scripts.zoo.plain import Plain, gradients, relative

PROMPTS = [
    [7, 12, 9],
    [5, 8, 21, 30, 11, 6, 17, 9, 26, 14, 31, 5, 22, 8, 10, 19, 7, 13, 25, 6, 12, 28, 9, 15, 18],
    [9, 9, 14, 23, 6, 10, 27],
    [20, 6, 13, 5, 29, 11, 8, 16, 24, 7, 30, 12, 5],
]
"""Of 3 to 25 tokens, so that the window of 8 falls inside and outside of them."""
ACTIONS = [[11, 5, 23, 8, 9, 30, 4], [6, 17], [13, 28, 10, 7, 4], [25, 9, 12, 15, 6, 19]]
STOP = [10, 11, 12, 13, 14, 15]
"""Enough tokens end a completion that rows leave at different times."""
TOKENS = 8
TEMPERATURE = 0.9
NATS, RELATIVE = 3e-3, 2e-3
"""A recurrence in chunks and step by step lies 1e-3 apart in 32 bits; mistakes lie tenths apart."""

Law = Callable[[CausalLMPolicy, Plain], float]


class Differs(Exception):
    """A law is broken in a way that no figure says."""


def apart(actual: Tensor, expected: Sequence[Tensor]) -> float:
    """The largest difference between rows that are padded with zeros, (B, T), and each row's own
    values.
    """
    distances = []
    for row, values in zip(actual.detach(), expected, strict=True):
        distances.append(float((row[: len(values)] - values).abs().max()))
    return max(distances)


def plain_log_prob(plain: Plain, prompts: Sequence[Any], actions: Sequence[Any]) -> list[Tensor]:
    """log π of every row by itself."""
    with torch.no_grad():
        return [plain.log_prob(p, a, TEMPERATURE) for p, a in zip(prompts, actions, strict=True)]


def padded(policy: Any, plain: Plain) -> float:
    """log_prob with a gradient, rows of all lengths together, is the plain forward of each row."""
    return apart(policy.log_prob(PROMPTS, ACTIONS)[0], plain_log_prob(plain, PROMPTS, ACTIONS))


def packed(policy: CausalLMPolicy, plain: Plain) -> float:
    """log_prob without a gradient too, by groups where the model can be read so."""
    prompts, actions = [*PROMPTS, *PROMPTS], [*ACTIONS, *ACTIONS[1:], ACTIONS[0]]
    with torch.no_grad():
        return apart(policy.log_prob(prompts, actions)[0], plain_log_prob(plain, prompts, actions))


def beside(policy: CausalLMPolicy, plain: Plain) -> float:
    """A row alone is scored as beside a longer one."""
    alone = policy.log_prob(PROMPTS[:1], ACTIONS[:1])[0]
    return apart(policy.log_prob(PROMPTS[:2], ACTIONS[:2])[0][:1], [alone[0].detach()])


def twice(policy: CausalLMPolicy, plain: Plain) -> float:
    """The same call gives the same, whatever was asked between."""
    before = policy.log_prob(PROMPTS[:1], ACTIONS[:1])[0]
    policy.act(PROMPTS[1:2], greedy=True, max_new_tokens=TOKENS)
    policy.log_prob(PROMPTS[1:], ACTIONS[1:])
    return apart(policy.log_prob(PROMPTS[:1], ACTIONS[:1])[0], [before[0].detach()])


def greedy(policy: CausalLMPolicy, plain: Plain) -> float:
    """Greedy is the likeliest token of plain forwards, step by step; ties within rounding may fall
    either way.
    """
    action = policy.act(PROMPTS, greedy=True, max_new_tokens=TOKENS)
    for prompt, found in zip(PROMPTS, action.value, strict=True):
        expected, closest = plain.greedy(prompt, policy.stop_ids, TOKENS)
        if found != expected and closest > NATS:
            raise Differs(f"greedy writes {found}, step by step it is {expected}")
    return apart(action.log_prob, plain_log_prob(plain, PROMPTS, action.value))


def sampled(policy: CausalLMPolicy, plain: Plain) -> float:
    """act returns the log-probability that log_prob gives for what was chosen."""
    action = policy.act(PROMPTS, generator=torch.Generator().manual_seed(1), max_new_tokens=TOKENS)
    scored = policy.log_prob(PROMPTS, action.value)[0]
    return float(((action.log_prob - scored.detach()) * action.mask).abs().max())


def groups(policy: CausalLMPolicy, plain: Plain) -> float:
    """One prompt several times, rows that leave at different times: each is what it would be
    alone.
    """
    prompts = [PROMPTS[2]] * 5 + [PROMPTS[1]] * 4 + [PROMPTS[0]]
    for seed in range(2, 10):
        action = policy.act(
            prompts, generator=torch.Generator().manual_seed(seed), max_new_tokens=TOKENS
        )
        if len(set(map(len, action.value))) > 1:
            return apart(action.log_prob, plain_log_prob(plain, prompts, action.value))
    raise Differs("all rows of eight groups ended together: expected other stop tokens")


WEIGHTS = (1.0, -0.7, 0.4, -1.3)


def gradient(policy: CausalLMPolicy, plain: Plain) -> float:
    """The gradient of Σ A log π is that of plain rows, one after another."""
    policy.model.zero_grad()
    weights = torch.tensor(WEIGHTS)
    (policy.log_prob(PROMPTS, ACTIONS)[0] * weights[:, None]).sum().backward()
    rows = [
        weight * plain.log_prob(prompt, action, TEMPERATURE).sum()
        for weight, prompt, action in zip(WEIGHTS, PROMPTS, ACTIONS, strict=True)
    ]
    return relative(gradients(policy.model), plain.gradient(torch.stack(rows).sum()))


def saved(policy: CausalLMPolicy, base: Path) -> float:
    """What is saved and loaded again is the same policy; an adapter is loaded on its base."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        target = Path(folder) / "saved"
        policy.save(target)
        model, adapter = (base, target) if policy.is_adapter else (target, None)
        loaded = CausalLMPolicy.load(model, adapter=adapter, temperature=TEMPERATURE)
        return apart(
            loaded.log_prob(PROMPTS, ACTIONS)[0], list(policy.log_prob(PROMPTS, ACTIONS)[0])
        )


def adapter_off(policy: CausalLMPolicy, base: Plain) -> float:
    """With its adapter off a policy is its base."""
    with policy.adapter_off():
        return padded(policy, base)


def reference(policy: CausalLMPolicy, base: Plain, start: Plain) -> float:
    """The reference is what it says: the base, or the policy as it was at the start; after either
    both act the same.
    """
    expected = base if "adapter off" in policy.reference.kind else start
    before = policy.log_prob(PROMPTS, ACTIONS)[0]
    distance = padded(policy.reference, expected)
    return max(distance, apart(policy.log_prob(PROMPTS, ACTIONS)[0], list(before.detach())))


def merged(policy: CausalLMPolicy, plain: Plain) -> float:
    """The adapter added to the weights changes no log-probability."""
    return padded(policy.merge(), plain)


LAWS: dict[str, Law] = {
    law.__name__: law for law in (padded, packed, beside, twice, greedy, sampled, groups, gradient)
}
