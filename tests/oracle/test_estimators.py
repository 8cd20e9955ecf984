"""TRL's losses, as the trainer asks them, against numpy written from the papers, and against what a
step of the trainer truly applied.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.oracle import estimators, world
from tests.oracle.applied import applied
from tests.oracle.estimators import ESTIMATORS, Asked, Drawn, Estimator
from tests.oracle.world import LENGTH, Floats, Prompt

ROOT = Path(__file__).parents[2]
SMALL = 0.1


@cache
def worlds() -> tuple[list[Prompt], list[Prompt]]:
    """After and before a step of the policy."""
    before = world.world(world.model())
    return world.world(world.moved(world.model(), estimators.exact(before), SMALL)), before


def drawn() -> Drawn:
    """Two live groups of 8."""
    random, now = np.random.default_rng(0), worlds()[1]
    while True:
        groups = estimators.draw(now, 8, random)
        rewards = [prompt.reward[group] for prompt, group in zip(now, groups, strict=True)]
        if min(map(np.ptp, rewards)) > 0:
            return groups


def by_rows(weight: Floats, mask: Floats) -> Floats:
    return weight * mask / mask.sum(1, keepdims=True) / len(mask)


def by_tokens(weight: Floats, mask: Floats) -> Floats:
    return weight * mask / mask.sum()


def by_constant(weight: Floats, mask: Floats) -> Floats:
    return weight * mask / (len(mask) * LENGTH)


def clipped(log_ratio: Floats, advantage: Floats, low: float, high: float) -> Floats:
    """∂ min(r A, clip(r) A) / ∂ log π: r A where the minimum is the unclipped term."""
    ratio = np.exp(log_ratio)
    inside = np.where(advantage > 0, ratio <= 1 + high, ratio >= 1 - low)
    return np.asarray(ratio * advantage * inside)


def cispo(log_ratio: Floats, advantage: Floats) -> Floats:
    return np.asarray(np.minimum(np.exp(log_ratio), 5.0) * advantage)


def sapo(log_ratio: Floats, advantage: Floats) -> Floats:
    """f(r) = 4 σ(τ (r − 1)) / τ; its slope in log π is 4 r σ (1 − σ) A."""
    ratio = np.exp(log_ratio)
    gate = 1 / (1 + np.exp(-np.where(advantage > 0, 1.0, 1.05) * (ratio - 1)))
    return np.asarray(4 * ratio * gate * (1 - gate) * advantage)


def gspo(log_ratio: Floats, advantage: Floats, mask: Floats) -> Floats:
    """The ratio of a completion is the geometric mean of its tokens'; each has 1/|y| of its
    slope.
    """
    mean = (log_ratio * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    return np.broadcast_to(clipped(mean, advantage, 0.2, 0.2), mask.shape)


REFERENCES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "GRPO": lambda r, a, m: by_rows(clipped(r, a, 0.2, 0.2), m),
    "Dr.GRPO: mean of the group": lambda r, a, m: by_constant(clipped(r, a, 0.2, 0.2), m),
    "DAPO": lambda r, a, m: by_tokens(clipped(r, a, 0.2, 0.2), m),
    "BNPO": lambda r, a, m: by_tokens(clipped(r, a, 0.2, 0.2), m),
    "CISPO": lambda r, a, m: by_tokens(cispo(r, a), m),
    "SAPO": lambda r, a, m: by_rows(sapo(r, a), m),
    "GSPO": lambda r, a, m: by_rows(gspo(r, a, m), m),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_gradient_of_a_loss_is_that_of_its_paper(tmp_path: Path, name: str) -> None:
    now, before = worlds()
    estimator, groups = ESTIMATORS[name], drawn()
    asked = Asked(tmp_path, estimator, now)
    asked.before = before
    rows = [(k, y) for k, group in enumerate(groups) for y in group]
    score, log_prob, mask = (
        np.stack([getattr(now[k], part)[y] for k, y in rows])
        for part in ("score", "log_prob", "mask")
    )
    rewards = np.array([now[k].reward[y] for k, y in rows]).reshape(groups.shape)
    spread = rewards.std(1, ddof=1, keepdims=True) + 1e-4 if "Dr" not in name else 1.0
    advantage = ((rewards - rewards.mean(1, keepdims=True)) / spread).reshape(-1, 1)
    log_ratio = log_prob - np.stack([before[k].log_prob[y] for k, y in rows])
    expected = np.einsum("bt,btp->p", REFERENCES[name](log_ratio, advantage, mask), score)
    found = asked.gradient(groups)
    assert np.linalg.norm(found) > 0.01
    # TRL keeps advantages and ratios in the type it is given: 64 bits here
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Dr.GRPO: mean of the group", "GRPO", "DAPO", "MaxRL"])
def test_a_step_of_the_trainer_applies_the_estimate(tmp_path: Path, name: str) -> None:
    """Δθ / −lr of the public API against the enumerated scores of what it drew."""
    found = applied(tmp_path, ESTIMATORS[name], 4, 4)
    asked = Asked(tmp_path, ESTIMATORS[name], worlds()[1])
    expected = asked.gradient(found.drawn, found.prompts)
    assert np.linalg.norm(expected) > 0.01
    off = np.linalg.norm(found.update - expected) / np.linalg.norm(expected)
    assert off < 1e-4


@pytest.mark.parametrize("name", ["Dr.GRPO: mean of the group", "GRPO", "DAPO", "GSPO"])
def test_nothing_depends_on_order_split_or_the_scale_of_rewards(tmp_path: Path, name: str) -> None:
    asked, groups = Asked(tmp_path, ESTIMATORS[name], worlds()[1]), drawn()
    usual = asked.gradient(groups)
    assert np.linalg.norm(usual) > 0.01
    np.testing.assert_allclose(asked.gradient(groups[:, ::-1]), usual, atol=1e-6)
    np.testing.assert_allclose(asked.gradient(groups[::-1], [1, 0]), usual, atol=1e-6)
    twice = asked.gradient(np.vstack([groups, groups]), [0, 1, 0, 1])
    np.testing.assert_allclose(twice, usual, atol=1e-6)


def test_the_spread_forgets_the_scale_of_a_reward_and_the_mean_its_zero() -> None:
    rewards = np.random.default_rng(0).normal(size=(3, 5))
    close = {"rtol": 1e-3, "atol": 1e-3}  # 1e-4 is added to the spread
    np.testing.assert_allclose(
        estimators.scaled(3 * rewards + 2), estimators.scaled(rewards), **close
    )
    for advantage in (estimators.centred, estimators.leave_one_out):
        np.testing.assert_allclose(advantage(3 * rewards + 2), 3 * advantage(rewards), atol=1e-12)


def test_micro_batches_of_whole_groups_apply_the_same_step(tmp_path: Path) -> None:
    estimator = ESTIMATORS["DAPO"]
    whole, parts = (applied(tmp_path / str(n), estimator, 4, 4, micro=n) for n in (1, 4))
    assert (whole.drawn == parts.drawn).all()
    np.testing.assert_allclose(parts.update, whole.update, atol=1e-4)


UNTURNED = ["Dr.GRPO: mean of the group", "RLOO", "REINFORCE, no baseline"]
TURNED = {"GRPO": 0.25, "mean over each completion's tokens": 0.25, "cut completions masked": 0.5}


@pytest.mark.parametrize("name", [*UNTURNED, *TURNED])
def test_the_direction_of_an_estimator_is_that_of_the_gradient_or_it_is_not(
    tmp_path: Path, name: str
) -> None:
    """Over 400 steps with a fixed seed. A first-order squared noise was subtracted, so an unbiased
    one is within 5 of it: a chance below 1e-5 were the draws not fixed.
    """
    now = worlds()[1]
    estimator: Estimator = ESTIMATORS[name]
    found = estimators.cell(tmp_path, estimator, now, now, 8, 400)
    if name in TURNED:
        assert found["turned"] > TURNED[name] + 2 * found["noise"]
    else:
        _is_that_of_the_gradient(name, found)


@pytest.mark.parametrize("name", UNTURNED)
def test_rewards_of_many_values_turn_no_unbiased_estimator(tmp_path: Path, name: str) -> None:
    now = [world.enumerated(world.model(), prompt, world.graded) for prompt in world.PROMPTS]
    assert len(set(now[0].reward)) == 7 and min(now[0].reward) < 0
    _is_that_of_the_gradient(name, estimators.cell(tmp_path, ESTIMATORS[name], now, now, 8, 400))


def _is_that_of_the_gradient(name: str, found: dict[str, float]) -> None:
    """Within five times its noise, in direction and scale; the group's own mean takes 1/G off."""
    assert found["turned"] <= 5 * found["noise"] + 1e-6
    factor = {"Dr.GRPO: mean of the group": 7 / 8}.get(name, 1.0)
    error = 5 * found["noise"] + 1e-5
    assert found["scale"] * LENGTH == pytest.approx(factor, rel=error)
