"""How sure a measured share is: 95 % intervals, and the unbiased estimate of pass@k. No torch
here.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)
"""The standard normal's 97.5 % point: intervals hold in 95 of 100 repetitions."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with the two ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The three numbers by name, as they stand in evaluation.json."""
        return asdict(self)


def wilson(successes: int, n: int) -> Interval:
    """The share ``successes / n`` with Wilson's score interval.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA
    22:209-212: (p̂ + z²/2n ± z √(p̂(1-p̂)/n + z²/4n²)) / (1 + z²/n). Raises ValueError unless 0 <=
    successes <= n and n >= 1.
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(
            f"wilson: {successes} successes of {n}; expected 0 <= successes <= n and n >= 1"
        )
    share = successes / n
    scale = 1 + Z**2 / n
    centre = (share + Z**2 / (2 * n)) / scale
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / scale
    # At 0 and n the ends are exact in algebra and off by a rounding in floats; the value must not
    # fall outside.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of one number in [0, 1] a question (its share of right samples), with its interval
    over questions.

    The adjusted Wald interval: two zeros and two ones join the values. For values of 0 and 1 only
    it is the one of Agresti & Coull 1998, "Approximate is better than 'exact'", American
    Statistician 52:119-126.
    """
    return _adjusted_wald(values, pseudo=(0.0, 0.0, 1.0, 1.0))


def paired_interval(differences: Sequence[float]) -> Interval:
    """The mean of one difference in [-1, 1] a question (after minus before), with its interval over
    questions.

    The adjusted Wald interval: one -1 and one +1 join the differences. For differences of -1, 0 and
    1 only it is the one of Bonett & Price 2012, "Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data", J. Educ. Behav. Stat. 37:479-488.
    """
    return _adjusted_wald(differences, pseudo=(-1.0, 1.0))


def _adjusted_wald(values: Sequence[float], pseudo: Sequence[float]) -> Interval:
    low, high = min(pseudo), max(pseudo)
    if not values or not all(low <= value <= high for value in values):
        raise ValueError(f"an interval needs at least one value, all in [{low:g}, {high:g}]")
    value = math.fsum(values) / len(values)
    joined = [*values, *pseudo]
    centre = math.fsum(joined) / len(joined)
    variance = math.fsum((x - centre) ** 2 for x in joined) / len(joined)
    half = Z * math.sqrt(variance / len(joined))
    return Interval(
        value, max(low, min(value, centre - half)), min(high, max(value, centre + half))
    )


def student(degrees: float) -> float:
    """The 97.5 % point of Student's t with so many degrees of freedom, which need not be whole.

    With t = √ν tan θ, P(|T| <= t) = ∫₀^θ cos^(ν-1) / ∫₀^(π/2) cos^(ν-1) (Abramowitz & Stegun 1964,
    26.7.3 and 26.7.4 for whole ν); the integrals by the midpoint rule. Raises ValueError unless
    degrees >= 1.
    """
    if not degrees >= 1:
        raise ValueError(f"student: {degrees} degrees of freedom; expected at least 1")
    steps = 20_000
    angles = [(step + 0.5) * math.pi / 2 / steps for step in range(steps)]
    weights = [math.cos(angle) ** (degrees - 1) for angle in angles]
    below, wanted = 0.0, 0.95 * math.fsum(weights)
    for angle, weight in zip(angles, weights, strict=True):
        if below + weight >= wanted:
            within = (wanted - below) / weight - 0.5
            return math.sqrt(degrees) * math.tan(angle + within * math.pi / 2 / steps)
        below += weight
    raise AssertionError("the weights of a distribution do not come to 1")


def pass_at_k(n: int, right: int, k: int) -> float:
    """The unbiased estimate, from n samples of which ``right`` are right, that one of k fresh
    samples is right.

    Chen et al. 2021, arXiv 2107.03374, eq. 1: 1 - C(n - right, k) / C(n, k). Raises ValueError
    unless 1 <= k <= n.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ValueError(
            f"pass@{k} of {n} samples, {right} right; expected 1 <= k <= n and 0 <= right <= n"
        )
    return 1 - math.comb(n - right, k) / math.comb(n, k)
