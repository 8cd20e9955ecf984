"""The oracle against arithmetic of its own, and the laws that each estimator is known for.

Where a law is about an expectation over groups of two, it is summed over every pair of completions,
so nothing is left to chance. What is sampled is held to five standard errors of fixed draws.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch

from llmpolicy.objectives import k3
from tests.oracle import estimators, world
from tests.oracle.estimators import Advantage
from tests.oracle.world import Floats, Prompt

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
"""The weights have 64 bits, but transformers computes a Llama's norms in 32."""


@cache
def prompts() -> list[Prompt]:
    return world.world(world.model())


def expectation(prompt: Prompt, advantage: Advantage, size: int) -> Floats:
    """E[Σ A ∇log π / G] over all groups of a prompt whose rewards are 0 and 1: given how many are
    right, the right ones are drawn from π given right.
    """
    p = prompt.value
    score = prompt.score.sum(1)
    of_right = (prompt.probability * prompt.reward) @ score / p
    of_wrong = (prompt.probability * (1 - prompt.reward)) @ score / (1 - p)
    total = np.zeros(score.shape[1])
    for right in range(size + 1):
        chance = math.comb(size, right) * p**right * (1 - p) ** (size - right)
        rewards = np.array([[1.0] * right + [0.0] * (size - right)])
        weights = advantage(rewards)[0]
        total += chance * (weights[:right].sum() * of_right + weights[right:].sum() * of_wrong)
    return total / size


def test_probabilities_add_to_one_and_scores_to_zero() -> None:
    for prompt in prompts():
        assert prompt.probability.sum() == pytest.approx(1, abs=1e-12)
        assert np.abs(prompt.probability @ prompt.score.sum(1)).max() < 1e-6


def test_the_gradient_is_the_slope_of_the_value() -> None:
    """Central differences of J along the gradient and along a drawn direction."""
    network, gradient = world.model(), estimators.exact(prompts())
    drawn = np.random.default_rng(0).normal(size=gradient.shape)
    for way in (gradient / np.linalg.norm(gradient), drawn / np.linalg.norm(drawn)):
        above, below = (
            np.mean([p.value for p in world.world(world.moved(network, sign * way, 1e-2))])
            for sign in (1, -1)
        )
        # the third derivative of J is of the order of a thousand here, and weights have 32 bits
        assert (above - below) / 2e-2 == pytest.approx(gradient @ way, abs=2e-2)


def test_entropy_and_divergence_are_the_means_of_what_is_sampled() -> None:
    """The chain rule by hand: Σ over prefixes of the entropy of the next token; and k3 in
    expectation.
    """
    now = prompts()
    later = world.world(world.moved(world.model(), estimators.exact(now), 0.1))
    for prompt, other in zip(now, later, strict=True):
        seen: dict[tuple[int, ...], float] = {}
        for y, completion in enumerate(world.completions()):
            for t in range(len(completion)):
                before = float(prompt.log_prob[y, :t].sum())
                own = float(prompt.log_prob[y, t])
                seen[completion[: t + 1]] = -math.exp(before + own) * own
        assert prompt.entropy == pytest.approx(sum(seen.values()), abs=1e-9)
        whole = [torch.from_numpy((p.log_prob * p.mask).sum(1)) for p in (prompt, other)]
        assert prompt.kl(other) == pytest.approx(prompt.probability @ k3(*whole).numpy(), abs=1e-9)
        assert prompt.kl(other) > 0 and prompt.kl(prompt) == 0


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_what_each_advantage_estimates_by_itself(size: int) -> None:
    """Exact expectations: RLOO is ∇J, the group's mean shortens it by 1 − 1/G, MaxRL is ∇ Σ pass@k
    / k for k below G, and the spread weighs a prompt by what its p makes of it.
    """
    for prompt in prompts():
        gradient, p = prompt.gradient, prompt.value
        found = expectation(prompt, estimators.leave_one_out, size)
        np.testing.assert_allclose(found, gradient, **CLOSE)
        found = expectation(prompt, estimators.centred, size)
        np.testing.assert_allclose(found, (1 - 1 / size) * gradient, **CLOSE)
        found = expectation(prompt, estimators.maximum_likelihood, size)
        factor = sum((1 - p) ** (k - 1) for k in range(1, size))
        np.testing.assert_allclose(found, factor * gradient, **CLOSE)
        found = expectation(prompt, estimators.scaled, size)
        np.testing.assert_allclose(found, _spread(p, size) * gradient, **CLOSE)


def _spread(p: float, size: int) -> float:
    """What division by the group's spread makes of ∇p: E[s / (s + 1e-4) · s] (G − 1) / (G p (1 −
    p)), with s the group's deviation.
    """
    total = 0.0
    for right in range(size + 1):
        chance = math.comb(size, right) * p**right * (1 - p) ** (size - right)
        deviation = math.sqrt(right * (size - right) / size / (size - 1))
        total += chance * deviation**2 / (deviation + 1e-4)
    return total * (size - 1) / (size * p * (1 - p))


def test_all_pairs_of_completions_give_the_same_as_the_count_of_right_ones() -> None:
    """The sum over 85 × 85 pairs, for a reward that is not 0 or 1 as well: RLOO is ∇J."""
    prompt = prompts()[1]
    graded = np.random.default_rng(0).normal(size=len(prompt.reward))
    for reward in (prompt.reward, graded):
        pairs = np.stack(np.meshgrid(reward, reward, indexing="ij"), -1).reshape(-1, 2)
        weights = estimators.leave_one_out(pairs).reshape(len(reward), len(reward), 2)
        joint = np.outer(prompt.probability, prompt.probability)
        first = (joint * weights[..., 0]).sum(1) + (joint * weights[..., 1]).sum(0)
        expected = (prompt.probability * reward) @ prompt.score.sum(1)
        np.testing.assert_allclose(first @ prompt.score.sum(1) / 2, expected, **CLOSE)
