"""What is logged of a reward's parts: literal numbers, and shares of variance that add to 1 and are
numpy's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpolicy.rewards import Rewards, RowScore, Score
from llmpolicy.rewards.compose.statistics import (
    correlation,
    metrics,
    part_statistics,
    quantile,
    variance_shares,
)
from llmpolicy.types import Judged
from tests.test_composition import CORRECT, leaf
from tests.test_composition import score as scored


def judged(values: Sequence[Any], faults: dict[int, Any] | None = None) -> list[RowScore]:
    """Rows with one reward r, which took 1, 2, 3 ... seconds."""
    each = [Judged(Score(value), i + 1.0, (faults or {}).get(i)) for i, value in enumerate(values)]
    return [
        RowScore(one.score.value, {"r": one.score}, one.seconds, judged={"r": one}) for one in each
    ]


def test_a_part_in_numbers() -> None:
    rows = judged([0, 2, 4, None, 1, 1, None, None], {3: "timeout", 6: "error"})
    found = part_statistics(rows, [10, 20, 30, 1, 5, 15, 1, 1], 4, "r")
    assert found is not None
    assert (found.mean, found.none, found.error, found.timeout) == (1.6, 3 / 8, 1 / 8, 1 / 8)
    assert found.std == pytest.approx(np.std([0, 2, 4, 1, 1]))
    assert (found.seconds_p50, found.seconds_p95) == (4.5, pytest.approx(7.65))
    assert found.zero_spread_groups == 0.5  # of the second group both values are 1
    assert found.length_correlation == pytest.approx(
        np.corrcoef([0, 2, 4, 1, 1], [10, 20, 30, 5, 15])[0, 1]
    )
    assert part_statistics(rows, [1] * 8, 4, "r").length_correlation is None  # type: ignore[union-attr]
    assert part_statistics(rows, [1] * 8, 4, "other") is None
    nothing = part_statistics(judged([None, None]), [1, 1], 2, "r")
    assert nothing is not None
    assert (nothing.mean, nothing.std, nothing.none, nothing.zero_spread_groups) == (
        None,
        None,
        1.0,
        1.0,
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.sampled_from([50, 95]))
def test_quantiles_are_numpys(values: list[float], percent: int) -> None:
    assert quantile(values, percent) == pytest.approx(
        np.percentile(values, percent), rel=1e-9, abs=1e-6
    )


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 99)), min_size=2, max_size=20))
def test_the_correlation_is_numpys(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    if np.std(x) == 0 or np.std(y) == 0:
        assert correlation(x, y) is None
    else:
        assert correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def rows_of(terms: Sequence[dict[str, float]], weights: dict[str, float]) -> list[RowScore]:
    return [
        RowScore(sum(weights[k] * v for k, v in row.items()), {}, 0.0, terms=dict(row))
        for row in terms
    ]


def test_shares_in_numbers() -> None:
    weights = {"a": 1.0, "b": 2.0, "constant": 5.0}
    a, b = [0, 1, 0, 1, 3, 3], [0, 0, 1, 1, 7, 7]
    rows = rows_of([{"a": x, "b": y, "constant": 2} for x, y in zip(a, b, strict=True)], weights)
    assert variance_shares(rows[:4], weights, 4) == pytest.approx(
        {"a": 0.2, "b": 0.8, "constant": 0.0}
    )
    assert variance_shares(rows, weights, 2) == pytest.approx({"a": 1.0, "b": 0.0, "constant": 0.0})
    assert variance_shares(rows[4:], weights, 2) is None
    opposed = rows_of([{"a": 1, "b": 0}, {"a": 0, "b": 0.25}], weights)
    assert variance_shares(opposed, weights, 2) == pytest.approx(
        {"a": 2.0, "b": -1.0, "constant": 0.0}
    )


values = st.floats(-100, 100).map(lambda x: round(x, 3))


@settings(deadline=None)
@given(st.data())
def test_shares_add_to_one_and_are_numpys_covariances(data: Any) -> None:
    names = ["a", "b", "c"][: data.draw(st.integers(1, 3))]
    weights = {name: data.draw(values) for name in names}
    size = data.draw(st.integers(2, 4))
    terms = data.draw(
        st.lists(
            st.fixed_dictionaries(dict.fromkeys(names, values)), min_size=size, max_size=3 * size
        )
    )
    terms = terms[: len(terms) // size * size]
    rows = rows_of(terms, weights)
    groups = np.array([row.value for row in rows]).reshape(-1, size)
    deviations = groups - groups.mean(axis=1, keepdims=True)
    found = variance_shares(rows, weights, size)
    if np.abs(deviations).max() < 1e-6:
        return
    assert found is not None
    assert sum(found.values()) == pytest.approx(1.0)
    for name in names:
        part = weights[name] * np.array([row[name] for row in terms]).reshape(-1, size)
        expected = ((part - part.mean(axis=1, keepdims=True)) * deviations).sum() / (
            deviations**2
        ).sum()
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_gate_counts_in_the_terms_that_it_closes() -> None:
    """The answer is right in every row; only the gate differs, and the variance is that of the term
    it closes.
    """
    entries = [
        leaf("g", role="gate"),
        CORRECT,
        leaf("m", weight=0),
        leaf("s", weight=0.5, clip=[0, 1], when="correct"),
    ]
    rows = scored(entries, [{"g": g, "c": 1, "m": 3, "s": 1} for g in (0, 1, 1, 0)])
    found = dict(metrics(Rewards(entries).composition, rows, [1, 2, 3, 4], 4))
    assert {k: v for k, v in found.items() if k.startswith("terms/")} == {
        "terms/c/variance_share": pytest.approx(2 / 3), "terms/s/variance_share": pytest.approx(1 / 3),
    }  # fmt: skip
    assert (
        found["parts/g/mean"],
        found["parts/g/zero_spread_groups"],
        found["parts/c/zero_spread_groups"],
    ) == (
        0.5,
        0,
        1,
    )
    assert found["parts/m/mean"] == 3
    assert "parts/m/length_correlation" not in found


def test_rows_without_a_reward_and_terms_of_other_tasks_are_left_out() -> None:
    weights = {"a": 1.0, "b": 1.0}
    rows = rows_of([{"a": 0}, {"a": 2}, {"b": 1}, {"b": 3}], weights)
    unjudged = RowScore(None, {}, 0.0, terms={"a": 5.0})
    assert variance_shares(rows, weights, 2) == pytest.approx({"a": 0.5, "b": 0.5})
    assert variance_shares([*rows[:2], unjudged, unjudged], weights, 4) == pytest.approx(
        {"a": 1.0, "b": 0.0}
    )
