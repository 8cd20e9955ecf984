"""Dialogues of two turns, all of them written down: the exact gradient, and what credit by turns
makes of it.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from llmpolicy.grpo.dialogues import by_mean
from tests.oracle import talks, turns, world
from tests.oracle.talks import Talks
from tests.oracle.turns import ESTIMATORS

CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@cache
def every() -> Talks:
    return talks.talks(world.model())


def test_dialogues_are_all_there_and_the_gradient_is_the_slope_of_the_value() -> None:
    found = every()
    assert len(found.reward) == 421 and found.probability.sum() == pytest.approx(1, abs=1e-12)
    way = found.gradient / np.linalg.norm(found.gradient)
    above, below = (
        talks.talks(world.moved(world.model(), sign * way, 1e-2)).value for sign in (1, -1)
    )
    assert (above - below) / 2e-2 == pytest.approx(found.gradient @ way, abs=1e-2)


def test_rewards_to_go_have_the_gradient_of_whole_dialogues() -> None:
    """What a turn cannot have brought about has expectation 0."""
    np.testing.assert_allclose(
        turns.of_turn(every(), 0) + turns.of_turn(every(), 1), every().gradient, **CLOSE
    )


@pytest.mark.parametrize("size", [2, 3, 4])
def test_credit_by_turns_shortens_later_turns_more(size: int) -> None:
    """Exact over all groups. The mean of those who came so far takes 1/n of a turn from itself, n of
    them: 1 − 1/G of the first, and 1 − (1 − (1 − q)^G) / (G q) of a second that q reach. Left out
    of its own mean, or without one, a turn is whole but where nobody else came so far, which has no
    weight: 1 − (1 − q)^(G − 1).
    """
    q = turns.reaches(every())
    assert 0.3 < q < 0.9
    mean = turns.shortened(size, q)
    parts = [turns.of_turn(every(), turn) for turn in range(2)]
    rest = (1.0, 1 - (1 - q) ** (size - 1))
    laws = ((by_mean(False), mean), (turns.leave_one_out, rest), (turns.alone, rest))
    for credit, (first, second) in laws:
        found = turns.expectation(every(), credit, size)
        np.testing.assert_allclose(found, first * parts[0] + second * parts[1], **CLOSE)


@pytest.mark.parametrize(
    "name", ["turn, leave one out", "whole dialogue, RLOO", "turn, mean of the group"]
)
def test_what_is_sampled_has_its_expectation(tmp_path: Path, name: str) -> None:
    """Over 400 steps of groups of 4 with a fixed seed, within 5 of the noise of their mean: a chance
    below 1e-5 were the draws not fixed.
    """
    found = turns.cell(tmp_path, ESTIMATORS[name], every(), 4, 400)
    expected = every().gradient
    if (credit := ESTIMATORS[name].credit) is not None:
        expected = turns.expectation(every(), credit, 4)
    length = every().gradient @ every().gradient
    scale = expected @ every().gradient / length
    across = np.linalg.norm(expected - scale * every().gradient) / scale / np.sqrt(length)
    assert abs(found["turned"] - across) <= 5 * found["noise"] + 1e-6
    # TRL divides by the constant max_completion_length
    assert found["scale"] * world.LENGTH == pytest.approx(scale, rel=5 * found["noise"] + 1e-5)
