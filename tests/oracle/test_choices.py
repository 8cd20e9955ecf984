"""What the choice of prompts and of completions does to the direction of an estimate.

What is sampled has a fixed seed and is held to 5 of the noise of its mean: a chance below 1e-5 were
the draws not fixed.
"""

import itertools
from functools import cache

import numpy as np
import pytest

from tests.oracle import choices, estimators, world
from tests.oracle.choices import CHOICES, REPLAYS, TAKEN
from tests.oracle.world import Floats, Prompt

SIZE, STEPS = 4, 3000


@cache
def four() -> list[Prompt]:
    return choices.four()


@cache
def later() -> tuple[list[Prompt], list[Prompt]]:
    """Two prompts under a policy and under that from which it has come."""
    before = world.world(world.model())
    return world.world(world.moved(world.model(), estimators.exact(before), 0.1)), before


def live(prompt: Prompt) -> float:
    """How likely the rewards of a group are not all equal."""
    return 1 - prompt.value**SIZE - (1 - prompt.value) ** SIZE


def expected(refill: bool) -> Floats:
    """Over all orders of the prompts and all that may turn out live: a prompt that is trained on
    with probability Q has Q / P(live) of its own gradient, shortened by 1 − 1/G.
    """
    chance, trained = [live(prompt) for prompt in four()], np.zeros(4)
    for order in itertools.permutations(range(4)):
        for lives in itertools.product((True, False), repeat=4):
            likely = np.prod(
                [p if is_live else 1 - p for p, is_live in zip(chance, lives, strict=True)]
            )
            pool = order if refill else order[:TAKEN]
            taken = [row for row in pool if lives[row]][:TAKEN]
            trained[taken] += likely / 24
    gradients = np.stack([prompt.gradient for prompt in four()])
    return np.asarray((trained / chance / TAKEN) @ gradients * (1 - 1 / SIZE))


@pytest.mark.parametrize("name", ["two prompts at random", "refilled"])
def test_refilling_has_the_expectation_of_all_orders(name: str) -> None:
    """From a small pool refilling turns the estimate: who is drawn early is trained on more often
    than their chance of a signal makes up for.
    """
    truth = estimators.exact(four())
    wanted = expected(name == "refilled")
    scale = wanted @ truth / (truth @ truth)
    across = np.linalg.norm(wanted - scale * truth) / scale / np.linalg.norm(truth)
    found = choices.chosen(name, four(), SIZE, STEPS)
    assert found["scale"] == pytest.approx(scale, rel=5 * found["noise"])
    assert abs(found["turned"] - across) <= 5 * found["noise"]
    assert (across < 1e-9) == (name != "refilled")


def test_the_memory_turns_the_estimate_towards_prompts_with_a_signal() -> None:
    found = choices.chosen("memory", four(), SIZE, STEPS)
    assert found["turned"] > 0.1 + 2 * found["noise"]


def test_replay_keeps_the_direction_only_of_all_groups_with_their_ratio() -> None:
    now, before = later()
    for name in REPLAYS:
        found = choices.replayed(name, now, before, SIZE, 1000)
        if name in ("fresh groups only", "all groups, ratio"):
            assert found["turned"] <= 5 * found["noise"]
        else:
            assert found["turned"] > 2 * found["noise"], name


def test_every_choice_is_drawn_from_its_seed() -> None:
    for name in CHOICES:
        once, again = (choices.chosen(name, four(), SIZE, 20) for _ in range(2))
        assert once == again
