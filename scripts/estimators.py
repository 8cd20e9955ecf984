"""docs/estimators.md and docs/choices.md from their receipts: ``python scripts/estimators.py``
writes their tables anew, and draws their picture.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from scripts import bias_variance
from scripts.marked import replaced, table

ROOT = Path(__file__).resolve().parent.parent
RECEIPT, PAGE = ROOT / "receipts" / "estimators.json", ROOT / "docs" / "estimators.md"
CHOICES, CHOICES_PAGE = ROOT / "receipts" / "choices.json", ROOT / "docs" / "choices.md"
Cell = Mapping[str, float]
Figure = Mapping[str, Any]


def tables(figure: Figure) -> dict[str, str]:
    """The page's tables by name."""
    on_policy = figure["on_policy"]
    return {
        "exact": _exact(figure["exact"]),
        "direction": _by_size(on_policy, lambda cell: f"{_turned(cell)} ({cell['variance']:.2f})"),
        "hard": _hard(figure),
        "later": _later(figure["later"]),
        "applied": _applied(figure["applied"]),
    }


def written(page: str, figure: Figure) -> str:
    """The page with what stands between its marks replaced by the receipt's tables."""
    return replaced(page, tables(figure), "docs/estimators.md")


def chosen(page: str, figure: Figure) -> str:
    """docs/choices.md with its receipt's tables."""
    made = {
        part: _by_size(figure[part], lambda cell: f"{_turned(cell)} ({cell['variance']:.2f})")
        for part in ("dialogues", "prompts", "replay")
    }
    return replaced(page, made, "docs/choices.md")


def _turned(cell: Cell) -> str:
    """The part across ∇J, or that none was found above the noise."""
    if cell["scale"] < 0:
        return f"against (cos {cell['cosine']:.2f})"
    found = cell["turned"] > 2 * cell["noise"] and cell["turned"] >= 0.005
    return f"{cell['turned']:.2f}" if found else f"0 ± {cell['noise']:.2f}"


def _by_size(cells_of: Mapping[str, Mapping[str, Cell]], say: Any) -> str:
    sizes = list(next(iter(cells_of.values())))
    rows = [
        [name, *(say(cells[size]) if size in cells else "–" for size in sizes)]
        for name, cells in cells_of.items()
    ]
    return table(["estimator", *(f"G = {size}" for size in sizes)], rows)


def _exact(policies: Mapping[str, Any]) -> str:
    rows = [
        [name, str(row["parameters"]), *(_two(row[of]) for of in ("value", "entropy", "length"))]
        for name, row in policies.items()
    ]
    return table(["policy", "parameters", "J of its prompts", "entropy, nats", "length"], rows)


def _two(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _hard(figure: Figure) -> str:
    rows = []
    for name, cells in figure["hard"].items():
        even, hard = figure["on_policy"][name]["8"], cells["8"]
        rows.append([name, f"{even['scale']:.2f}", f"{hard['scale']:.2f}", _turned(hard)])
    return table(["estimator, G = 8", "scale, even", "scale, hard", "turned, hard"], rows)


def _later(moves: Mapping[str, Any]) -> str:
    head = ["loss, G = 8", *(f"KL {_three(move['kl'])}" for move in moves.values())]
    names = next(iter(moves.values()))["cells"]
    rows = [[name, *(_pair(move["cells"][name]) for move in moves.values())] for name in names]
    return table(head, rows)


def _three(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _pair(cell: Cell) -> str:
    return f"{cell['cosine']:.2f} ({cell['variance']:.1f})"


def _applied(rows: Mapping[str, Cell]) -> str:
    cells = [[name, f"{row['off']:.0e}", f"{row['cosine']:.3f}"] for name, row in rows.items()]
    return table(["trainer, one step", "from the estimate", "cosine to ∇J"], cells)


def main() -> None:
    """Both pages and the picture."""
    figure, choices = (read_json(path)["figure"] for path in (RECEIPT, CHOICES))
    for page, write, of in ((PAGE, written, figure), (CHOICES_PAGE, chosen, choices)):
        page.write_text(write(page.read_text(encoding="utf-8"), of), encoding="utf-8")
    bias_variance.draw(bias_variance.points(figure["on_policy"], choices))


if __name__ == "__main__":
    main()
