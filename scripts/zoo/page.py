"""docs/models.md from the receipt: what is served by which path, what is refused and why, and two
lists that must be empty.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json

ROOT = Path(__file__).resolve().parent.parent.parent
RECEIPT, PAGE = ROOT / "receipts" / "zoo.json", ROOT / "docs" / "models.md"

PATHS = {
    "group": (
        "by groups: each prompt is read once, packed without padding with its completions"
        " ([speed.md](speed.md))"
    ),
    "states": (
        "the state after a prompt is read once and copied to its group; rows are filled on the"
        " right"
    ),
    "rows": (
        "generation reads whole rows again for every token, since what the model carries cannot be"
        " copied: exact and slow"
    ),
    "padded": (
        "rows padded on the left, with positions of their own; the cache is copied to a group"
    ),
}
MUST_BE_EMPTY = ("wrong", "error", "late", "crash", "hang")
STOCK_DIFFERS = 1e-3

Row = Mapping[str, Any]
Rows = Iterable[Row]
Cells = Sequence[str]


def failures(rows: Rows) -> list[Row]:
    """What is wrong without a word, ends in a bare error, or is refused only after it was
    trained.
    """
    return [row for row in rows if row["outcome"] in MUST_BE_EMPTY]


def page(receipt: Row) -> str:
    """The whole page."""
    rows: list[Row] = receipt["figure"]["animals"]
    families = list(filterfalse(_is_adapter, rows))
    adapters = list(filter(_is_adapter, rows))
    parts = [
        _intro(receipt, families, adapters),
        "## Families\n\n" + _served(families),
        "Refused before a model trains, in these words (the class of the model and the figure are"
        " left out):\n\n" + _refused(families),
        "## Adapters\n\nOn a small Llama; `PEFT` models are handed over as they are, `lora:` is the"
        " block of a recipe.\n\n" + _kinds(adapters),
        _refused(adapters),
        "## Not right\n\n" + _failures(rows),
        "## Not tried\n\n" + _not_built(rows),
        "## The laws\n\n" + _laws(rows),
        "## Stock TRL\n\n" + _stock(families),
    ]
    return "\n\n".join(parts) + "\n"


def _is_adapter(row: Row) -> bool:
    return str(row["name"]).startswith(("peft ", "lora: "))


def _intro(receipt: Row, families: list[Row], adapters: list[Row]) -> str:
    versions = ", ".join(map(" ".join, receipt["figure"]["versions"].items()))
    built = sum(row["outcome"] != "not built" for row in families)
    return (
        "# Models: which are served, and how\n\nWritten by `make zoo` from `receipts/zoo.json`"
        f" ({receipt['date']}; {versions}). {built} causal families and variants\nof transformers,"
        f" built small with weights of our own, and {len(adapters)} kinds of adapters of peft were"
        " held against\nthe laws below, each in a process of its own. A small model shows that the"
        " mathematics is right, not that a large one\nlearns."
    )


def _names(rows: Rows) -> str:
    return ", ".join(f"`{row['name']}`" for row in rows)


def _table(head: Cells, lines: Iterable[Cells]) -> str:
    rows = ["| " + " | ".join(cells) + " |" for cells in (head, *lines)]
    rows.insert(1, "|---" * len(head) + "|")
    return "\n".join(rows)


def _grouped(rows: Rows, key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _ending(rows: Rows, outcome: str) -> list[Row]:
    return [row for row in rows if row["outcome"] == outcome]


def _served(rows: Rows) -> str:
    right = _ending(rows, "right")
    by_path = _grouped(right, lambda row: str(row.get("path")))
    lines = [(text, _names(by_path[path])) for path, text in PATHS.items() if path in by_path]
    return _table(("served", f"families ({len(right)})"), lines)


def _kinds(rows: Rows) -> str:
    right = _ending(rows, "right")
    by_path = _grouped(right, lambda row: str(row.get("update", "not trained")))
    return _table((f"right ({len(right)}): the update", "kinds"), _named(by_path.items()))


def _refused(rows: Rows) -> str:
    refused = _ending(rows, "refused")
    by_sentence = _grouped(refused, _general)
    ordered = sorted(by_sentence.items(), key=lambda item: -len(item[1]))
    return _table((f"refused ({len(refused)})", "which"), _named(ordered))


def _named(groups: Iterable[tuple[str, list[Row]]]) -> list[Cells]:
    return [(text, _names(rows)) for text, rows in groups]


def _general(row: Row) -> str:
    """The sentence that a user reads first, without the class of a model and without figures, so
    that families can share it.
    """
    kinds = "ForCausalLM|LMHeadModel|LMHead|Decoder|ConditionalGeneration|Model"
    general = re.sub(rf"^\w+({kinds})\b", "…", str(next(iter(row["refused"].values()))))
    return re.sub(r" \(by [\d.e+-]+ nats\)", "", general).replace("|", "\\|")


def _failures(rows: Rows) -> str:
    failed = failures(rows)
    if not failed:
        return (
            "None: nothing is wrong without a word, ends in a bare error, or is refused only after"
            " it was trained."
        )
    lines = [(outcome, _names(_ending(failed, outcome))) for outcome in MUST_BE_EMPTY]
    return _table(("kind", "which"), lines)


def _not_built(rows: Rows) -> str:
    lines = []
    for row in _ending(rows, "not built"):
        reason, *_ = {**row.get("errors", {}), **row.get("broken", {})}.values()
        lines.append((f"`{row['name']}`", str(reason).replace("|", "\\|")))
    return _table(("not built small", "because"), lines)


LAWS = {
    "padded": (
        "log_prob of rows of all lengths together, with a gradient, = a plain forward of each row"
        " alone (nats)"
    ),
    "packed": "log_prob without a gradient, groups among the rows, = the same",
    "beside": "a row alone = beside a longer one",
    "twice": "the same call twice, others between",
    "greedy": "greedy = argmax of plain forwards, step by step; and its log-probabilities",
    "sampled": "log-probabilities of act = log_prob of what was chosen",
    "groups": "one prompt several times, rows leave at different times: each = alone",
    "gradient": "∇ Σ A log π = plain autograd, row after row (relative)",
    "save": "saved and loaded = the same policy",
    "window": "one step of the real trainer = REINFORCE by hand, row after row (relative)",
    "auxiliary window": "one step with a mixture's auxiliary loss = stock TRL's (relative)",
    "off": "the adapter off = the base",
    "reference": "the reference = what it says it is",
    "merge": "merged = not merged",
}


def _laws(rows: Rows) -> str:
    largest: dict[str, float] = defaultdict(float)
    for row in _ending(rows, "right"):
        for name, figure in row["figures"].items():
            law = name.removeprefix("lora ")
            largest[law] = max(largest[law], figure)
    lines = [(law, text, f"{largest[law]:.1g}") for law, text in LAWS.items() if law in largest]
    return _table(("law", "what it says", "largest figure of those that are right"), lines)


def _stock(families: list[Row]) -> str:
    by_figure = _grouped(_ending(families, "right"), lambda row: _beside_stock(row.get("stock")))
    same, differ, fails = by_figure["same"], by_figure["differs"], by_figure["fails"]
    lines = [
        (
            f"The step of {len(same)} of these families is stock TRL's on the same rows too"
            f" ({STOCK_DIFFERS:g} apart at most)."
        ),
        (
            f"For {len(differ)} it is not, since stock TRL pads on the left and gives no positions,"
            f" or no right ones: {_names(differ)}."
        ),
    ]
    if fails:
        lines.append(f"Stock TRL does not train {len(fails)}: {_names(fails)}.")
    return "\n".join(lines)


def _beside_stock(figure: float | str | None) -> str:
    if isinstance(figure, str):
        return "fails"
    if figure is None:
        return "not tried"
    return "same" if figure <= STOCK_DIFFERS else "differs"


def write() -> list[Row]:
    """Write the page from the receipt; returns what should not be there."""
    receipt = read_json(RECEIPT)
    PAGE.write_text(page(receipt), encoding="utf-8")
    return failures(receipt["figure"]["animals"])
