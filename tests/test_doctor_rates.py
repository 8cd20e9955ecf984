"""How often two checks of the doctor are wrong, over simulated runs: pay that does not belong to
prompts, and a sampler that does not explore.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llmpolicy.diagnosis import Completion, Evidence, Finding
from llmpolicy.diagnosis.chance import Given, chance_rewards, slope_of
from llmpolicy.diagnosis.signal import no_signal

STEPS, PROMPTS, SIZE, RUNS = 32, 8, 8, 200

Draw = random.Random
Say = Callable[[int, int], tuple[str, float]]
"""What is written in a step to a prompt, and paid."""


def simulated(say: Say, steps: int = STEPS) -> Evidence:
    """A run whose every group asks something new."""
    completions = []
    for step in range(1, steps + 1):
        for number in range(PROMPTS * SIZE):
            group = number // SIZE
            text, reward = say(step, step * PROMPTS + group)
            one = Completion(
                f"{step}:{number}", step, group, None, f"{step} {group}?", text, reward, {},
                None, False,
            )  # fmt: skip
            completions.append(one)
    return Evidence([{"step": step} for step in range(1, steps + 1)], completions)


def reader(seed: int, sure: float, *, swapped: bool) -> Say:
    """A policy that learns to name the smallest of some digits, right ``sure`` of the time in the
    beginning; where labels are swapped it learns which answer is frequent.
    """
    draw = Draw(seed)
    gold = [min(draw.sample(range(10), 4)) for _ in range(PROMPTS * (STEPS + 1) + 1)]

    def say(step: int, prompt: int) -> tuple[str, float]:
        label = gold[prompt - swapped]
        learned = draw.random() < 0.8 * step / STEPS
        if learned and swapped:
            said = draw.choice((0, 0, 1))
        else:
            said = gold[prompt] if learned or draw.random() < sure else draw.randrange(10)
        return str(said), float(said == label)

    return say


def blamed(runs: Sequence[Evidence]) -> int:
    return sum(isinstance(chance_rewards(each), Finding) for each in runs)


def test_the_slope_is_that_of_least_squares_with_a_mean_for_each_answer() -> None:
    draw, far = Draw(3), 10**7  # so large a group that its shares are without an error
    answers = [
        [
            Given(f"{n}", "", draw.randrange(far), far, float(draw.random() < 0.5))
            for n in range(size)
        ]
        for size in (3, 5, 9)
    ]
    rows = [(k, one) for k, given in enumerate(answers) for one in given]
    times = np.array([one.times for _, one in rows])
    design = np.array([[one.times / far, *(k == j for j in range(3))] for k, one in rows])
    paid = np.array([one.paid for _, one in rows])
    root = np.sqrt(times)
    weights, *_ = np.linalg.lstsq(design * root[:, None], paid * root, rcond=None)
    assert slope_of(answers).value == pytest.approx(weights[0], rel=1e-4)


def test_where_answers_are_right_as_often_as_they_are_given_the_slope_is_one() -> None:
    draw = Draw(5)
    rates = [[draw.random() for _ in range(800)] for _ in range(20)]

    def slope(paid: Callable[[float], float], size: int = 8) -> float:
        given = [
            [
                Given(f"{n}", "", times, size, paid(rate))
                for n, rate in enumerate(of_answer)
                if (times := sum(draw.random() < rate for _ in range(size)))
            ]
            for of_answer in rates
        ]
        return slope_of(given).value

    for size in (3, 4, 8):
        assert slope(lambda p: float(draw.random() < p), size) == pytest.approx(1.0, abs=0.1)
    assert slope(lambda p: 0.4 + 0.2 * (draw.random() < p)) == pytest.approx(1.0, abs=0.1)
    assert slope(lambda p: float(draw.random() < 0.3)) == pytest.approx(0.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("sure", "least"), [(0.7, 0.9), (0.9, 0.98)])
def test_swapped_labels_are_found_and_right_ones_are_not_blamed(sure: float, least: float) -> None:
    swapped = blamed([simulated(reader(seed, sure, swapped=True)) for seed in range(RUNS)])
    right = blamed([simulated(reader(seed, sure, swapped=False)) for seed in range(RUNS)])
    assert swapped >= least * RUNS and right == 0


def certain(seed: int, likeliest: float, right: float, *, learns: bool = False) -> Say:
    """A policy that writes one text to a prompt with this probability, and else another; of so many
    prompts the first one is right, and of the rest the other.
    """
    draw, solved = Draw(seed), Draw(seed + 1)
    is_right = [solved.random() < right for _ in range(PROMPTS * (STEPS + 1))]

    def say(step: int, prompt: int) -> tuple[str, float]:
        done = learns * min(1.0, 2 * step / STEPS)
        if draw.random() < likeliest + (1 - likeliest) * done:
            return str(prompt), float(is_right[prompt] or draw.random() < done)
        return "another", float(not is_right[prompt])

    return say


def found(seeds: int, likeliest: float, right: float, *, learns: bool = False) -> list[str]:
    runs = [simulated(certain(seed, likeliest, right, learns=learns)) for seed in range(seeds)]
    return [each.kind for each in map(no_signal, runs) if isinstance(each, Finding)]


@pytest.mark.parametrize("right", [0.0, 0.3, 0.5, 0.65])
def test_a_cold_sampler_is_found_whatever_is_solved(right: float) -> None:
    kinds = found(10, 0.999, right)
    assert kinds == ["no_exploration"] * 10


@pytest.mark.slow
def test_how_cold_a_sampler_must_be() -> None:
    assert found(RUNS, 0.95, 0.5).count("no_exploration") <= 0.01 * RUNS
    assert found(RUNS, 0.99, 0.5).count("no_exploration") >= 0.99 * RUNS


def test_a_run_that_is_done_explored_in_the_beginning() -> None:
    assert found(10, 0.7, 0.5, learns=True) == []
