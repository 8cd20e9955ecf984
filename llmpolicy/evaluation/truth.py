"""Truth beside proxy: what a verifier that never trains says of held-out answers, look by look, and
whether it has fallen while the reward has not.

The test of a fall from one look to a later one is the exact sign test over the prompts whose truth
changed (Dixon & Mood 1946, JASA 41:557-566): under no fall a change is as often up as down. Of K
looks K(K - 1)/2 pairs may be compared, and each p-value is multiplied by that (Bonferroni): the
chance that a run without a fall is ever called one is at most the level, however its best look was
chosen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

from llmpolicy.evaluation.answers import known_mean

LEVEL = 0.05
"""The chance of an alarm in a whole run in which the truth never falls."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: what the reward that trains (proxy) and the truth say of the answer to each
    held-out prompt, in their order; None where one could not be judged.
    """

    step: int
    proxy: Values
    truth: Values


@dataclass(frozen=True, slots=True)
class Parting:
    """A look beside the best one before it, in which the truth is lower and the proxy is not.

    ``p`` is the sign test's, for all pairs of looks that the run will have; ``fell`` and ``rose``
    count prompts, of the truth.
    """

    best_step: int
    step: int
    truth: tuple[float, float]
    proxy: tuple[float, float]
    fell: int
    rose: int
    p: float

    @property
    def is_alarm(self) -> bool:
        """Whether chance is no explanation."""
        return self.p <= LEVEL

    def __str__(self) -> str:
        return (
            f"from step {self.best_step} to {self.step} the truth fell from {self.truth[0]:.3g} to"
            f" {self.truth[1]:.3g} on held-out prompts ({self.fell} fell, {self.rose} rose,"
            f" p = {self.p:.2g} for all looks), while the reward went from {self.proxy[0]:.3g} to"
            f" {self.proxy[1]:.3g}"
        )


class Partings:
    """The looks of a run, of which there will be ``planned``; those of before a resume are
    ``seen``.
    """

    def __init__(self, planned: int, seen: Iterable[Seen] = ()) -> None:
        self.planned = planned
        self.best: Seen | None = None
        for look in seen:
            self.take(look)

    def take(self, look: Seen) -> Parting | None:
        """Compare a look with the best one so far; None where the truth is not lower, or the proxy
        is.
        """
        best, now = self.best, known_mean(look.truth)
        if now is None:
            return None
        if best is None or now > (known_mean(best.truth) or 0.0):
            self.best = look
            return None
        pairs = max(self.planned * (self.planned - 1) // 2, 1)
        return parting(best, look, pairs)


def parting(best: Seen, look: Seen, pairs: int = 1) -> Parting | None:
    """The parting of truth and proxy between two looks, None where their means do not part."""
    truth, proxy = both(best.truth, look.truth), both(best.proxy, look.proxy)
    if not truth or not proxy:
        return None
    truths, proxies = means(truth), means(proxy)
    if truths[1] >= truths[0] or proxies[1] < proxies[0]:
        return None
    fell, rose = sum(new < old for old, new in truth), sum(new > old for old, new in truth)
    p = min(1.0, pairs * sign_test(fell, rose))
    return Parting(best.step, look.step, truths, proxies, fell, rose, p)


def sign_test(down: int, up: int) -> float:
    """P(at least ``down`` of ``down + up`` changes are down) when each is as often up as down."""
    count = down + up
    return sum(comb(count, k) for k in range(down, count + 1)) / 2**count


def both(before: Values, after: Values) -> list[tuple[float, float]]:
    """The pairs of which both are known."""
    pairs = []
    for old, new in zip(before, after, strict=True):
        if old is not None and new is not None:
            pairs.append((old, new))
    return pairs


def means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The mean of each side."""
    return (
        sum(old for old, _ in pairs) / len(pairs),
        sum(new for _, new in pairs) / len(pairs),
    )
