"""The checks while a run goes on: what is told, to whom, how often, and that nothing of it ends a
training.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from llmpolicy import Run
from llmpolicy.diagnosis import Finding, Live, checks, diagnose, live
from llmpolicy.diagnosis.evidence import Evidence
from llmpolicy.grpo.callbacks import Looks
from tests.training import policy, trainer

SIZE = 8


def row(number: int, reward: float) -> dict[str, Any]:
    group = number // 4
    return {
        "row": group, "prompt": f"{group}?", "completion": str(number), "raw": "", "token_ids": [1],
        "log_probs": [-1.0], "reward": reward, "advantage": 0.0, "group": group,
        "terminated": True, "truncated": False,
    }  # fmt: skip


def written(run: Run, steps: range, reward: float = 0.0) -> None:
    for step in steps:
        rows = [row(number, float(number == step == 1) or reward) for number in range(SIZE)]
        run.write_rollouts(step, rows)
        run.log(step, {"reward": reward, "grad_norm": 0.1})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", {"name": "x"})


def test_looks_are_due_each_quarter_and_early_in_a_long_run() -> None:
    due = [step for step in range(1001) if live.is_due(step, 1000)]
    assert due == [16, 32, 64, 128, 250, 500, 750, 1000]
    assert [step for step in range(25) if live.is_due(step, 24)] == [6, 12, 18, 24]
    assert [step for step in range(3) if live.is_due(step, 2)] == [1, 2]


def test_each_kind_is_told_once_in_one_line_with_its_remedy(run: Run) -> None:
    said: list[str] = []
    heard: list[tuple[int, Finding]] = []
    looks = Live(run, said.append, [lambda step, finding: heard.append((step, finding))])
    written(run, range(1, 20))
    first = looks.look(19)
    written(run, range(20, 30))
    assert looks.look(29) == []
    assert [finding.kind for finding in first] == ["all_wrong"]
    assert heard == [(19, first[0])]
    assert len(said) == 1 and "\n" not in said[0]
    assert said[0].startswith("  note: all_wrong, step 19: in 100% of the last ")
    assert said[0].endswith(f"Change: {first[0].remedy}")


def test_what_somebody_else_has_said_is_heard_and_not_said_again(run: Run) -> None:
    said: list[str] = []
    heard: list[str] = []
    looks = Live(run, said.append, [lambda _, finding: heard.append(finding.kind)])
    looks.said.add("all_wrong")
    written(run, range(1, 20))
    looks.look(19)
    assert heard == ["all_wrong"] and not said


def test_a_look_reads_no_more_in_a_longer_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "COMPLETIONS", 12 * SIZE)
    read: list[int] = []
    rows = live.read_rows
    monkeypatch.setattr(
        live, "read_rows", lambda files, *how: read.append(len(files)) or rows(files, *how)
    )
    seen: list[Evidence] = []
    monkeypatch.setattr(live, "diagnose", lambda run: seen.append(run) or diagnose(run))
    looks = Live(run, print)
    written(run, range(1, 41))
    looks.look(40)
    assert sorted({one.step for one in seen[0].completions}) == list(range(1, 41, 4))
    written(run, range(41, 81))
    looks.look(80)
    assert sorted({one.step for one in seen[1].completions}) == list(range(1, 81, 8))
    assert len(read) == 10 + 5  # what was read is not read again


def test_a_look_or_a_listener_that_fails_is_said(run: Run) -> None:
    def deaf(step: int, finding: Finding) -> None:
        raise ValueError("no\nears")

    said: list[str] = []
    looks = Live(run, said.append, [deaf])
    assert looks.look(1) == [] and looks.look(2) == []
    assert len(said) == 1 and "could not be looked at (RunError: " in said.pop()
    written(run, range(1, 20))
    assert len(looks.look(19)) == 1
    assert said[1] == "  note: all_wrong could not be told (ValueError: no ears)"


def test_a_check_that_fails_could_not_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run: Evidence) -> None:
        raise KeyError("x")

    monkeypatch.setattr(checks, "CHECKS", (broken, *checks.CHECKS))
    found = diagnose(Evidence([{"step": 1, "reward": 0.0}], []))
    assert "the check failed: KeyError: 'x'" in {
        each.why for each in found.not_checked if each.kind == "broken"
    }


def test_a_training_tells_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    made = Run.create(tmp_path / "run", {"name": "tiny"})
    looks = Looks(Live(made, said.append))
    tiny = trainer(
        tmp_path / "out", policy(), reward=lambda completion: 0.0, max_steps=8,
        options={"run": made, "callbacks": [looks]},
    )  # fmt: skip
    tiny.train()
    assert len([line for line in said if re.match("  note: [a-z_]+, step [2468]: ", line)]) >= 1
    monkeypatch.setattr(live, "diagnose", lambda run: 1 / 0)
    other = Run.create(tmp_path / "other", {"name": "tiny"})
    said.clear()
    tiny = trainer(
        tmp_path / "out", policy(), max_steps=4,
        options={"run": other, "callbacks": [Looks(Live(other, said.append))]},
    )  # fmt: skip
    tiny.train()
    assert tiny.state.global_step == 4
    assert said == ["  note: the run could not be looked at (ZeroDivisionError: division by zero)"]
