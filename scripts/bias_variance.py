"""The picture of docs/estimators.md: bias against variance of every estimator, from the receipts;
``python scripts/estimators.py`` draws it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "estimators.svg"
SIZE = "8"
"""Completions of a group."""
STYLE: Any = {"svg.hashsalt": "estimators", "svg.fonttype": "none"}
LEAST = 0.01
"""What is less turned stands at the foot of the picture: it is within the noise."""


@dataclass(frozen=True)
class Family:
    """Estimators of one table, in one colour; ``unit`` is the one whose variance is 1, and
    ``names`` is how those of the table begin that belong here.
    """

    label: str
    colour: str
    unit: str
    names: tuple[str, ...] | None = None


MEANS = ("mean over", "GRPO", "DAPO", "BNPO", "GSPO", "LUSPO", "CISPO", "SAPO", "VESPO")
GROUP = "Dr.GRPO: mean of the group"
FAMILIES = {
    "advantages": Family("advantage", "#1b6ca8", GROUP),
    "means": Family("loss, its mean", "#e08e45", GROUP, MEANS),
    "left": Family("what is left out", "#c44e52", GROUP, ("cut", "dead", "PODS")),
    "dialogues": Family("dialogues of two turns", "#2a7f3f", "whole dialogue, mean of the group"),
    "prompts": Family("choice of prompts", "#a06cd5", "two prompts at random"),
    "replay": Family("replay", "#5f6368", "fresh groups only"),
}


@dataclass(frozen=True)
class Point:
    """An estimator: how far it is turned, and its variance in units of its family's."""

    name: str
    family: str
    turned: float
    variance: float


def points(on_policy: Mapping[str, Any], choices: Mapping[str, Any]) -> list[Point]:
    """Every estimator of both receipts, at groups of 8."""
    found = []
    for family, of in FAMILIES.items():
        cells = choices.get(family, on_policy)
        for name, sizes in cells.items():
            if SIZE in sizes and (family in choices or _family(name) == family):
                cell, unit = sizes[SIZE], cells[of.unit][SIZE]["variance"]
                turned = cell["turned"] if cell["turned"] > 2 * cell["noise"] else 0.0
                found.append(Point(name, family, turned, cell["variance"] / unit))
    return found


def _family(name: str) -> str:
    """Of an estimator on policy."""
    for family in ("means", "left"):
        if name.startswith(FAMILIES[family].names or ()):
            return family
    return "advantages"


def draw(found: list[Point], path: Path = PICTURE) -> None:
    """Both axes are logarithms; points are numbered, and their names stand beside the picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.style.context("default"), plt.rc_context(STYLE):
        figure, (axis, beside) = plt.subplots(
            1, 2, figsize=(9, 6), width_ratios=[3, 1], layout="constrained"
        )
        axis.set(
            xscale="log",
            yscale="log",
            xlabel="variance of a group of 8, relative to the group's mean as baseline",
            ylabel="turned away from ∇J (at the foot: within the noise)",
        )
        _scatter(axis, found)
        _key(beside, found)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
        plt.close(figure)


def _scatter(axis: Any, found: list[Point]) -> None:
    for point in found:
        axis.scatter(*_place(point), s=20, c=FAMILIES[point.family].colour)
    for place, numbers in _labels(found).items():
        at_the_foot = place[1] == LEAST  # where there are many
        axis.annotate(
            numbers,
            place,
            xytext=(-3, 6) if at_the_foot else (4, 3),
            textcoords="offset points",
            fontsize=7,
            rotation=90 if at_the_foot else 0,
        )
    axis.set_xticks([0.25, 0.5, 1, 2, 4], labels=["¼", "½", "1", "2", "4"])
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)


def _key(axis: Any, found: list[Point]) -> None:
    """The names by number, in the colours of their families."""
    axis.axis("off")
    lines = []
    for key, family in FAMILIES.items():
        lines.append((family.label, family.colour, "bold"))
        for number, point in enumerate(found, start=1):
            if point.family == key:
                lines.append((f"{number}  {point.name}", family.colour, "normal"))
    for line, (text, colour, weight) in enumerate(lines):
        y = 1 - line / len(lines)
        axis.text(0, y, text, fontsize=7, color=colour, weight=weight, transform=axis.transAxes)


def _place(point: Point) -> tuple[float, float]:
    return point.variance, max(point.turned, LEAST)


def _labels(found: list[Point]) -> dict[tuple[float, float], str]:
    """The numbers beside each place, where points lie within a hair of each other once."""
    places: dict[tuple[float, float], list[str]] = {}
    for number, point in enumerate(found, start=1):
        at = _place(point)
        near = [place for place in places if _near(place, at)]
        places.setdefault(near[0] if near else at, []).append(str(number))
    return {place: " ".join(numbers) for place, numbers in places.items()}


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a / b - 1) < 0.05 for a, b in zip(one, other, strict=True))
