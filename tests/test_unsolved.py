"""Which prompts of a run count as never solved, and the curve of pass@k in a terminal."""

from dataclasses import replace
from typing import Any

import pytest

from llmpolicy.diagnosis import Completion, Evidence
from llmpolicy.report.passes import passes
from llmpolicy.report.unsolved import bar_of, unsolved


def evidence(rewards: list[list[float | None]], recipe: dict[str, Any] | None = None) -> Evidence:
    """A prompt a list, one completion a step with these rewards."""
    completions = [
        Completion(f"{step}:{row}", step, row, row, f"{row}?", "7", reward, {}, 0.1, False)
        for row, of_prompt in enumerate(rewards)
        for step, reward in enumerate(of_prompt, 1)
    ]
    return Evidence([], completions, recipe=recipe or {})


def with_parts(found: Evidence, name: str, values: dict[int, float | None]) -> Evidence:
    """The same, where each completion of a row has this value of a part."""
    completions = [
        replace(one, parts={name: values[one.row or 0], "length": 0.3}) for one in found.completions
    ]
    return replace(found, completions=completions)


def test_a_reward_of_two_values_is_solved_by_the_larger() -> None:
    found = evidence([[0.0, 1.0], [0.0, 0.0], [1.0, None]])
    assert unsolved(found).splitlines()[0] == "1 of 3 prompts were never paid 1, the most there was"


def test_a_shaped_reward_is_solved_by_the_part_that_says_what_is_right() -> None:
    shaped = evidence([[0.31, 1.2], [0.4, 0.41], [0.2, 0.55]])
    recipe = {
        "rewards": [
            {"fn": "length:target", "args": {}},
            {"fn": "math_answer:correct", "args": {}, "role": "correctness"},
        ]
    }
    shaped, name = replace(shaped, recipe=recipe), "math_answer.correct"
    text = unsolved(with_parts(shaped, name, {0: 1.0, 1: 0.0, 2: 1.0}))
    assert text.startswith(f"1 of 3 prompts were never right, which is 1 of {name}\nrow 1, ")
    never = with_parts(shaped, name, {0: 0.0, 1: 0.0, 2: None})
    assert unsolved(never).startswith("3 of 3 prompts were never right, which is 1 of")


def test_what_judges_the_evaluation_says_it_by_its_threshold() -> None:
    recipe = {
        "evaluate": {"correct": "near.py:near", "args": {}, "threshold": 0.5},
        "rewards": [{"fn": "near.py:near", "args": {}, "name": "close"}],
    }
    graded = evidence([[0.6], [0.4], [0.55]], recipe)
    text = unsolved(with_parts(graded, "close", {0: 0.6, 1: 0.4, 2: 0.55}))
    assert text.startswith("1 of 3 prompts were never right, which is 0.5 of close\nrow 1")


def test_a_shaped_reward_alone_is_solved_by_what_is_usual_in_the_end() -> None:
    """Not by the most that was paid, which one completion of all may have."""
    rewards: list[list[float | None]] = [[0.1, 0.2, 0.3, 0.5 + row / 100] for row in range(9)]
    found = evidence([*rewards, [0.1, 0.1, 0.1, 0.1]])
    bar = bar_of(found)
    assert bar is not None and bar.least == pytest.approx(0.535)
    lines = unsolved(found, limit=None).splitlines()
    assert lines[0].startswith("5 of 10 prompts were never paid 0.535, what half of the completion")
    assert "row 9, 4 completions, mean reward 0.10, best 0.10" in lines


def test_what_is_left_out_is_counted() -> None:
    many = evidence([[0.0, 0.0] for _ in range(11)] + [[1.0]])
    assert unsolved(many).splitlines()[-1] == "3 more; --all shows them"


def evaluation(base: bool = True, **changes: Any) -> dict[str, Any]:
    made = {"n": 50, "accuracy": {"value": 0.5}, "pass_at_k": {"1": 0.4, "8": 0.9}, **changes}
    if base:
        made["base"] = evaluation(False, accuracy={"value": 0.0}, pass_at_k={"1": 0.1, "8": None})
    return made


@pytest.mark.parametrize("width", ["80", "60"])
def test_the_curve_fits_the_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = passes(evaluation()).splitlines()
    assert lines[0] == "50 held-out prompts" and max(map(len, lines)) <= int(width)
    assert [line.split()[0] for line in lines[2:]] == ["greedy", "pass@1", "pass@8"]
    _, base, empty, trained, half = lines[2].replace(" %", "").split()
    assert (base, trained) == ("0.0", "50.0") and set(empty) == {"."}
    assert abs(half.count("#") / len(half) - 0.5) <= 0.5 / len(half)
    assert lines[4].split()[1] == "-" and lines[4].endswith(".")


@pytest.mark.parametrize(
    "damaged", [{}, {"accuracy": 3, "pass_at_k": [1]}, {"accuracy": {}, "base": 7, "pass_at_k": {}}]
)
def test_what_an_evaluation_lacks_is_not_drawn(damaged: dict[str, Any]) -> None:
    assert "#" not in passes(damaged)
