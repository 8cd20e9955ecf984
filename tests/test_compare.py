"""Two runs on the same prompts: what is told apart, and how often that is a mistake."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmpolicy import Run
from llmpolicy.cli import app
from llmpolicy.diagnosis.compare import compare, difference
from llmpolicy.errors import RunError
from llmpolicy.run.answers import read_answers, write_answers
from llmpolicy.session import train_recipe


def run(folder: Path, right: list[bool | None], step_time: float = 1.0) -> Run:
    made = Run.create(folder, {"name": "x"})
    for step in range(1, 11):
        reward = {"reward": step / 10, "num_tokens": 100.0 * step, "step_time": step_time}
        made.log(step, reward)
    answers: list[dict[str, Any]] = [
        {"prompt": f"{number % 90}?", "completion": "7", "greedy": verdict, "right": int(bool(verdict)),
         "judged": 0 if verdict is None else 1, "base": None, "row": number}
        for number, verdict in enumerate(right)
    ]  # fmt: skip
    write_answers(folder, answers)
    made.finish("completed")
    return Run.open(folder)


def test_a_difference_is_told_with_its_interval(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [number < 40 for number in range(100)])
    second = run(tmp_path / "b", [number < 70 for number in range(100)], step_time=2.0)
    found = compare(first, second)
    assert found.greedy.interval.value == pytest.approx(0.3)
    assert 0.2 < found.greedy.interval.low < 0.3 < found.greedy.interval.high < 0.4
    assert (found.greedy.better, found.greedy.worse, found.greedy.prompts) == (30, 0, 100)
    assert found.greedy.is_evidence
    assert found.costs["seconds"] == (10.0, 20.0)
    assert found.costs["reward at equal seconds"] == (1.0, 0.5)
    assert found.costs["reward at equal tokens"] == (1.0, 1.0)
    back = compare(second, first)
    assert back.greedy.interval.value == pytest.approx(-0.3)


def test_no_difference_says_so_and_what_it_would_take(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [number % 2 == 0 for number in range(100)])
    second = run(tmp_path / "b", [number % 2 == 0 or number == 1 for number in range(100)])
    text = str(compare(first, second))
    assert "no evidence of a difference" in text
    assert "greedy: +1.0 points" in text and "(1 better, 0 worse)" in text
    assert str(compare(first, first)).count("no number of prompts") == 2


def test_what_was_not_judged_is_left_out(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [None, True, False, True])
    second = run(tmp_path / "b", [True, True, None, True])
    assert compare(first, second).greedy.prompts == 2


def test_equal_prompts_are_paired_by_their_rows(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", [True, False]), run(tmp_path / "b", [False, True])
    for made, rows in ((first, (7, 8)), (second, (8, 9))):
        kept = [
            {**answer, "prompt": "0-9?", "row": row}
            for answer, row in zip(read_answers(made.path), rows, strict=True)
        ]
        write_answers(made.path, kept)
    found = compare(first, second).greedy
    assert (found.prompts, found.better, found.worse) == (1, 0, 0)  # of row 8 alone


def test_runs_that_share_nothing(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", [True]), run(tmp_path / "b", [True])
    write_answers(second.path, [{**read_answers(first.path)[0], "prompt": "another"}])
    with pytest.raises(RunError, match="have no held-out prompt in common"):
        compare(first, second)
    (second.path / "answers.jsonl").unlink()
    with pytest.raises(RunError, match="has not kept its held-out answers"):
        compare(first, second)


@pytest.mark.parametrize(("prompts", "rate"), [(60, 0.5), (200, 0.9), (200, 0.3), (30, 0.95)])
def test_equal_policies_are_called_different_in_one_of_twenty_cases(
    prompts: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmpolicy.diagnosis.compare.DRAWS", 400)
    draw, mistakes, cases = random.Random(f"{prompts}:{rate}"), 0, 400
    for case in range(cases):
        values = [float(draw.random() < rate) - float(draw.random() < rate) for _ in range(prompts)]
        mistakes += difference(values, seed=case).is_evidence
    # 5 % of 400, and 3.5 standard errors of that count
    assert mistakes / cases <= 0.05 + 3.5 * (0.05 * 0.95 / cases) ** 0.5


def test_a_true_difference_is_seen_in_four_of_five_cases_with_the_prompts_that_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmpolicy.diagnosis.compare.DRAWS", 400)
    draw, seen = random.Random("power"), 0
    before, after = 0.4, 0.6
    spread = (before * (1 - before) + after * (1 - after)) ** 0.5
    prompts = round(((1.96 + 0.8416) * spread / (after - before)) ** 2)
    for case in range(200):
        values = [
            float(draw.random() < after) - float(draw.random() < before) for _ in range(prompts)
        ]
        seen += difference(values, seed=case).is_evidence
    assert 0.7 < seen / 200 < 0.9


def test_a_run_keeps_the_answer_to_each_held_out_prompt(tmp_path: Path) -> None:
    small = [
        "grpo.max_steps=1",
        "grpo.per_device_train_batch_size=16",
        "evaluate.n=6",
        "evaluate.samples=2",
    ]
    made = train_recipe("quickstart", small, out=tmp_path / "run", say=lambda _: None)
    answers = read_answers(made.path)
    assert len(answers) == 6 and all(
        answer["base"]["prompt"] == answer["prompt"] for answer in answers
    )
    judged = made.evaluation()
    assert judged is not None
    assert judged["accuracy"]["value"] == sum(answer["greedy"] for answer in answers) / 6
    assert judged["base"]["accuracy"]["value"] == sum(a["base"]["greedy"] for a in answers) / 6
    assert not compare(made, made).greedy.is_evidence
    shown = CliRunner().invoke(
        app, ["compare", str(made.path), str(made.path), "--json", f"{tmp_path}/f"]
    )
    assert shown.exit_code == 0 and "no evidence of a difference" in shown.stdout
    assert json.loads((tmp_path / "f").read_text())["comparisons"][0]["evidence"] is False
    shown = CliRunner().invoke(app, ["show", str(made.path), "--step", "1"])
    assert shown.exit_code == 0 and "step 1, group" in shown.stdout
    shown = CliRunner().invoke(app, ["doctor", str(made.path), "--json", f"{tmp_path}/g"])
    assert json.loads((tmp_path / "g").read_text())["verdict"] in shown.stdout


def test_equal_tokens_and_equal_seconds_by_hand(tmp_path: Path) -> None:
    """The first takes 20 steps of 100 tokens and 1 s, the second 30 of 200 tokens and 0.5 s; after
    step s a run pays s / 100, and has the first s of its prompts right.
    """
    runs = []
    for name, steps, tokens, seconds in (("a", 20, 100, 1.0), ("b", 30, 200, 0.5)):
        made = run(tmp_path / name, [number < steps for number in range(40)])
        (made.path / "metrics.jsonl").unlink()
        for step in range(1, steps + 1):
            figures = {"num_tokens": tokens * step, "step_time": seconds}
            made.log(step, {"reward": step / 100, **figures})
        for step in range(0, steps + 1, 5):
            right = [number < step for number in range(40)]
            made.log_look({"step": step, "rows": list(range(40)), "right": right})
        runs.append(Run.open(made.path))
    found = compare(*runs)
    assert found.costs["tokens"] == (2000.0, 6000.0) and found.costs["seconds"] == (20.0, 15.0)
    # Within 2000 tokens: 20 steps and 10; the last tenth of the lines are steps 19, 20, and 10.
    assert found.costs["reward at equal tokens"] == pytest.approx((0.195, 0.10))
    # Within 15 seconds: 15 steps and 30; the last tenth are step 15, and steps 28 to 30.
    assert found.costs["reward at equal seconds"] == pytest.approx((0.15, 0.29))
    by_tokens, by_time = found.at_equal["tokens"], found.at_equal["seconds"]
    assert by_tokens.steps == (20, 10) and by_time.steps == (15, 30)
    assert by_tokens.greedy.interval.value == pytest.approx(-10 / 40)
    assert by_time.greedy.interval.value == pytest.approx(15 / 40)
    assert (by_time.greedy.better, by_time.greedy.worse) == (15, 0)
    assert "greedy at equal tokens, steps 20 and 10: -25.0 points" in str(found)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["costs"]["reward_at_equal_tokens"] == pytest.approx({"first": 0.195, "second": 0.1})
    assert data["at_equal"]["seconds"]["greedy"]["prompts"] == 40


def test_runs_that_did_not_look_on_their_way_are_compared_at_their_ends(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", [True] * 12), run(tmp_path / "b", [True] * 12)
    first.log_look({"step": 5, "rows": [0], "right": [True]})
    torn = '{"step": 5, "mode": "eval", "rows": [0], "right": 1}\n'
    (second.path / "looks.jsonl").write_text(torn)
    assert compare(first, second).at_equal == {}


def test_rewards_that_differ_are_on_no_common_scale(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", [True] * 12), run(tmp_path / "b", [True] * 12)
    assert "different rewards" not in str(compare(first, second))
    second.recipe["rewards"] = [{"fn": "exact:match"}]
    assert str(compare(first, second)).count("of different rewards") == 2


def test_lines_that_are_means_of_several_steps_count_as_many(tmp_path: Path) -> None:
    each, some = run(tmp_path / "a", [True], step_time=2.0), run(tmp_path / "b", [True])
    lines = (each.path / "metrics.jsonl").read_text().splitlines()
    (some.path / "metrics.jsonl").write_text("\n".join([lines[4], lines[9]]) + "\n")
    costs = compare(each, some).costs
    assert costs["steps"] == (10.0, 10.0) and costs["seconds"] == (20.0, 20.0)


@pytest.mark.parametrize("figures", [{}, {"num_tokens": "x", "step_time": [1]}])
def test_costs_that_were_not_measured_are_left_out(tmp_path: Path, figures: dict[str, Any]) -> None:
    first, second = run(tmp_path / "a", [True]), run(tmp_path / "b", [True])
    (second.path / "metrics.jsonl").unlink()
    second.log(1, {"reward": float("nan"), **figures})
    assert dict(compare(first, second).costs) == {"steps": (10.0, 1.0)}
    second.log(2, {"reward": float("nan"), "num_tokens": 1, "step_time": 1.0})
    assert "nan" not in str(compare(first, second))


@pytest.mark.parametrize(
    "line",
    ["[1]", "1", "null", "{}", '{"prompt": [1], "greedy": true, "right": 0, "judged": 0}',
     '{"prompt": "1?", "right": 0, "judged": 0}',
     '{"prompt": "1?", "greedy": "yes", "right": 0, "judged": 0}',
     '{"prompt": "1?", "greedy": true, "right": 7, "judged": 2}',
     '{"prompt": "1?", "greedy": true, "right": 0, "judged": "2"}',
     '{"prompt": "1?", "greedy": true, "right": NaN, "judged": 2}'],
)  # fmt: skip
def test_answers_that_are_none_are_damage(tmp_path: Path, line: str) -> None:
    made = run(tmp_path / "a", [True])
    (made.path / "answers.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match="answers.jsonl is damaged"):
        compare(made, made)
