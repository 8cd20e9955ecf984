"""What one generation says of each part of the reward: pure arithmetic on the scores of its rows,
group by group.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import mul
from statistics import fmean

from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.rewards.compose.tree import counted
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
    asked = [row for row, s in enumerate(scores) if name in s.judged or name in s.nodes]
    if not asked:
        return None
    verdicts = [scores[row].judged[name] for row in asked if name in scores[row].judged]
    values = [v.score.value for v in verdicts] or [scores[row].nodes[name] for row in asked]
    pairs = [(row, x) for row, x in zip(asked, values, strict=True) if x is not None]
    known = [value for _, value in pairs]
    first: dict[int, float] = {}
    differing = {g for row, x in pairs if first.setdefault(g := row // group_size, x) != x}
    groups = len({row // group_size for row in asked})
    mean = std = error = timeout = None
    if known:
        mean = fmean(known)
        std = math.hypot(*_deviations(known)) / math.sqrt(len(known))
    if verdicts:
        faults = [verdict.fault for verdict in verdicts]
        error = (faults.count("error") + faults.count("infrastructure")) / len(asked)
        timeout = faults.count("timeout") / len(asked)
    seconds = sorted(verdict.seconds for verdict in verdicts)
    return PartStatistics(
        mean,
        std,
        none=1 - len(known) / len(asked),
        error=error,
        timeout=timeout,
        seconds_p50=quantile(seconds, 50),
        seconds_p95=quantile(seconds, 95),
        zero_spread_groups=(groups - len(differing)) / groups,
        length_correlation=correlation(known, [lengths[row] for row, _ in pairs]),
    )


def quantile(values: Sequence[float], percent: int) -> float | None:
    """The value below which so many per cent lie, linear between neighbours (Hyndman & Fan 1996,
    type 7).
    """
    if not values:
        return None
    ordered = sorted(values)
    place, rest = divmod((len(ordered) - 1) * percent, 100)
    above = ordered[min(place + 1, len(ordered) - 1)]
    return (ordered[place] * (100 - rest) + above * rest) / 100


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r = Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²), or None where one of them does
    not vary.
    """
    if len(x) < 2:
        return None
    dx, dy = _deviations(x), _deviations(y)
    scale = math.hypot(*dx) * math.hypot(*dy)
    if not scale > 0:
        return None
    return max(-1.0, min(1.0, math.fsum(map(mul, dx, dy)) / scale))


def variance_shares(
    scores: Sequence[RowScore], weights: Mapping[str, float], group_size: int
) -> dict[str, float] | None:
    """Each term's share of the reward's variance within groups; None where rewards do not vary
    within any group.

    With R = Σ w_k·t_k and deviations from the mean of the row's group, share_k = Σ δ(w_k·t_k)·δR /
    Σ (δR)², that is cov(w_k·t_k, R) / var(R). The shares add to 1. A gate acts in the terms that it
    closes. Rows without a reward are left out; a term of other tasks adds nothing to a row.
    """
    if len(weights) == 1:
        [name] = weights
        return {name: 1.0} if _varies(scores, name, group_size) else None
    import numpy as np  # which the room does without until something is trained

    rows = [row for row, score in enumerate(scores) if score.value is not None]
    if not rows or not weights:
        return None
    terms = [scores[row].terms for row in rows]
    parts = np.array(
        [[w * (of_row.get(name) or 0.0) for of_row in terms] for name, w in weights.items()]
    )  # (terms, rows)
    groups = np.array(rows) // group_size
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(begins, append=len(rows))
    parts -= parts[:, begins].repeat(sizes, 1)  # what is equal is then 0, without a rounding error
    parts -= (np.add.reduceat(parts, begins, 1) / sizes).repeat(sizes, 1)
    rewards = parts.sum(0)
    variance = float(rewards @ rewards)
    if variance <= ROUNDING**2 * float((parts * parts).sum()):
        return None
    return dict(zip(weights, (parts @ rewards / variance).tolist(), strict=True))


def _varies(scores: Sequence[RowScore], name: str, group_size: int) -> bool:
    """Whether a term differs within a group."""
    values = [None if s.value is None else s.terms.get(name) or 0.0 for s in scores]
    groups = range(0, len(scores), group_size)
    return any(len({*values[g : g + group_size]} - {None}) > 1 for g in groups)


def _deviations(values: Sequence[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def metrics(
    composition: Composition, scores: Sequence[RowScore], lengths: Sequence[int], group_size: int
) -> Iterator[tuple[str, float]]:
    """What is logged of a generation: ``parts/NAME/...`` for each node,
    ``terms/NAME/variance_share`` for each term.
    """
    for node in composition.nodes:
        part = part_statistics(scores, lengths, group_size, node.name)
        if part is None:
            continue
        for field, value in asdict(part).items():
            if value is not None:
                yield f"parts/{node.name}/{field}", value
    weights = {term.name: term.weight for term in counted(composition.terms)}
    for name, share in (variance_shares(scores, weights, group_size) or {}).items():
        yield f"terms/{name}/variance_share", share
