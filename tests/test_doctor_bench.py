"""The doctor's bench: its page says what its receipt measured, what is judged was not chosen on, and
a few of its runs from end to end.
"""

from collections import Counter
from pathlib import Path

import pytest

from llmpolicy.bounded import read_json
from llmpolicy.diagnosis import diagnose
from llmpolicy.diagnosis.checks import CHECKS
from scripts.doctor_bench import build, cases, judge, make, page
from scripts.doctor_bench.broken import BROKEN
from scripts.doctor_bench.cases import Case
from scripts.doctor_bench.healthy import HEALTHY

BY_NAME = {case.name: case for case in make.CASES}


def test_the_page_is_that_of_the_receipt() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(read_json(page.RECEIPT))


def test_the_receipt_is_of_every_case_and_run() -> None:
    rows = read_json(page.RECEIPT)["figure"]["runs"]
    measured = [(row["case"], row["task"], row["seed"]) for row in rows]
    expected = [(case.name, *of_run) for case in make.CASES for of_run in case.runs("judge")]
    assert sorted(measured) == sorted(expected)
    assert all(row["found"] is not None for row in rows)


def test_there_are_enough_ways_to_be_broken_and_to_be_sound() -> None:
    assert len(BROKEN) >= 20 and len(HEALTHY) >= 10
    assert max(Counter(case.name for case in make.CASES).values()) == 1
    assert all(case.expects for case in BROKEN) and not any(case.expects for case in HEALTHY)
    assert len(CHECKS) >= 20


def test_what_is_judged_was_not_chosen_on() -> None:
    assert not set(cases.SEEDS["choose"]) & set(cases.SEEDS["judge"])
    assert min(map(len, cases.SEEDS.values())) >= 2
    tasks = {of: {task for case in make.CASES for task, _ in case.runs(of)} for of in cases.SETS}
    assert tasks["choose"] & tasks["judge"] == {"hasty"}  # there is one recipe of RLHF


def row(case: Case, *found: list[str]) -> judge.Row:
    named = {f"{share:g}": kinds for share, kinds in zip(judge.SHARES, found, strict=True)}
    return {"case": case.name, "expects": list(case.expects), "found": named}


def test_how_early_a_kind_is_found_for_good() -> None:
    case = BY_NAME["cut_off"]
    assert judge.since(row(case, ["cut_off"], [], ["cut_off"], ["cut_off", "unjudged"])) == 0.75
    assert judge.since(row(case, ["cut_off"], ["cut_off"], ["cut_off"], ["all_wrong"])) is None
    assert judge.since(row(case, *[["cut_off"]] * 4)) == 0.25


def test_bars_that_are_not_met_are_said() -> None:
    broken, sound = BY_NAME["cut_off"], BY_NAME["plain"]
    rows = [row(broken, *[["cut_off"]] * 4)] * 17 + [row(broken, *[["all_wrong"]] * 4)] * 3
    rows += [row(sound, *[[]] * 4)] * 19 + [row(sound, [], [], [], ["kl_break"])]
    assert page.failures(rows) == ["cut_off is found in 17 of 20 runs"]
    assert page.failures(rows[17:] + rows[-1:])[-1] == "2 of 21 sound runs have a finding"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "all_wrong", "constant_part", "cut_off", "noisy_reward", "rate_too_high", "frozen_adapter",
        "no_effect", "sampler_mismatch", "overlap", "plain", "parts", "held_near", "small_groups",
    ],
)  # fmt: skip
def test_a_run_from_end_to_end(name: str) -> None:
    case = BY_NAME[name]
    found = {
        each.kind
        for each in diagnose(build.played("sums", 1, case.change("sums"), case.fault)).findings
    }
    assert found & set(case.expects) if case.expects else not found


@pytest.mark.slow
def test_a_run_that_was_made_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (cases, make):
        monkeypatch.setattr(module, "SEEDS", {"choose": (1,)})
    make.make(tmp_path, ("choose",), ("all_right",))
    assert "choose-all_right-sums-1: made" in capsys.readouterr().out
    make.make(tmp_path, ("choose",), ("all_right",))
    assert capsys.readouterr().out == ""
    evidence = make.read(tmp_path, BY_NAME["all_right"].key("choose", "sums", 1))
    assert judge.kinds(evidence) == {f"{share:g}": ["all_right"] for share in judge.SHARES}
    assert make.read(tmp_path, "another") is None
