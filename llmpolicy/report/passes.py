"""Accuracy and pass@k of an evaluation as bars for a terminal, before and after training."""

from collections.abc import Iterator, Mapping
from typing import Any

from llmpolicy.diagnosis.evidence import number_of
from llmpolicy.report.groups import WIDTH
from llmpolicy.terminal import columns

LABEL, FIGURE = 10, 9
"""Columns of a name and of a share."""


def passes(evaluation: Mapping[str, Any]) -> str:
    """The share of held-out prompts that are right greedily and within k samples, as bars side by
    side; empty where there are none.
    """
    before = evaluation.get("base")
    sides = [side for side in (before, evaluation) if isinstance(side, Mapping)]
    rows = [(name, [_share(side, name) for side in sides]) for name in _names(evaluation)]
    if not rows:
        return ""
    room = min(columns() or WIDTH, WIDTH) - LABEL
    bar = room // len(sides) - FIGURE - 2
    heads = ["base", "trained"] if len(sides) > 1 else ["policy"]
    lines = [
        f"{evaluation.get('n', '?')} held-out prompts",
        " " * LABEL + "".join(f"{head:<{FIGURE + bar + 2}}" for head in heads).rstrip(),
    ]
    for name, shares in rows:
        cells = [f"{_percent(share):>{FIGURE - 1}} {_bar(share, bar)}  " for share in shares]
        lines.append(f"{name:<{LABEL}}" + "".join(cells).rstrip())
    return "\n".join(lines)


def _names(evaluation: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(evaluation.get("accuracy"), Mapping):
        yield "greedy"
    curve = evaluation.get("pass_at_k")
    for k in curve if isinstance(curve, Mapping) else ():
        yield f"pass@{k}"


def _share(side: Mapping[str, Any], name: str) -> float | None:
    if name == "greedy":
        interval = side.get("accuracy")
        return number_of(interval.get("value")) if isinstance(interval, Mapping) else None
    curve = side.get("pass_at_k")
    return number_of(curve.get(name[5:])) if isinstance(curve, Mapping) else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _bar(share: float | None, width: int) -> str:
    filled = round(min(max(share or 0.0, 0.0), 1.0) * width)
    return "#" * filled + "." * (width - filled)
