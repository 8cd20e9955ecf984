"""Whether rewards belong to the prompts whose completions they pay."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from llmpolicy.diagnosis.evidence import Completion, Evidence
from llmpolicy.diagnosis.finding import Finding, NotChecked
from llmpolicy.statistics import Z

HALF_WAY = 0.5
"""Between 0, where chance pays, and 1, where an answer is right as often as it is given."""
LEAST_PAID = 0.1
"""The share of groups in which something is paid, to tell chance from what is too hard."""
LEAST_PROMPTS = 30
"""Below which an error that is robust over prompts is too small."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was given to a prompt so many ``times`` in a group of ``size``, and what it is
    paid there, between 0 for the smallest and 1 for the largest reward of the run.
    """

    prompt: str
    place: str
    times: int
    size: int
    paid: float


@dataclass(frozen=True, slots=True)
class Slope:
    """How much more an answer is paid where it is given always instead of never, its standard
    error, and of how many prompts it was told: so many as would have the same weight each (Kish
    1965, Survey Sampling, section 8.2).
    """

    value: float
    error: float
    prompts: float

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return self.value + Z * self.error


def chance_rewards(run: Evidence) -> Finding | NotChecked | None:
    """A policy that reads gives an answer more often where it is right, unless the rewards do not
    belong to the prompts (labels of another row, a wrong column). An answer is compared with itself
    on other prompts alone: some are right more often, whatever is asked.
    """
    answers = [given for given in answers_of(run) if _is_told_apart(given)]
    slope = slope_of(answers)
    if slope.prompts < LEAST_PROMPTS or not Z * slope.error < HALF_WAY:
        return NotChecked("chance_rewards", "few answers were given to several prompts")
    is_paid = [any((one.reward or 0.0) > run.bottom for one in group) for group in run.groups]
    if slope.high > HALF_WAY or fmean(is_paid) < LEAST_PAID:
        return None
    return Finding(
        "chance_rewards",
        f"where an answer is given more often it is hardly paid more: {slope.value:+.2f} of what it"
        f" would be if it were right as often as it is given, at most {slope.high:+.2f}"
        f" ({len(answers)} answers, {slope.prompts:.0f} prompts)",
        "look whether answers belong to their prompts: the column that task names, the order of"
        " rows, and what the reward compares (check-reward --data)",
        0.6,
        {
            "slope": round(slope.value, 4),
            "high": round(slope.high, 4),
            "prompts": round(slope.prompts, 1),
        },
        [one.place for given in answers for one in given],
    )


def answers_of(run: Evidence) -> list[list[Given]]:
    """Each text that was given, with all groups in which it was."""
    answers: dict[str, list[Given]] = defaultdict(list)
    for group in run.groups:
        for text, given in _given(group, run):
            answers[text].append(given)
    return list(answers.values())


def _given(group: Sequence[Completion], run: Evidence) -> Iterator[tuple[str, Given]]:
    rewards: dict[str, list[float]] = defaultdict(list)
    for one in group:
        if one.reward is not None:
            rewards[one.text.strip()].append(one.reward)
    size, unit = sum(map(len, rewards.values())), max(run.top - run.bottom, 1e-9)
    for text, of_text in rewards.items():
        if size > 2:
            paid = (fmean(of_text) - run.bottom) / unit
            yield text, Given(group[0].prompt, group[0].place, len(of_text), size, paid)


def _is_told_apart(given: Sequence[Given]) -> bool:
    """Whether an answer was given to several prompts and is paid differently: one that is only
    given where it is right, or never is, says nothing.
    """
    paid = [one.paid for one in given]
    return len({one.prompt for one in given}) > 1 and max(paid) - min(paid) > 1e-6


def slope_of(answers: Sequence[Sequence[Given]]) -> Slope:
    """The slope of what answers are paid on their probabilities, each less its mean over the
    completions: 0 by chance, 1 where they are right as often as they are given. Its error is
    infinite where probabilities differ by no more than chance.

    b = Σ n x r / Σ n (q - m²). Of an answer that n of G completions are, and which is looked at for
    one of them, the others are an unbiased estimate of its probability, (n - 1) / (G - 1), whose
    mean is m and distance to it x, and of its square, q = (n - 1) (n - 2) / (G - 1) (G - 2)
    (Hoeffding 1948, Ann. Math. Statist. 19:293-325): that estimates have errors makes b no smaller.
    Pay in parts varies less than all or nothing with the same mean p, which has p (1 - p) (Bhatia &
    Davis 2000, Amer. Math. Monthly 107:353-357); b is divided by the ratio of the two deviations.
    The error is robust over prompts, whose answers depend on each other (Liang & Zeger 1986,
    Biometrika 73:13-22).
    """
    rows = [row for given in answers for row in _centred(given)]
    squares = sum(row.times * row.share * row.share for row in rows)
    spread = sum(row.times * row.square for row in rows)
    if squares <= 0 or spread <= 0:
        return Slope(0.0, math.inf, 0.0)
    raw = sum(row.times * row.share * row.paid for row in rows) / squares
    scores, weights = defaultdict[str, float](float), defaultdict[str, float](float)
    for row in rows:
        weight = row.times * row.share
        weights[row.prompt] += weight * row.share
        scores[row.prompt] += weight * row.less_one * (row.paid - raw * row.share)
    error = math.sqrt(sum(score * score for score in scores.values())) / squares
    varied = sum(row.times * row.paid * row.paid for row in rows)
    unit = squares / spread / math.sqrt(varied / sum(row.times * row.whole for row in rows))
    prompts = squares * squares / sum(weight * weight for weight in weights.values())
    return Slope(raw * unit, error * unit, prompts)


@dataclass(frozen=True, slots=True)
class _Row:
    """Share, its square, and pay of an answer in a group less their means; ``whole`` is the
    variance of all-or-nothing pay, and ``less_one`` makes up for the mean that was taken off.
    """

    prompt: str
    times: int
    share: float
    square: float
    paid: float
    whole: float
    less_one: float


def _centred(given: Sequence[Given]) -> Iterator[_Row]:
    count = sum(one.times for one in given)
    shares = [(one.times - 1) / (one.size - 1) for one in given]
    share = sum(one.times * each for one, each in zip(given, shares, strict=True)) / count
    paid = sum(one.times * one.paid for one in given) / count
    less_one = (1.0 - sum(one.times**2 for one in given) / count**2) ** -0.5
    for one, each in zip(given, shares, strict=True):
        yield _Row(
            one.prompt,
            one.times,
            each - share,
            each * (one.times - 2) / (one.size - 2) - share * share,
            one.paid - paid,
            paid * (1.0 - paid),
            less_one,
        )


CHECKS: Sequence[Callable[[Evidence], object]] = (chance_rewards,)
