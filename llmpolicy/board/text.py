"""The board in a terminal and as a plot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmpolicy.board.results import AGAINST, Board, Standing, differs
from llmpolicy.report.plot import GREY, drawing
from llmpolicy.statistics import Interval


def lines(board: Board) -> Iterator[str]:
    """The board as a table a problem; what is never reached says so."""
    for problem, rows in board.standings.items():
        about = rows[0].results[0].problem
        yield (
            f"{problem}: {about.target:.0%} of {about.prompts} held-out prompts"
            f" (recipe {about.recipe})"
        )
        yield (
            f"  {'row':<14} {'reached':>7}  {'seconds':<20} {'tokens':>9} {'TFLOP':>7}"
            f"  than {AGAINST}"
        )
        for row in rows:
            yield "  " + _line(row, board.against(problem, row))


def _line(row: Standing, ratio: Interval | None) -> str:
    seeds = f"{row.reached} of {len(row.results)}"
    return (
        f"{row.name:<14} {seeds:>7}  {_seconds(row):<20} {_tokens(row):>9} {_work(row):>7}"
        f"  {_than(row, ratio)}"
    ).rstrip()


def _seconds(row: Standing) -> str:
    found = row.figures("seconds")
    if found["low"] is None:
        return "never"
    middle, low, high = (_or_never(found[name]) for name in ("median", "low", "high"))
    return f"{middle} ({low} to {high})"


def _or_never(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def _tokens(row: Standing) -> str:
    tokens = row.figures("tokens")["median"]
    return "" if tokens is None else f"{tokens:,.0f}"


def _work(row: Standing) -> str:
    flops = row.figures("matrix_work")["median"]
    return "" if flops is None else f"{flops / 1e12:,.3g}"


def _than(row: Standing, ratio: Interval | None) -> str:
    if row.name == AGAINST:
        return ""
    if ratio is None:
        return "not to be compared"
    if not differs(ratio):
        return f"no difference ({ratio.low:.2f} to {ratio.high:.2f} times)"
    if ratio.value < 1:
        return f"{1 / ratio.value:.1f} times later ({1 / ratio.high:.1f} to {1 / ratio.low:.1f})"
    return f"{ratio.value:.1f} times sooner ({ratio.low:.1f} to {ratio.high:.1f})"


def plot_board(board: Board, file: Path) -> None:
    """Accuracy over seconds of training, a panel a problem, a line a seed; up to the last that saw
    the target.
    """
    panels = list(board.standings.items())
    names = sorted({result.row for result in board.results})
    with drawing(file, len(panels), 1, (7, 3.4 * len(panels))) as (_, axes):
        for axis, (problem, rows) in zip(axes[:, 0], panels, strict=True):
            _draw(axis, rows, names)
            about = rows[0].results[0].problem
            axis.set(ylim=(0, 1), xlim=(0, _end(rows)), xlabel="seconds of training")
            axis.set_ylabel(f"{problem}: held out, target {about.target:.0%}")
            axis.legend(fontsize=8, loc="lower right")


def _draw(axis: Any, rows: list[Standing], names: list[str]) -> None:
    target = rows[0].results[0].problem.target
    axis.axhline(target, color=GREY, linewidth=0.8, linestyle="--")
    for row in rows:
        for index, result in enumerate(row.results):
            seconds = [look.seconds for look in result.looks]
            accuracy = [look.accuracy for look in result.looks]
            how = {"color": f"C{names.index(row.name)}", "label": None if index else row.name}
            axis.plot(seconds, accuracy, linewidth=1, **how)
            if result.reached:
                axis.plot(seconds[-1:], accuracy[-1:], "o", markersize=4, color=how["color"])


def _end(rows: list[Standing]) -> float:
    results = [result for row in rows for result in row.results]
    reached = [result.last.seconds for result in results if result.reached]
    return 1.1 * max(reached or [result.last.seconds for result in results])
