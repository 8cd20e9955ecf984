"""How far the scores of a reward model can be believed: its order of held-out pairs, and what its
margins promise.

The model is Bradley and Terry's: P(a is preferred to b) = σ(r(a) - r(b)) (Bradley & Terry 1952,
"Rank analysis of incomplete block designs", Biometrika 39:324-345). It is calibrated when of the
pairs with a margin m a share σ(m) is ordered rightly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from statistics import fmean, pstdev
from typing import Any

from llmpolicy.statistics import Interval, wilson

BINS = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Held-out pairs whose margins |r(chosen) - r(rejected)| lie between low and high.

    ``expected`` is the mean of σ(margin), the accuracy that the margins promise; ``accuracy`` is
    the one that was found.
    """

    low: float
    high: float
    n: int
    expected: float
    accuracy: Interval


@dataclass(frozen=True, slots=True)
class Measured:
    """A reward model on held-out pairs: accuracy, how large its rewards are, and its
    calibration.
    """

    n: int
    accuracy: Interval
    log_loss: float
    mean: float
    std: float
    calibration_error: float
    bins: tuple[Bin, ...]


def measured(chosen: Sequence[float], rejected: Sequence[float]) -> Measured:
    """The figures of held-out pairs from their two rewards; a tie is not ordered rightly.

    The calibration error is Σ_b n_b/N · |accuracy_b - expected_b| over bins of like size (Naeini et
    al. 2015, AAAI, eq. 3, with equal counts instead of equal widths).
    """
    margins = list(map(sub, chosen, rejected))
    ordered = sorted(margins, key=abs)
    edges = [round(i * len(ordered) / BINS) for i in range(BINS + 1)]
    bins = []
    for start, end in pairwise(edges):
        if end > start:
            bins.append(_bin(ordered[start:end]))
    both = [*chosen, *rejected]
    return Measured(
        n=len(margins),
        accuracy=_accuracy(margins),
        log_loss=fmean(_softplus(-m) for m in margins),
        mean=fmean(both),
        std=pstdev(both),
        calibration_error=sum(b.n * abs(b.accuracy.value - b.expected) for b in bins)
        / len(margins),
        bins=tuple(bins),
    )


def _bin(margins: Sequence[float]) -> Bin:
    sizes = list(map(abs, margins))
    expected = fmean(math.exp(-_softplus(-size)) for size in sizes)
    return Bin(min(sizes), max(sizes), len(sizes), expected, _accuracy(margins))


def _accuracy(margins: Sequence[float]) -> Interval:
    return wilson(sum(margin > 0 for margin in margins), len(margins))


def _softplus(x: float) -> float:
    """log(1 + eˣ) = -log σ(-x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def table(report: Mapping[str, Any]) -> str:
    """The report of a reward model as a few lines of text."""
    held_out = report["held_out"]
    if held_out is None:
        return f"reward model: {report['train']['n']} pairs, none held out"
    accuracy = held_out["accuracy"]
    lines = [
        (
            f"reward model on {held_out['n']} held-out pairs: accuracy {accuracy['value']:.3f}"
            f" [{accuracy['low']:.3f}, {accuracy['high']:.3f}] "
            f" log loss {held_out['log_loss']:.3f} "
            f" rewards {held_out['mean']:+.2f} ± {held_out['std']:.2f}  calibration error"
            f" {held_out['calibration_error']:.3f}"
        ),
        "  margin         pairs  promised  found",
    ]
    for b in held_out["bins"]:
        share = b["accuracy"]
        lines.append(
            f"  {b['low']:5.2f} to {b['high']:5.2f} {b['n']:6}     {b['expected']:.3f} "
            f" {share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
        )
    return "\n".join(lines)
