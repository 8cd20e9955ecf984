"""The intervals hold as often as they say, by exact enumeration; pass@k equals brute force over all
subsets.
"""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpolicy.statistics import Interval, mean_interval, paired_interval, pass_at_k, wilson


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_wilson_gives_the_published_figures() -> None:
    """Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3."""
    for right, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ]:
        assert (round(wilson(right, n).low, 4), round(wilson(right, n).high, 4)) == (low, high)
    assert wilson(1, 29).low == pytest.approx(0.0061, abs=5e-5)
    assert wilson(1, 29).high == pytest.approx(0.1718, abs=5e-5)


@pytest.mark.parametrize("n", [20, 100, 300])
def test_wilson_covers_the_truth(n: int) -> None:
    """Exact coverage, no simulation: the mean over p is 95 %, and no p in [0.05, 0.95] falls below
    91 %.
    """
    intervals = [wilson(k, n) for k in range(n + 1)]
    shares = [i / 100 for i in range(5, 96)]
    coverage = [
        sum(binomial(n, k, p) for k in range(n + 1) if holds(intervals[k], p)) for p in shares
    ]
    assert sum(coverage) / len(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.91


@pytest.mark.parametrize("n", [20, 50])
def test_paired_interval_covers_the_truth(n: int) -> None:
    """Exact coverage over all outcomes of n paired questions; gains p_up, losses p_down."""
    coverage = [
        paired_coverage(n, up, down)
        for up, down in [(0.1, 0.1), (0.3, 0.05), (0.5, 0.1), (0.4, 0.4), (0.6, 0)]
    ]
    assert min(coverage) > 0.93
    assert max(coverage) < 0.995


def paired_coverage(n: int, p_up: float, p_down: float) -> float:
    total = 0.0
    for up in range(n + 1):
        for down in range(n + 1 - up):
            stay = n - up - down
            chance = (
                math.comb(n, up)
                * math.comb(n - up, down)
                * p_up**up
                * p_down**down
                * (1 - p_up - p_down) ** stay
            )
            interval = paired_interval([1.0] * up + [-1.0] * down + [0.0] * stay)
            total += chance * holds(interval, p_up - p_down)
    return total


def test_paired_interval_is_the_one_of_bonett_and_price() -> None:
    """Their formula, written out: p̃ = (count + 1) / (n + 2)."""
    up, down, n = 7, 2, 40
    p_up, p_down = (up + 1) / (n + 2), (down + 1) / (n + 2)
    half = 1.959964 * math.sqrt((p_up + p_down - (p_up - p_down) ** 2) / (n + 2))
    interval = paired_interval([1.0] * up + [-1.0] * down + [0.0] * (n - up - down))
    assert interval.value == pytest.approx((up - down) / n)
    assert interval.low == pytest.approx(p_up - p_down - half, abs=1e-6)
    assert interval.high == pytest.approx(p_up - p_down + half, abs=1e-6)


def test_mean_interval_is_the_one_of_agresti_and_coull() -> None:
    """Their "add two successes and two failures", written out: 7 of 20 becomes 9 of 24."""
    half = 1.959964 * math.sqrt(9 / 24 * 15 / 24 / 24)
    interval = mean_interval([1.0] * 7 + [0.0] * 13)
    assert interval.value == 0.35
    assert (interval.low, interval.high) == pytest.approx((0.375 - half, 0.375 + half), abs=1e-6)


@pytest.mark.parametrize("difference", [False, True])
def test_intervals_of_rates_cover_the_truth(difference: bool) -> None:
    """2,000 evaluations of 100 questions, 8 samples each; the standard error of the coverage is 0.5
    points.

    Questions differ in difficulty, so an interval that took the 800 samples for independent ones
    would hold far less.
    """
    draw = random.Random(3)
    hits = 0
    for _ in range(2000):
        rates = [sampled_rate(draw, 0.4) for _ in range(100)]
        after = [sampled_rate(draw, 0.6) for _ in range(100)]
        if difference:
            hits += holds(paired_interval([b - a for a, b in zip(rates, after, strict=True)]), 0.2)
        else:
            hits += holds(mean_interval(rates), 0.4)
    assert 0.935 < hits / 2000 < 0.98


def sampled_rate(draw: random.Random, easy: float) -> float:
    """A question is easy (always right) with probability ``easy``-0.1, else right at a rate that
    keeps the mean.
    """
    p = 1.0 if draw.random() < easy - 0.1 else 0.1 / (1.1 - easy)
    return sum(draw.random() < p for _ in range(8)) / 8


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=60))
def test_intervals_hold_their_value_and_mirror(values: list[float]) -> None:
    interval, mirrored = mean_interval(values), mean_interval([1 - x for x in values])
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    up, down = paired_interval(values), paired_interval([-x for x in values])
    assert -1 <= up.low <= up.value <= up.high <= 1
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low))


@given(st.integers(1, 400), st.data())
def test_wilson_holds_its_value_and_mirrors(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    interval, mirrored = wilson(right, n), wilson(n - right, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(
    samples: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    subsets = list(itertools.combinations(samples, k))
    share = sum(any(subset) for subset in subsets) / len(subsets)
    assert pass_at_k(len(samples), sum(samples), k) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_pass_at_k_is_unbiased(p: float) -> None:
    """Its exact expectation over the binomial number of right samples is 1 - (1 - p)^k."""
    for n, k in [(8, 1), (8, 3), (8, 8), (20, 8)]:
        expectation = sum(binomial(n, right, p) * pass_at_k(n, right, k) for right in range(n + 1))
        assert expectation == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


def test_impossible_counts_are_refused() -> None:
    for call in [
        lambda: wilson(3, 2),
        lambda: wilson(0, 0),
        lambda: pass_at_k(4, 2, 5),
        lambda: pass_at_k(4, 5, 1),
    ]:
        with pytest.raises(ValueError, match="expected"):
            call()
    for values in [[], [1.5], [float("nan")]]:
        with pytest.raises(ValueError, match="at least one value"):
            paired_interval(values)
