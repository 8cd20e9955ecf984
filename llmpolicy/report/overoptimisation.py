"""Reward and truth as a policy moves away from its start, in one picture, with the step that is
kept.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.report.plot import GREY, PARTS, REWARD, TRUTH, drawing, interval_bars, saved
from llmpolicy.run import Run
from llmpolicy.terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT = PARTS[0]


def plot_curve(run: Run) -> Path:
    """Draw the looks of a run with ``evaluate.curve`` against the KL to the start and against the
    step; return the path.
    """
    with drawing() as plt:
        return _plot_curve(run, plt)


def _plot_curve(run: Run, plt: Any) -> Path:
    looks = [line for line in run.metrics("eval") if line.get("kl") is not None]
    kept = (run.manifest.get("best") or {}).get("step")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _curve(axes[0], looks, [max(line["kl"], 0.0) for line in looks], kept)
    axes[0].set_xscale("function", functions=(_root, _square))
    axes[0].set_xlim(left=0)
    axes[0].set_xlabel("KL to the start, nats a completion (root scale)")
    _curve(axes[1], looks, [line["step"] for line in looks], kept)
    axes[1].set_xlabel("step")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    figure.legend(
        *_handles(axes[0]), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    beta = (run.recipe.get("grpo") or {}).get("beta") or 0.0
    figure.suptitle(
        visible(f"{run.recipe.get('name')}: reward and truth on held-out prompts, beta {beta:g}"),
        fontsize=12,
    )
    return saved(figure, run.curve_path, plt)


def _root(x: Any) -> Any:
    return abs(x) ** 0.5


def _square(x: Any) -> Any:
    return x**2


def _curve(axis: "Axes", looks: list[dict[str, Any]], xs: list[float], kept: int | None) -> None:
    """Truth on the left axis with its interval, proxy on the right one, and a line at the step that
    is kept.
    """
    judged, shares, kept_at = [], [], []
    for x, line in zip(xs, looks, strict=True):
        if line.get("preferred"):
            judged.append(x)
            shares.append(line["preferred"])
        if line["step"] == kept:
            kept_at.append(x)
    axis.axhline(0.5, color=GREY, ls=":", lw=1)
    axis.errorbar(
        judged,
        **interval_bars(shares),
        color=TRUTH,
        marker="o",
        ms=4,
        lw=1.8,
        elinewidth=0.8,
        label="truth: preferred to the start's reply",
    )
    axis.plot(
        xs,
        [line["accuracy"] for line in looks],
        color=TRUTH,
        ls="--",
        lw=1,
        label="truth: greedy accuracy",
    )
    axis.set_ylim(-0.02, 1.02)
    axis.set_ylabel("truth (share of prompts)", color=TRUTH)
    right = axis.twinx()
    right.plot(
        xs,
        [line["proxy"] for line in looks],
        color=REWARD,
        marker="s",
        ms=4,
        lw=1.8,
        label="proxy: mean reward",
    )
    right.set_ylabel("proxy (reward that is trained on)", color=REWARD)
    for side in (axis, right):
        side.spines["top"].set_visible(False)
    if kept_at:
        axis.axvline(
            kept_at[0],
            color=KEPT,
            lw=1.5,
            alpha=0.8,
            label=f"kept: step {kept}, highest greedy accuracy",
        )
    axis.grid(alpha=0.2)


def _handles(axis: "Axes") -> tuple[list[Any], list[Any]]:
    handles: list[Any] = []
    labels: list[Any] = []
    for twin in axis.figure.axes:
        if twin.bbox.bounds == axis.bbox.bounds:
            its_handles, its_labels = twin.get_legend_handles_labels()
            handles += its_handles
            labels += its_labels
    return handles, labels
