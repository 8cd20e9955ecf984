"""The record of TRL's versions, its page, and what the command says of drift."""

import copy
from pathlib import Path

import pytest
import trl

from llmpolicy.bounded import read_json
from scripts import semantics
from tests.semantics.cases import cases

FIGURE = read_json(semantics.RECEIPT)["figure"]
INSTALLED = FIGURE["versions"][trl.__version__]


def test_the_page_is_that_of_the_receipt() -> None:
    page = semantics.PAGE.read_text(encoding="utf-8")
    assert page == semantics.written(page, FIGURE)


def test_the_record_has_every_case_and_the_installed_version_is_as_it_was_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(INSTALLED["cases"]) == list(cases())
    assert semantics.main([]) == 0
    said = capsys.readouterr().out
    assert f"trl {trl.__version__} against the record of {trl.__version__}: 0 differences" in said


def test_what_has_moved_is_named_and_rounding_is_not() -> None:
    changed = copy.deepcopy(INSTALLED)
    changed["cases"]["dapo"]["gradient"][1] += 1e-3
    changed["cases"]["grpo"]["loss"] += 1e-9
    del changed["cases"]["sapo"]
    changed["cases"]["vespo"] = {"refused": "ValueError: no such loss"}
    changed["before"]["advantages"] *= 2
    changed["defaults"]["beta"] = "0.04"
    changed["sources"]["_compute_loss"] = ""
    found = semantics.differences(INSTALLED, changed)
    named = [line.split(": ")[1 if line.startswith(("cases", "before")) else 0] for line in found]
    assert named == [
        "dapo", "sapo", "vespo", "advantages", "default of beta", "source of _compute_loss"
    ]  # fmt: skip
    assert semantics.differences(INSTALLED, INSTALLED) == []


@pytest.mark.parametrize("arguments", [["1.15.0", "1.14.2"], ["--help"], ["latest"]])
def test_what_is_no_version_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert semantics.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: python scripts/semantics.py") and said.count("\n") == 1


def test_a_version_that_is_not_there_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(semantics, "PLACES", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert semantics.main(["0.0.7"]) == 2
    assert "trl 0.0.7 could not be brought here and measured" in capfd.readouterr().err
