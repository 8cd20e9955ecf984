"""What one generation says of each part of the reward: pure arithmetic on the scores of its rows,
group by group.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, quantiles

from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.types import RowScore

ROUNDING = 1e-12
"""Deviations of the reward below this share of its terms' own are rounding, not variance."""


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """One part over the rows that it was asked about; None where there is too little to say it
    from.

    ``std`` is √(Σ (x − mean)² / n). ``none`` is the share of rows without a value; ``error`` and
    ``timeout`` are the shares where that was ours: an exception or a lost worker, a time-out.
    ``seconds_p50`` and ``seconds_p95`` are quantiles of a completion's time. ``zero_spread_groups``
    is the share of groups whose values do not differ. ``length_correlation`` is Pearson's r between
    the value and the completion's tokens.
    """

    mean: float | None
    std: float | None
    none: float
    error: float | None
    timeout: float | None
    seconds_p50: float | None
    seconds_p95: float | None
    zero_spread_groups: float
    length_correlation: float | None


def part_statistics(
    scores: Sequence[RowScore], lengths: Sequence[int], group_size: int, name: str
) -> PartStatistics | None:
    """Of a reward, or of a min, product or sum by its name; None when no row has it. ``lengths``
    are in tokens.
    """
    own = [
        place for place, score in enumerate(scores) if name in score.judged or name in score.nodes
    ]
    if not own:
        return None
    values = {place: _value(scores[place], name) for place in own}
    known = {place: value for place, value in values.items() if value is not None}
    faults = [scores[place].judged[name].fault for place in own if name in scores[place].judged]
    seconds = [scores[place].judged[name].seconds for place in own if name in scores[place].judged]
    groups: dict[int, set[float | None]] = {}
    for place, value in values.items():
        groups.setdefault(place // group_size, set()).add(value)
    return PartStatistics(
        mean=fmean(known.values()) if known else None,
        std=pstdev(known.values()) if known else None,
        none=1 - len(known) / len(own),
        error=(
            sum(fault in ("error", "infrastructure") for fault in faults) / len(own)
            if faults
            else None
        ),
        timeout=sum(fault == "timeout" for fault in faults) / len(own) if faults else None,
        seconds_p50=quantile(seconds, 50),
        seconds_p95=quantile(seconds, 95),
        zero_spread_groups=sum(len(found - {None}) < 2 for found in groups.values()) / len(groups),
        length_correlation=correlation(list(known.values()), [lengths[place] for place in known]),
    )


def _value(score: RowScore, name: str) -> float | None:
    return score.judged[name].score.value if name in score.judged else score.nodes[name]


def quantile(values: Sequence[float], percent: int) -> float | None:
    """The value below which so many per cent lie, linear between neighbours (Hyndman & Fan 1996,
    type 7).
    """
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r = Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²), or None where one of them does
    not vary.
    """
    if len(x) < 2:
        return None
    dx, dy = _deviations(x), _deviations(y)
    scale = math.hypot(*dx) * math.hypot(*dy)
    return (
        max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(dx, dy, strict=True)) / scale))
        if scale > 0
        else None
    )


def variance_shares(
    scores: Sequence[RowScore], weights: Mapping[str, float], group_size: int
) -> dict[str, float] | None:
    """Each term's share of the reward's variance within groups; None where rewards do not vary
    within any group.

    With R = Σ w_k·t_k and deviations from the mean of the row's group, share_k = Σ δ(w_k·t_k)·δR /
    Σ (δR)², that is cov(w_k·t_k, R) / var(R). The shares add to 1. A gate acts in the terms that it
    closes. Rows without a reward are left out; a term of other tasks adds nothing to a row.
    """
    shared = dict.fromkeys(weights, 0.0)
    variance = noise = 0.0
    for start in range(0, len(scores), group_size):
        rows = [score for score in scores[start : start + group_size] if score.value is not None]
        if not rows:
            continue
        parts = {
            name: _deviations([weight * (row.terms.get(name) or 0.0) for row in rows])
            for name, weight in weights.items()
        }
        for row in zip(*parts.values(), strict=True):
            reward = math.fsum(row)
            variance, noise = variance + reward**2, noise + math.fsum(one**2 for one in row)
            for name, one in zip(parts, row, strict=True):
                shared[name] += one * reward
    if variance <= ROUNDING**2 * noise:
        return None
    return {name: covariance / variance for name, covariance in shared.items()}


def _deviations(values: Sequence[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def metrics(
    composition: Composition, scores: Sequence[RowScore], lengths: Sequence[int], group_size: int
) -> Iterator[tuple[str, float]]:
    """What is logged of a generation: ``parts/NAME/...`` for each node,
    ``terms/NAME/variance_share`` for each term.
    """
    for node in (node for term in composition.terms for node in term.node.all):
        found = part_statistics(scores, lengths, group_size, node.name)
        for field in PartStatistics.__slots__ if found else ():
            if (value := getattr(found, field)) is not None:
                yield f"parts/{node.name}/{field}", value
    counted = {term.name: term.weight for term in composition.terms if term.counted}
    for name, share in (variance_shares(scores, counted, group_size) or {}).items():
        yield f"terms/{name}/variance_share", share
