"""A reward model in one picture: what its margins promise against what was found, bin by bin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.report.plot import GREY, REWARD, drawing, interval_bars, saved


def plot_reward_model(report: Mapping[str, Any], path: Path) -> Path:
    """Draw the calibration of a reward model's report into a file and return its path."""
    with drawing() as plt:
        return _reward_model(report, path, plt)


def _reward_model(report: Mapping[str, Any], path: Path, plt: Any) -> Path:
    held_out = report["held_out"]
    bins = held_out["bins"]
    shares = [margins["accuracy"] for margins in bins]
    figure, axis = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
    axis.plot([0.5, 1], [0.5, 1], color=GREY, ls=":", lw=1, label="calibrated")
    axis.errorbar(
        [margins["expected"] for margins in bins],
        **interval_bars(shares),
        fmt="o-",
        color=REWARD,
        capsize=3,
        lw=1.5,
        label=f"held-out pairs, {bins[0]['n']} a bin",
    )
    axis.set_xlim(0.48, 1.02)
    axis.set_ylim(min(0.48, *(share["low"] for share in shares)) - 0.02, 1.02)
    axis.set_xlabel("accuracy that the margins promise, mean σ(|margin|)")
    axis.set_ylabel("share ordered rightly, 95 % interval")
    accuracy = held_out["accuracy"]
    axis.set_title(
        f"reward model: {accuracy['value']:.1%} of {held_out['n']} pairs right"
        f" [{accuracy['low']:.1%}, {accuracy['high']:.1%}]",
        fontsize=10,
        loc="left",
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    return saved(figure, path, plt)
