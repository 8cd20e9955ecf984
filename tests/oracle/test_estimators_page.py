"""docs/estimators.md says what receipts/estimators.json holds."""

from llmpolicy.bounded import read_json
from scripts.estimators import PAGE, RECEIPT, written
from tests.oracle.estimators import ESTIMATORS, LATER


def test_the_page_is_that_of_the_receipt() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page, read_json(RECEIPT)["figure"])


def test_the_receipt_has_every_estimator() -> None:
    figure = read_json(RECEIPT)["figure"]
    assert list(figure["on_policy"]) == list(figure["hard"]) == list(ESTIMATORS)
    assert all(list(move["cells"]) == list(LATER) for move in figure["later"].values())
