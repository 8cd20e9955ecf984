"""An evaluation as text for a terminal: figures before and after, and a few answers."""

import io
from collections.abc import Callable, Iterator

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmpolicy.evaluation.record import Evaluation, Example
from llmpolicy.statistics import Interval
from llmpolicy.terminal import columns, visible

Figure = Callable[[Evaluation], str]


WIDE = 105
"""Columns that the table takes with the difference beside the figures; in a narrower terminal it
stands below them.
"""


def table(evaluation: Evaluation, width: int | None = None) -> str:
    """The figures with their 95 % intervals, base beside policy, as a table in plain text that fits
    the terminal.
    """
    base = evaluation.base
    wide = (width or columns(120)) >= WIDE
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shown, headings = 2 + wide, ["policy"]
    if base:
        headings = ["base", "trained", "difference"][:shown]
    for heading in ["", *headings]:
        grid.add_column(heading, justify="left", no_wrap=True)
    for name, figure, difference in _figures(evaluation):
        cells = [figure(evaluation)]
        if base:
            cells = [figure(base), figure(evaluation), difference][:shown]
        grid.add_row(escape(visible(name)), *cells)
        if difference and not wide:
            grid.add_row("  difference", "", difference)
    page = io.StringIO()
    Console(file=page, width=120, color_system=None).print(grid)
    lines = [line.rstrip() for line in page.getvalue().splitlines()]
    return "\n".join([_title(evaluation), *lines, *_constant(evaluation)])


def examples(evaluation: Evaluation) -> str:
    """The first few questions with the greedy answers before and after."""
    before = evaluation.base.examples if evaluation.base else ()
    lines: list[str] = []
    for number, after in enumerate(evaluation.examples):
        lines.append(f"prompt:  {_short(after.prompt, end=True)}")
        if before:
            lines.append(f"  before {_mark(before[number])} {_short(before[number].completion)}")
        lines.append(f"  after  {_mark(after)} {_short(after.completion)}")
    return "\n".join(lines)


def _title(evaluation: Evaluation) -> str:
    decoding = evaluation.decoding
    return (
        f"{evaluation.n} held-out prompts, {decoding['samples']} samples each at temperature "
        f"{decoding['temperature']:g}, seed {evaluation.seed}; 95 % intervals"
    )


def _talk(evaluation: Evaluation) -> Iterator[tuple[str, Figure, str]]:
    """What dialogues had, and how they ended."""
    both = [each.talk for each in (evaluation, evaluation.base) if each and each.talk]
    yield "turns", lambda e: f"{e.talk.turns:.1f}" if e.talk else "", ""
    if any(talk.tool_calls for talk in both):
        yield "calls of tools", lambda e: f"{e.talk.tool_calls:.1f}" if e.talk else "", ""
    for end in sorted({end for talk in both for end in talk.ended}):

        def share(e: Evaluation, end: str = end) -> str:
            return _percent(e.talk.ended.get(end, 0.0)) if e.talk else ""

        yield f"  ended: {end}", share, ""


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, Figure, str]]:
    yield "greedy accuracy", lambda e: _interval(e.accuracy), _points(evaluation.paired_difference)
    yield (
        "sampled accuracy",
        lambda e: _interval(e.sampled_accuracy),
        _points(evaluation.paired_difference_sampled),
    )
    for k in evaluation.pass_at_k:
        if k != "1":  # the sampled accuracy, unless something could not be judged
            yield f"pass@{k}", lambda e, k=k: _percent(e.pass_at_k[k]), ""  # type: ignore[misc]
    if evaluation.mean_reward is not None:
        yield "mean reward", lambda e: _number(e.mean_reward), ""
    if len(evaluation.parts) > 1:
        for name in evaluation.parts:
            yield f"  {name}", lambda e, name=name: _number(e.parts[name]), ""  # type: ignore[misc]
    yield "cut off by the limit", lambda e: _percent(e.truncated), ""
    if evaluation.talk is not None:
        yield from _talk(evaluation)
    yield "mean length, tokens", lambda e: f"{e.mean_length:.1f}", ""
    if evaluation.kl_to_base is not None:
        yield "KL to base, nats a token", lambda e: _number(e.kl_to_base), ""
    if any(evaluation.unjudged.values()) or (
        evaluation.base and any(evaluation.base.unjudged.values())
    ):
        yield (
            "unjudged, greedy / sampled",
            lambda e: f"{e.unjudged['greedy']} / {e.unjudged['sampled']}",
            "",
        )


def _constant(evaluation: Evaluation) -> list[str]:
    if evaluation.best_constant is None:
        return []
    return [
        f"best constant answer {evaluation.best_constant_answer!r}:"
        f" {_percent(evaluation.best_constant)}"
    ]


def _interval(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return (
        f"{100 * interval.value:+.1f} points [{100 * interval.low:+.1f},"
        f" {100 * interval.high:+.1f}]"
    )


def _percent(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}"


def _mark(example: Example) -> str:
    return {True: "right   ", False: "wrong   ", None: "unjudged"}[example.right]


def _short(text: str, width: int = 100, *, end: bool = False) -> str:
    """One line of a text: its beginning, or its end, where a few-shot prompt has its question."""
    line = visible(" ".join(text.split()))
    if len(line) <= width:
        return line
    if end:
        return "..." + line[3 - width :]
    return line[: width - 3] + "..."
