"""Two runs on the same held-out prompts: whether one is better, and if nothing shows it, what
would.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, pvariance
from typing import Any

import numpy as np

from llmpolicy.diagnosis.evidence import number_of
from llmpolicy.errors import RunError
from llmpolicy.run import Run
from llmpolicy.run.answers import read_answers
from llmpolicy.run.looks import read_looks
from llmpolicy.statistics import Interval, Z, paired_interval

DRAWS = 10_000
FEWEST = 10
"""Prompts that must differ for a bootstrap; an adjusted Wald interval serves fewer."""
POWER = NormalDist().inv_cdf(0.8)
"""Of what is called needed: a true difference is then seen in 4 of 5 repetitions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more of the same prompts the second run gets right, of which it is the mean with its
    95 % interval; ``detectable`` is what would be seen with so many prompts in 4 of 5 cases,
    ``needed`` how many prompts the difference that was seen would take (None where there is none).
    """

    prompts: int
    interval: Interval
    better: int
    worse: int
    detectable: float
    needed: int | None

    @property
    def is_evidence(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True, slots=True)
class AtEqual:
    """The steps of two looks at which both runs had spent as much, and the greedy answers there."""

    steps: tuple[int, int]
    greedy: Difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside another: greedy and sampled answers, what both cost, and greedy answers at the
    last looks of both within what the shorter one took (``at_equal``, by tokens and by seconds).
    """

    first: str
    second: str
    greedy: Difference
    sampled: Difference | None
    costs: Mapping[str, tuple[float, float]]
    at_equal: Mapping[str, AtEqual]
    same_rewards: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain data."""
        costs = {
            name.replace(" ", "_"): {"first": first, "second": second}
            for name, (first, second) in self.costs.items()
        }
        return {"schema": 1, **asdict(self), "costs": costs, "evidence": self.greedy.is_evidence}

    def __str__(self) -> str:
        lines = [f"{self.second} beside {self.first}", *_said("greedy", self.greedy)]
        if self.sampled is not None:
            lines += _said("sampled", self.sampled)
        for name, found in self.at_equal.items():
            steps = "steps {} and {}".format(*found.steps)
            lines += _said(f"greedy at equal {name}, {steps}", found.greedy)
        for name, (first, second) in self.costs.items():
            is_other = name.startswith("reward") and not self.same_rewards
            end = ", of different rewards" * is_other
            lines.append(f"  {name}: {first:,.6g} and {second:,.6g}{end}")
        lines.append("  intervals are over prompts: what another seed would change, only runs tell")
        return "\n".join(lines)


def compare(first: Run, second: Run) -> Comparison:
    """Compare what two runs reached on the held-out prompts that both were asked; RunError where
    there are none.
    """
    before, after = _by_prompt(first), _by_prompt(second)
    common = [prompt for prompt in before if prompt in after]
    if not common:
        raise RunError(f"{first.path} and {second.path} have no held-out prompt in common")
    pairs = [(before[prompt], after[prompt]) for prompt in common]
    greedy = [
        float(new["greedy"]) - float(old["greedy"])
        for old, new in pairs
        if old["greedy"] is not None and new["greedy"] is not None
    ]
    sampled = [
        new["right"] / new["judged"] - old["right"] / old["judged"]
        for old, new in pairs
        if old["judged"] and new["judged"]
    ]
    if not greedy:
        raise RunError(f"{first.path} and {second.path} have no judged answer in common")
    return Comparison(
        str(first.path),
        str(second.path),
        difference(greedy),
        difference(sampled) if sampled else None,
        _costs(first, second),
        _at_equal(first, second),
        first.recipe.get("rewards") == second.recipe.get("rewards"),
    )


def difference(values: Sequence[float], seed: int = 0) -> Difference:
    """The mean of paired differences in [-1, 1] with its interval, by a percentile bootstrap over
    prompts (Efron 1979, Ann. Statist. 7:1-26) where enough of them differ.
    """
    differing = sum(value != 0 for value in values)
    interval = _bootstrap(values, seed) if differing >= FEWEST else paired_interval(values)
    spread = math.sqrt(pvariance(values)) or math.sqrt(1 / (len(values) + 2))
    seen = abs(interval.value)
    return Difference(
        prompts=len(values),
        interval=interval,
        better=sum(value > 0 for value in values),
        worse=sum(value < 0 for value in values),
        detectable=(Z + POWER) * spread / math.sqrt(len(values)),
        needed=math.ceil(((Z + POWER) * spread / seen) ** 2) if seen > 0 else None,
    )


def _bootstrap(values: Sequence[float], seed: int) -> Interval:
    array, draw = np.asarray(values), np.random.default_rng(seed)
    means = [array[draw.integers(0, len(array), len(array))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


def _by_prompt(run: Run) -> dict[tuple[str, int | None], dict[str, Any]]:
    """The answers by prompt; those to equal prompts also by the row of the data that asked."""
    answers = read_answers(run.path)
    asked = Counter(answer["prompt"] for answer in answers)
    by_prompt: dict[tuple[str, int | None], dict[str, Any]] = {}
    for answer in answers:
        row = answer.get("row") if asked[answer["prompt"]] > 1 else None
        by_prompt[answer["prompt"], row] = answer
    return by_prompt


def _costs(first: Run, second: Run) -> dict[str, tuple[float, float]]:
    """What both took, and the mean reward of the last tenth before the shorter one's end, by tokens
    and by time.
    """
    curves = _curves(first, second)
    if not all(curves):
        return {}
    costs = {"steps": (float(curves[0][-1]["step"]), float(curves[1][-1]["step"]))}
    for name, spent, most in _budgets(curves):
        costs[name] = (spent[0][-1], spent[1][-1])
        at = [_until(curve, cost, most) for curve, cost in zip(curves, spent, strict=True)]
        if not any(map(math.isnan, at)):
            costs[f"reward at equal {name}"] = (at[0], at[1])
    return costs


def _curves(*runs: Run) -> list[list[Mapping[str, Any]]]:
    return [[line for line in run.metrics("train") if "reward" in line] for run in runs]


def _budgets(
    curves: Sequence[Sequence[Mapping[str, Any]]],
) -> Iterator[tuple[str, list[list[float]], float]]:
    """By tokens and by time, where both have measured it: what each had spent at each line, and
    what the shorter one took.
    """
    for name, figure in (("tokens", _tokens), ("seconds", _seconds)):
        spent = [figure(curve) for curve in curves]
        ends = [cost[-1] for cost in spent]
        if all(ends):
            yield name, spent, min(ends)


def _at_equal(first: Run, second: Run) -> dict[str, AtEqual]:
    """The greedy answers at the last look of each within what the shorter one took; nothing where
    one has not looked on its way.
    """
    runs, curves = (first, second), _curves(first, second)
    if not all(curves) or not all(read_looks(run.path) for run in runs):
        return {}
    found = {}
    for name, spent, most in _budgets(curves):
        looks = []
        for run, curve, cost in zip(runs, curves, spent, strict=True):
            last = max(
                (line["step"] for line, sum_ in zip(curve, cost, strict=True) if sum_ <= most),
                default=0,
            )
            looks += [look for look in read_looks(run.path) if look["step"] <= last][-1:]
        if len(looks) == 2 and (values := _paired(runs, looks)):
            found[name] = AtEqual((looks[0]["step"], looks[1]["step"]), difference(values))
    return found


def _paired(runs: Sequence[Run], looks: Sequence[Mapping[str, Any]]) -> list[float]:
    """The differences of what was right at two looks, by prompt."""
    sides = []
    for run, look in zip(runs, looks, strict=True):
        right = dict(zip(look["rows"], look["right"], strict=True))
        known = {key: right.get(answer.get("row")) for key, answer in _by_prompt(run).items()}
        sides.append({key: float(value) for key, value in known.items() if value is not None})
    return [sides[1][key] - sides[0][key] for key in sides[0] if key in sides[1]]


def _tokens(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    return [number_of(line.get("num_tokens")) or 0.0 for line in curve]


def _seconds(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    """The time until each line, which tells the mean of the steps since the one before."""
    total, before, seconds = 0.0, 0, []
    for line in curve:
        total += (number_of(line.get("step_time")) or 0.0) * (line["step"] - before)
        before = line["step"]
        seconds.append(total)
    return seconds


def _until(curve: Sequence[Mapping[str, Any]], cost: Sequence[float], most: float) -> float:
    inside = [line["reward"] for line, spent in zip(curve, cost, strict=True) if spent <= most]
    known = [number for number in map(number_of, inside) if number is not None]
    return fmean(known[-max(1, len(known) // 10) :]) if known else math.nan


def _said(name: str, found: Difference) -> list[str]:
    mean, size = found.interval, f"on {found.prompts} prompts"
    ends = f"[{100 * mean.low:+.1f}, {100 * mean.high:+.1f}]"
    head = f"  {name}: {100 * mean.value:+.1f} points {ends} {size}"
    counts = f" ({found.better} better, {found.worse} worse)"
    if found.is_evidence:
        return [head + counts]
    more = f"about {found.needed} prompts" if found.needed else "no number of prompts"
    return [
        f"{head}{counts}: no evidence of a difference",
        f"    {100 * found.detectable:.1f} points would be seen in 4 of 5 cases; what was seen"
        f" would take {more}",
    ]
