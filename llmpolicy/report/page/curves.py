"""The curves of a run as a page draws them: each figure over the steps, on one axis."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from llmpolicy.diagnosis import Evidence
from llmpolicy.diagnosis.evidence import number_of
from llmpolicy.diagnosis.signal import kind_of
from llmpolicy.statistics import wilson

MOST_POINTS = 2_000
"""How many points a curve has; of more steps every second, third ... is drawn, and the last."""

Chart = dict[str, Any]
Values = Sequence[float | None]

KINDS = {
    "mixed": "mixed: a signal",
    "all_right": "all paid most",
    "all_wrong": "all paid least",
    "all_equal": "all paid alike",
    "no_exploration": "all say the same",
    "unjudged": "not judged",
}
"""What each kind of group is called on a page."""


def charts_of(run: Evidence) -> list[Chart]:
    """All charts for which a run has figures, in the order in which they are read."""
    steps, columns = _thinned(run)
    made = [
        _chart("reward", "Reward of sampled completions", steps, _reward(columns), band=None),
        _truth(run),
        _passes(run),
        _chart("length", "Tokens of a completion", steps, _named(columns, _LENGTH)),
        _chart("cut", "Share cut off by the limit", steps, _named(columns, _CUT), most=1),
        _signal(run),
        _chart("entropy", "Entropy, nats a token", steps, _named(columns, _ENTROPY)),
        _chart("kl", "KL to the reference, nats a token", steps, _named(columns, _KL)),
        _chart("gradient", "Length of the gradient", steps, _named(columns, _GRADIENT)),
        _chart("rate", "Learning rate", steps, _named(columns, _RATE)),
        _chart("seconds", "Seconds of a step", steps, _named(columns, _SECONDS)),
    ]
    return [chart for chart in made if chart and chart["series"]]


_CUT = {"completions/clipped_ratio": "cut off"}
_ENTROPY = {"entropy": "entropy", "entropy/live": "in groups with a signal"}
_KL = {"kl": "KL"}
_GRADIENT = {"grad_norm": "before clipping"}
_RATE = {"learning_rate": "learning rate"}
_LENGTH = {
    "completions/mean_length": "mean",
    "completions/min_length": "shortest",
    "completions/max_length": "longest",
}
_SECONDS = {
    "step_time": "whole step",
    "seconds/generation": "writing",
    "seconds/rewards": "waiting for rewards",
}


def _thinned(run: Evidence) -> tuple[list[int], dict[str, Values]]:
    """The steps that are drawn, and every figure of theirs."""
    lines = list(run.steps)
    every = max(1, ceil(len(lines) / MOST_POINTS))
    drawn = lines[:: every or 1]
    if lines and drawn[-1] is not lines[-1]:
        drawn.append(lines[-1])
    names = dict.fromkeys(name for line in drawn for name in line)
    columns = {name: [number_of(line.get(name)) for line in drawn] for name in names}
    return [int(line["step"]) for line in drawn], {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values)
    }


def _chart(
    name: str, title: str, steps: Sequence[int], series: Iterable[Any], **more: Any
) -> Chart:
    return {"name": name, "title": title, "steps": list(steps), "series": list(series), **more}


def _line(label: str, values: Values, **more: Any) -> dict[str, Any]:
    return {"label": label, "values": values, **more}


def _named(columns: Mapping[str, Values], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_line(label, columns[key]) for key, label in names.items() if key in columns]


def _reward(columns: Mapping[str, Values]) -> Iterator[dict[str, Any]]:
    """The reward, and its parts where there are several."""
    if "reward" in columns:
        yield _line("reward", columns["reward"])
    means = [key for key in columns if key.startswith("rewards/") and key.endswith("/mean")]
    if len(means) > 1:
        for key in sorted(means):
            yield _line(key.split("/")[1], columns[key])


def _truth(run: Evidence) -> Chart | None:
    """Held-out accuracy with its interval: before, while it was trained, and after."""
    asked = int(number_of((run.recipe.get("evaluate") or {}).get("n")) or 0)
    points: dict[int, dict[str, float]] = {}
    for look in run.looks:
        accuracy = number_of(look.get("accuracy"))
        if accuracy is not None:
            points[int(look["step"])] = _interval(accuracy, asked)
    ends = run.evaluation or {}
    for step, measured in ((0, ends.get("base") or {}), (run.last_step, ends)):
        if isinstance(accuracy := measured.get("accuracy"), Mapping):
            points[step] = {name: accuracy[name] for name in ("value", "low", "high")}
    if not points:
        return None
    steps = sorted(points)
    values = {name: [points[step][name] for step in steps] for name in ("value", "low", "high")}
    line = _line("accuracy, greedy", values["value"], points=True)
    line |= {"low": values["low"], "high": values["high"]}
    more = [_look(run, steps, name) for name in ("proxy", "truth")]
    series = [line, *filter(None, more)]
    title = "Held-out accuracy with its 95 % interval"
    return _chart("truth", title, steps, series, most=1)


def _passes(run: Evidence) -> Chart | None:
    """The share of held-out prompts that k samples solve, before and after."""
    ends = run.evaluation or {}
    after, before = ends.get("pass_at_k"), (ends.get("base") or {}).get("pass_at_k")
    if not isinstance(after, Mapping) or len(after) < 2:
        return None
    series = [_line("after", [number_of(share) for share in after.values()], points=True)]
    if isinstance(before, Mapping) and list(before) == list(after):
        values = [number_of(share) for share in before.values()]
        series.append(_line("before", values, points=True))
    title = "Held-out prompts that k samples solve (pass@k)"
    return _chart("passes", title, list(map(int, after)), series, most=1, over="k")


def _interval(share: float, n: int) -> dict[str, float]:
    if not n:
        return {"value": share, "low": share, "high": share}
    found = wilson(round(share * n), n)
    return {"value": share, "low": found.low, "high": found.high}


def _look(run: Evidence, steps: Sequence[int], name: str) -> dict[str, Any] | None:
    """What proxy or truth said while training, where it was asked."""
    at = {int(look["step"]): number_of(look.get(name)) for look in run.looks}
    values = [at.get(step) for step in steps]
    return _line(name, values, points=True) if any(v is not None for v in values) else None


def _signal(run: Evidence) -> Chart | None:
    """The shares of groups with a signal, and of those without one by their kind."""
    kinds: dict[int, Counter[str]] = defaultdict(Counter)
    for group in run.groups:
        kinds[group[0].step][kind_of(group, run)] += 1
    if not kinds:
        return None
    every = max(1, ceil(len(kinds) / MOST_POINTS))
    steps = sorted(kinds)[::every]
    series = []
    for kind, label in KINDS.items():
        shares = [kinds[step][kind] / kinds[step].total() for step in steps]
        if any(shares):
            series.append(_line(label, shares))
    return _chart("signal", "Groups by what they teach", steps, series, stacked=True, most=1)
