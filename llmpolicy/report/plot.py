"""Pictures: of a run, of how much its reward model promises, and of reward and truth as a policy
moves away from its start.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, cycle
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.run import Run
from llmpolicy.terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REWARD, TRUTH, GREY = "#1b6ca8", "#2a7f3f", "#9aa0a6"
PARTS = ("#e08e45", "#5a9e6f", "#a06cd5", "#c44e52")

DRIFT = {
    "kl": "KL to the reference, nats a token",
    "entropy": "entropy of the policy, nats a token",
}
"""What is drawn when it was measured: KL with beta above 0, and the entropy."""

Lines = Sequence[Mapping[str, Any]]


@contextmanager
def drawing(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """A figure and its axes, written into a file in the end: as Matplotlib draws by itself,
    whatever a matplotlibrc in the current folder says, and no text is read as a formula.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.style.context("default"), plt.rc_context({"text.parse_math": False}):
        figure, axes = plt.subplots(
            rows, columns, figsize=size, layout="constrained", squeeze=False
        )
        yield figure, axes
        figure.savefig(path, dpi=120)
        plt.close(figure)


def _interval_bars(shares: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """What Matplotlib's ``errorbar`` takes for values with their intervals."""
    values, below, above = [], [], []
    for share in shares:
        values.append(share["value"])
        below.append(share["value"] - share["low"])
        above.append(share["high"] - share["value"])
    return {"y": values, "yerr": [below, above]}


def _tidy(axis: "Axes") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def _by_step(axis: Any) -> None:
    axis.set_xlabel("step")
    axis.xaxis.get_major_locator().set_params(integer=True)


def _title(axis: "Axes", text: str) -> None:
    axis.set_title(text, fontsize=10, loc="left")


# A run


def plot_run(run: Run) -> Path:
    """Draw the run's metrics into its plot.png and return the path."""
    lines = [line for line in run.metrics("train") if "reward" in line]
    drift = [key for key in DRIFT if _column(lines, key)[0]]
    rows, size = 2 + bool(drift), (10, 3.2 * (2 + bool(drift)))
    if loop := run.recipe.get("reinforce"):
        rows, size = 1, (10, 3.4)
    with drawing(run.plot_path, rows, 2, size) as (figure, axes):
        if loop:
            _loop(axes[0], run, lines)
        else:
            _grpo(axes, run, lines, drift)
        for axis in axes.flat:
            _tidy(axis)
            _by_step(axis)
        name, seed = run.recipe.get("name", run.path.name), run.recipe.get("seed", 0)
        figure.suptitle(visible(f"{name}: seed {seed}"), fontsize=12)
    return run.plot_path


def _loop(axes: Any, run: Run, lines: Lines) -> None:
    _reward(axes[0], lines, "mean return of an update's episodes")
    if run.recipe.get("environment"):
        axes[1].plot(*_column(lines, "episode_length"), color=REWARD, lw=1.5)
        _title(axes[1], "mean episode length")
    else:
        _accuracy(axes[1], run)


def _grpo(axes: Any, run: Run, lines: Lines, drift: Sequence[str]) -> None:
    _reward(axes[0][0], lines, "reward of sampled completions, a step's mean")
    _accuracy(axes[0][1], run)
    _length(axes[1][0], lines)
    _smoothed(axes[1][1], lines, "advantages/live")
    axes[1][1].set_ylim(-0.02, 1.02)
    _title(axes[1][1], "share of groups with a signal (an advantage is not 0)")
    for axis, key in zip(axes[2:].flat, drift, strict=False):
        axis.set_ylim(bottom=min(0.0, *_smoothed(axis, lines, key)))
        _title(axis, DRIFT[key])
    if len(drift) == 1:
        axes[2][1].set_visible(False)


def _column(lines: Lines, key: str) -> tuple[list[int], list[float]]:
    steps, values = [], []
    for line in lines:
        value = line.get(key)
        if value is not None and math.isfinite(value):
            steps.append(line["step"])
            values.append(value)
    return steps, values


def _smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean over about a tenth of the run, so that the trend is seen through the
    noise.
    """
    keep = 1 - 1 / max(len(values) / 20, 1)
    return list(accumulate(values, lambda mean, value: keep * mean + (1 - keep) * value))


def _smoothed(axis: "Axes", lines: Lines, key: str, **options: Any) -> list[float]:
    """Draw a column as it is, faintly, and its trend; returns its values."""
    steps, values = _column(lines, key)
    axis.plot(steps, values, color=REWARD, alpha=0.25, lw=1)
    axis.plot(steps, _smooth(values), color=REWARD, lw=2, **options)
    return values


def _reward(axis: "Axes", lines: Lines, title: str) -> None:
    _smoothed(axis, lines, "reward", label="reward")
    keys = sorted(set[str]().union(*lines))
    parts = [key for key in keys if key.startswith("rewards/") and key.endswith("/mean")]
    if len(parts) > 1:
        for key, colour in zip(parts, cycle(PARTS), strict=False):
            steps, values = _column(lines, key)
            name = visible(key.split("/")[1])
            axis.plot(steps, _smooth(values), color=colour, lw=1.2, label=name)
        axis.legend(fontsize=8, frameon=False)
    _title(axis, title)


def _accuracy(axis: "Axes", run: Run) -> None:
    steps, values = _column(run.metrics("eval"), "accuracy")
    if steps:
        axis.plot(
            steps, values, color=TRUTH, marker="o", ms=3, lw=1.5, label="during training (greedy)"
        )
    evaluation = run.evaluation() or {}
    last = max((line["step"] for line in run.metrics("train")), default=1)
    for part, step, name, side in (
        (evaluation.get("base"), 0, "base", "left"),
        (evaluation, last, "trained", "right"),
    ):
        if part and (accuracy := part.get("accuracy")):
            axis.errorbar([step], **_interval_bars([accuracy]), fmt="s", capsize=4, color=TRUTH)
            value = accuracy["value"]
            axis.annotate(f" {name} {value:.0%}", (step, value), fontsize=8, ha=side, va="bottom")
    if (best := evaluation.get("best_constant")) is not None:
        axis.axhline(best, color=GREY, ls=":", lw=1, label="best constant answer")
    axis.set_ylim(-0.02, 1.02)
    _title(axis, "held-out accuracy, greedy, 95 % interval")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False, loc="lower right")


def _length(axis: "Axes", lines: Lines) -> None:
    length = _column(lines, "completions/mean_length")
    axis.plot(*length, color=REWARD, lw=1.5, label="mean length (tokens)")
    axis.set_ylim(bottom=0)
    share = axis.twinx()
    cut = _column(lines, "completions/clipped_ratio")
    share.plot(*cut, color=PARTS[0], lw=1.2, label="share truncated")
    share.set_ylim(-0.02, 1.02)
    share.spines[["top"]].set_visible(False)
    _title(axis, "completion length (blue), share truncated (orange)")


# A reward model


def plot_reward_model(report: Mapping[str, Any], path: Path) -> Path:
    """Draw the calibration of a reward model's report into a file and return its path."""
    held_out = report["held_out"]
    bins, accuracy = held_out["bins"], held_out["accuracy"]
    expected, shares = [], []
    for margins in bins:
        expected.append(margins["expected"])
        shares.append(margins["accuracy"])
    with drawing(path, 1, 1, (5.2, 4.6)) as (_, ((axis,),)):
        axis.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1, label="calibrated")
        label = f"held-out pairs, {bins[0]['n']} a bin"
        style = {"fmt": "o-", "color": REWARD, "capsize": 3, "lw": 1.5}
        axis.errorbar(expected, **_interval_bars(shares), **style, label=label)
        axis.set_xlim(0.48, 1.02)
        axis.set_ylim(min(0.48, *map(itemgetter("low"), shares)) - 0.02, 1.02)
        axis.set_xlabel("accuracy that the margins promise, mean σ(|margin|)")
        axis.set_ylabel("share ordered rightly, 95 % interval")
        _title(
            axis,
            f"reward model: {accuracy['value']:.1%} of {held_out['n']} pairs right"
            f" [{accuracy['low']:.1%}, {accuracy['high']:.1%}]",
        )
        _tidy(axis)
        axis.legend(fontsize=8, frameon=False, loc="lower right")
    return path


# Reward and truth


def plot_curve(run: Run) -> Path:
    """Draw the looks of a run with ``evaluate.curve`` against the KL to the start and against the
    step; return the path.
    """
    looks = [line for line in run.metrics("eval") if line.get("kl") is not None]
    kept = (run.manifest.get("best") or {}).get("step")
    beta = (run.recipe.get("grpo") or {}).get("beta") or 0.0
    title = f"{run.recipe.get('name')}: reward and truth on held-out prompts, beta {beta:g}"
    with drawing(run.curve_path, 1, 2, (11, 4.2)) as (figure, ((by_kl, by_step),)):
        right = _curve(by_kl, looks, [max(line["kl"], 0.0) for line in looks], kept)
        by_kl.set_xscale("function", functions=(lambda x: abs(x) ** 0.5, lambda x: x**2))
        by_kl.set_xlim(left=0)
        by_kl.set_xlabel("KL to the start, nats a completion (root scale)")
        _curve(by_step, looks, [line["step"] for line in looks], kept)
        _by_step(by_step)
        handles, labels = by_kl.get_legend_handles_labels()
        more, names = right.get_legend_handles_labels()
        below = {"loc": "outside lower center", "ncols": 4}
        figure.legend(handles + more, labels + names, **below, frameon=False, fontsize=9)
        figure.suptitle(visible(title), fontsize=12)
    return run.curve_path


def _curve(axis: "Axes", looks: Lines, xs: Sequence[float], kept: int | None) -> "Axes":
    """Truth on the left axis with its interval, proxy on the right one, which is returned, and a
    line at the step that is kept.
    """
    judged, shares, kept_at, accuracy, proxy = [], [], [], [], []
    for x, line in zip(xs, looks, strict=True):
        accuracy.append(line["accuracy"])
        proxy.append(line["proxy"])
        if line.get("preferred"):
            judged.append(x)
            shares.append(line["preferred"])
        if line["step"] == kept:
            kept_at.append(x)
    axis.axhline(0.5, color=GREY, ls=":", lw=1)
    thick: dict[str, Any] = {"ms": 4, "lw": 1.8}
    label = "truth: preferred to the start's reply"
    bars = _interval_bars(shares)
    axis.errorbar(judged, **bars, color=TRUTH, marker="o", elinewidth=0.8, label=label, **thick)
    axis.plot(xs, accuracy, color=TRUTH, ls="--", lw=1, label="truth: greedy accuracy")
    axis.set_ylim(-0.02, 1.02)
    axis.set_ylabel("truth (share of prompts)", color=TRUTH)
    right = axis.twinx()
    right.plot(xs, proxy, color=REWARD, marker="s", label="proxy: mean reward", **thick)
    right.set_ylabel("proxy (reward that is trained on)", color=REWARD)
    for side in (axis, right):
        side.spines["top"].set_visible(False)
    if kept_at:
        label = f"kept: step {kept}, highest greedy accuracy"
        axis.axvline(kept_at[0], color=PARTS[0], lw=1.5, alpha=0.8, label=label)
    axis.grid(alpha=0.2)
    return right
