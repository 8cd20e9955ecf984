"""How many groups of a prompt's completions would have a signal, for groups of any size: estimated
from n samples of each of some prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmpolicy.statistics import Interval

SIZES = (2, 4, 8, 16, 32, 64)
DRAWS = 4_000
ROUNDING = 16 * 2**-52
"""Rewards that differ by less, relative to the larger, are equal, as they are to the trainer."""

_GRID = 41


@dataclass(frozen=True, slots=True)
class Share:
    """The share of groups of one size with a signal: ``of_prompts`` with the interval of the mean
    over prompts, ``of_step`` with that of one step of so many groups, which is wider. ``beyond``
    says how it was extended when groups are larger than the samples: ``beta`` or ``bound``.
    """

    size: int
    of_prompts: Interval
    of_step: Interval
    beyond: str | None = None


def counts_of(values: Sequence[float]) -> list[int]:
    """How often each different value is there; values that differ by rounding alone are one."""
    counts: list[int] = []
    last = math.nan
    for value in sorted(values):
        if counts and value - last <= ROUNDING * max(abs(value), abs(last)):
            counts[-1] += 1
        else:
            counts.append(1)
        last = value
    return counts


def mixed(counts: Sequence[int], size: int) -> float:
    """The unbiased estimate, from how often each value was seen, that ``size`` fresh samples are
    not all equal: 1 − Σ_v C(c_v, G) / C(n, G).

    A U-statistic (Hoeffding 1948, Ann. Math. Statist. 19:293-325); of two values that is 1 −
    pass^k − fail^k. Raises ValueError for more than n samples.
    """
    n = sum(counts)
    if not 1 <= size <= n:
        raise ValueError(f"groups of {size} from {n} samples; expected 1 <= size <= n")
    return 1 - sum(math.comb(count, size) for count in counts) / math.comb(n, size)


def fitted_beta(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The beta distribution of pass rates under which these (right, n) are likeliest, by a grid
    that is refined.

    The beta-binomial of Skellam 1948, J. R. Statist. Soc. B 10:257-261: P(c) = C(n, c) B(c + a, n −
    c + b) / B(a, b), with a, b between 0.001 and 1000. One prompt that was half right is added, so
    that it is defined where all agree.
    """
    table: dict[tuple[int, int], int] = {}
    for pair in counts:
        table[pair] = table.get(pair, 0) + 1
    centre, reach = (0.0, 0.0), math.log(1000)
    for _ in range(4):
        grid = [
            np.clip(np.linspace(c - reach, c + reach, _GRID), -math.log(1000), math.log(1000))
            for c in centre
        ]
        likely = _log_likelihood(table, np.exp(grid[0])[:, None], np.exp(grid[1])[None, :])
        row, column = np.unravel_index(int(likely.argmax()), likely.shape)
        centre, reach = (float(grid[0][row]), float(grid[1][column])), reach / 10
    return math.exp(centre[0]), math.exp(centre[1])


def _log_likelihood(table: dict[tuple[int, int], int], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    base = _log_beta(a, b)
    total = _log_beta(a + 0.5, b + 0.5) - base
    for (right, n), times in table.items():
        total = total + times * (_log_beta(a + right, b + n - right) - base)
    return np.asarray(total)


def _log_beta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    gamma = np.vectorize(math.lgamma, otypes=[float])
    return np.asarray(gamma(a) + gamma(b) - gamma(a + b))


def mixed_beyond(right: int, n: int, size: int, a: float, b: float) -> float:
    """The same for groups larger than n, from the beta distribution of pass rates that ``right`` of
    n samples leave: 1 − E[p^G] − E[(1 − p)^G], p ~ Beta(a + right, b + n − right).
    """
    a, b = a + right, b + n - right
    return 1 - _moment(a, b, size) - _moment(b, a, size)


def pass_beyond(counts: Sequence[tuple[int, int]], k: int) -> float:
    """The share of prompts that k samples would solve once, from these (right, n): 1 − E[(1 −
    p)^k], p from the fitted beta distribution.
    """
    a, b = fitted_beta(counts)
    return 1 - math.fsum(_moment(b + n - right, a + right, k) for right, n in counts) / len(counts)


def _moment(a: float, b: float, size: int) -> float:
    """E[p^G] of p ~ Beta(a, b)."""
    return math.exp(
        math.lgamma(a + size) - math.lgamma(a) + math.lgamma(a + b) - math.lgamma(a + b + size)
    )


def shares(
    prompts: Sequence[Sequence[float]],
    sizes: Sequence[int] = SIZES,
    *,
    groups: int,
    seed: int = 0,
) -> list[Share]:
    """The share of groups with a signal for each size, from the rewards of some samples of each
    prompt, and how far one step of so many ``groups`` may lie from it.

    Beyond the samples a prompt of two-valued rewards is extended by `mixed_beyond`; of others the
    value at n samples is a lower bound. Prompts with fewer than two samples are left out.
    """
    counted = [counts_of(values) for values in prompts if len(values) > 1]
    if not counted:
        return []
    pairs = _two_valued(prompts)
    beta = fitted_beta(pairs) if pairs and max(sizes) > min(map(sum, counted)) else None
    found = []
    for size in sizes:
        beyond, estimates = None, []
        for place, counts in enumerate(counted):
            n = sum(counts)
            if size <= n:
                estimates.append(mixed(counts, size))
            elif beta is not None and pairs:
                beyond = "beta"
                estimates.append(mixed_beyond(*pairs[place], size, *beta))
            else:
                beyond = beyond or "bound"
                estimates.append(mixed(counts, n))
        found.append(Share(size, *intervals(estimates, groups, seed), beyond))
    return found


def _two_valued(prompts: Sequence[Sequence[float]]) -> list[tuple[int, int]] | None:
    """How many samples of each prompt have the larger of two values; None where there are more."""
    known = [values for values in prompts if len(values) > 1]
    kinds = counts_of([value for values in known for value in values])
    if len(kinds) > 2:
        return None
    least = min(value for values in known for value in values)
    top = max(value for values in known for value in values)
    middle = (least + top) / 2 if top > least else -math.inf if top > 0 else math.inf
    return [(sum(value > middle for value in values), len(values)) for values in known]


def intervals(estimates: Sequence[float], groups: int, seed: int) -> tuple[Interval, Interval]:
    """The mean over prompts with its 95 % interval, and the interval of the share in one step of so
    many groups, which are of other prompts.

    The Bayesian bootstrap (Rubin 1981, Ann. Statist. 9:130-134), to which half a prompt of 0 and
    half a prompt of 1 are added: for estimates of 0 and 1 alone it is the interval of Jeffreys'
    prior. A step is a binomial draw from it.
    """
    draw = np.random.default_rng(seed)
    weights = draw.dirichlet([1.0] * len(estimates) + [0.5, 0.5], DRAWS)
    means = np.clip(weights @ np.asarray([*estimates, 0.0, 1.0]), 0.0, 1.0)
    steps = draw.binomial(groups, means) / groups
    value = math.fsum(estimates) / len(estimates)
    return _around(value, means), _around(value, steps)


def _around(value: float, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)))
