"""docs/estimators.md, its picture and docs/choices.md say what their receipts hold."""

from pathlib import Path

import pytest

from llmpolicy.bounded import read_json
from scripts import bias_variance
from scripts.estimators import CHOICES, CHOICES_PAGE, PAGE, RECEIPT, chosen, written
from tests.oracle import choices, turns
from tests.oracle.estimators import ESTIMATORS, LATER

FIGURE, CHOSEN = read_json(RECEIPT)["figure"], read_json(CHOICES)["figure"]


def test_the_pages_are_those_of_the_receipts() -> None:
    for path, write, figure in ((PAGE, written, FIGURE), (CHOICES_PAGE, chosen, CHOSEN)):
        page = path.read_text(encoding="utf-8")
        assert page == write(page, figure)


def test_the_receipts_have_every_estimator() -> None:
    assert list(FIGURE["on_policy"]) == list(FIGURE["hard"]) == list(ESTIMATORS)
    assert all(list(move["cells"]) == list(LATER) for move in FIGURE["later"].values())
    tables = {
        "dialogues": turns.ESTIMATORS, "prompts": choices.CHOICES, "replay": choices.REPLAYS,
    }  # fmt: skip
    for part, names in tables.items():
        assert list(CHOSEN[part]) == list(names)


def test_the_picture_has_every_estimator_once(tmp_path: Path) -> None:
    found = bias_variance.points(FIGURE["on_policy"], CHOSEN)
    parts = [list(CHOSEN[part]) for part in ("dialogues", "prompts", "replay")]
    assert sorted(point.name for point in found) == sorted([*ESTIMATORS, *sum(parts, [])])
    of = {point.name: point for point in found}
    assert of["GRPO"].turned == FIGURE["on_policy"]["GRPO"]["8"]["turned"]
    assert of["RLOO"].variance == pytest.approx(1, abs=0.01)  # the same direction and spread
    bias_variance.draw(found, tmp_path / "drawn.svg")
    assert bias_variance.PICTURE.stat().st_size < 100_000
    assert f"]({bias_variance.PICTURE.name})" in PAGE.read_text(encoding="utf-8")
