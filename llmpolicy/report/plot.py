"""The run in one picture: reward with its parts, held-out accuracy, length, share of groups with a
signal.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.run import Run
from llmpolicy.terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REWARD, PARTS, TRUTH, GREY = (
    "#1b6ca8",
    ("#e08e45", "#5a9e6f", "#a06cd5", "#c44e52"),
    "#2a7f3f",
    "#9aa0a6",
)

DRIFT = {
    "kl": "KL to the reference, nats a token",
    "entropy": "entropy of the policy, nats a token",
}
"""What is drawn when it was measured: KL with beta above 0, and the entropy."""


@contextmanager
def drawing() -> Iterator[Any]:
    """Matplotlib's pyplot as it comes, whatever a matplotlibrc in the current folder says; no text
    is read as a formula.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.style.context("default"), plt.rc_context({"text.parse_math": False}):
        yield plt


def interval_bars(shares: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """What Matplotlib's ``errorbar`` takes for values with their intervals."""
    values, below, above = [], [], []
    for share in shares:
        values.append(share["value"])
        below.append(share["value"] - share["low"])
        above.append(share["high"] - share["value"])
    return {"y": values, "yerr": [below, above]}


def plot_run(run: Run) -> Path:
    """Draw the run's metrics into its plot.png and return the path."""
    with drawing() as plt:
        return _plot_run(run, plt)


def _plot_run(run: Run, plt: Any) -> Path:
    lines = [line for line in run.metrics("train") if "reward" in line]
    if run.recipe.get("reinforce"):
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
        _reward(axes[0], lines, "mean return of an update's episodes")
        if run.recipe.get("environment"):
            _episodes(axes[1], lines)
        else:
            _accuracy(axes[1], run)
    else:
        drift = [(key, title) for key, title in DRIFT.items() if _column(lines, key)[0]]
        rows = 3 if drift else 2
        figure, axes = plt.subplots(
            rows, 2, figsize=(10, 3.2 * rows), layout="constrained", squeeze=False
        )
        _reward(axes[0][0], lines, "reward of sampled completions, a step's mean")
        _accuracy(axes[0][1], run)
        _length(axes[1][0], lines)
        _signal(axes[1][1], lines)
        for axis, (key, title) in zip(axes[2:].flat, drift, strict=False):
            _line(axis, lines, key, title)
        if len(drift) == 1:
            axes[2][1].set_visible(False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.set_xlabel("step")
        axis.xaxis.get_major_locator().set_params(integer=True)
    name, seed = run.recipe.get("name", run.path.name), run.recipe.get("seed", 0)
    figure.suptitle(visible(f"{name}: seed {seed}"), fontsize=12)
    return saved(figure, run.plot_path, plt)


def saved(figure: Any, path: Path, plt: Any) -> Path:
    """Write a picture into its file, and forget it; returns the path."""
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _column(lines: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
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


def _reward(axis: "Axes", lines: Sequence[Mapping[str, Any]], title: str) -> None:
    _smoothed(axis, lines, "reward", label="reward")
    keys = sorted(set[str]().union(*lines))
    parts = [key for key in keys if key.startswith("rewards/") and key.endswith("/mean")]
    if len(parts) > 1:
        for key, colour in zip(parts, cycle(PARTS), strict=False):
            steps, values = _column(lines, key)
            axis.plot(
                steps, _smooth(values), color=colour, lw=1.2, label=visible(key.split("/")[1])
            )
        axis.legend(fontsize=8, frameon=False)
    axis.set_title(title, fontsize=10, loc="left")


def _accuracy(axis: "Axes", run: Run) -> None:
    steps, values = _column(run.metrics("eval"), "accuracy")
    if steps:
        axis.plot(
            steps, values, color=TRUTH, marker="o", ms=3, lw=1.5, label="during training (greedy)"
        )
    evaluation = run.evaluation() or {}
    last = max((line["step"] for line in run.metrics("train")), default=1)
    base = evaluation.get("base")
    for part, step, name, side in (
        (base, 0, "base", "left"),
        (evaluation, last, "trained", "right"),
    ):
        if part and part.get("accuracy"):
            axis.errorbar(
                [step],
                **interval_bars([part["accuracy"]]),
                fmt="s",
                capsize=4,
                color=TRUTH,
            )
            value = part["accuracy"]["value"]
            axis.annotate(
                f" {name} {value:.0%}",
                (step, value),
                fontsize=8,
                ha=side,
                va="bottom",
            )
    if evaluation.get("best_constant") is not None:
        axis.axhline(
            evaluation["best_constant"], color=GREY, ls=":", lw=1, label="best constant answer"
        )
    axis.set_ylim(-0.02, 1.02)
    axis.set_title("held-out accuracy, greedy, 95 % interval", fontsize=10, loc="left")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False, loc="lower right")


def _length(axis: "Axes", lines: Sequence[Mapping[str, Any]]) -> None:
    steps, values = _column(lines, "completions/mean_length")
    axis.plot(steps, values, color=REWARD, lw=1.5, label="mean length (tokens)")
    axis.set_ylim(bottom=0)
    steps, values = _column(lines, "completions/clipped_ratio")
    share = axis.twinx()
    share.plot(steps, values, color=PARTS[0], lw=1.2, label="share truncated")
    share.set_ylim(-0.02, 1.02)
    share.spines[["top"]].set_visible(False)
    axis.set_title("completion length (blue), share truncated (orange)", fontsize=10, loc="left")


def _signal(axis: "Axes", lines: Sequence[Mapping[str, Any]]) -> None:
    _smoothed(axis, lines, "advantages/live")
    axis.set_ylim(-0.02, 1.02)
    axis.set_title("share of groups with a signal (an advantage is not 0)", fontsize=10, loc="left")


def _line(axis: "Axes", lines: Sequence[Mapping[str, Any]], key: str, title: str) -> None:
    axis.set_ylim(bottom=min(0.0, *_smoothed(axis, lines, key)))
    axis.set_title(title, fontsize=10, loc="left")


def _smoothed(
    axis: "Axes", lines: Sequence[Mapping[str, Any]], key: str, **options: Any
) -> list[float]:
    """Draw a column as it is, faintly, and its trend; returns its values."""
    steps, values = _column(lines, key)
    axis.plot(steps, values, color=REWARD, alpha=0.25, lw=1)
    axis.plot(steps, _smooth(values), color=REWARD, lw=2, **options)
    return values


def _episodes(axis: "Axes", lines: Sequence[Mapping[str, Any]]) -> None:
    steps, values = _column(lines, "episode_length")
    axis.plot(steps, values, color=REWARD, lw=1.5)
    axis.set_title("mean episode length", fontsize=10, loc="left")
