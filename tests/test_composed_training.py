"""A composed reward in training: what TRL adds up is what the rewards say, row by row, and is
logged by its parts.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.objectives import group_advantages
from llmpolicy.rewards import reward
from llmpolicy.run import Run
from llmpolicy.session import train
from tests import training


@reward(range=(0, 1), kind="format")
def short(completion_ids: list[int]) -> float:
    """A format that most rows have."""
    return float(sum(completion_ids) % 5 != 0)


@reward(range=(0, 1))
def right(completion_ids: list[int]) -> float | None:
    return None if sum(completion_ids) % 7 == 0 else float(sum(completion_ids) % 2)


@reward(range=(0, 1))
def tidy(completion_ids: list[int]) -> float:
    return (sum(completion_ids) % 11) / 10


def noted(completion_ids: list[int]) -> float:
    return float(len(completion_ids))


ENTRIES: list[Any] = [
    short, {"fn": right, "role": "correctness"}, {"fn": tidy, "weight": 0.5, "when": "correct"}, {"fn": noted, "weight": 0},
]  # fmt: skip


def composed(folder: Path, run: Run | None = None, **grpo: Any) -> PolicyTrainer:
    made = training.policy()
    return training.trainer(
        folder, made, reward=ENTRIES, options={"run": run}, per_device_train_batch_size=16, **grpo
    )


def expected(ids: list[int]) -> float | None:
    if short(ids) == 0:
        return 0.0
    correct = right(ids)
    return None if correct is None else correct * (1 + 0.5 * tidy(ids))


def test_trl_adds_up_what_the_rewards_say_row_by_row(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "tiny"})
    trainer = composed(tmp_path, run, max_steps=2)
    tables: list[torch.Tensor] = []
    wrapped = trainer._calculate_rewards
    trainer._calculate_rewards = lambda *given: tables.append(wrapped(*given)) or tables[-1]  # type: ignore[method-assign,func-returns-value]
    trainer.train()
    kept = list(run.rollouts("train"))
    assert len(kept) == 32
    assert [row["reward"] for row in kept] == [expected(row["token_ids"]) for row in kept]
    assert {row["reward"] is None for row in kept} == {True, False}
    for table, step in zip(tables, (1, 2), strict=True):
        rows = [row for row in kept if row["step"] == step]
        for terms, row in zip(table, rows, strict=True):
            if row["reward"] is None:
                assert terms.isnan().all()
            else:
                assert float(terms.nan_to_num().float() @ trainer.reward_weights) == pytest.approx(
                    row["reward"]
                )
                assert terms.tolist() == pytest.approx(
                    [row[f"term/{name}"] for name in ("short", "right", "tidy", "noted")]
                )
        rewards = torch.tensor(
            [math.nan if row["reward"] is None else row["reward"] for row in rows]
        )
        advantages = group_advantages(rewards.view(-1, 4)).flatten()
        assert [row["advantage"] for row in rows] == pytest.approx(advantages.tolist(), abs=1e-4)
    assert all(row["reward/tidy"] == tidy(row["token_ids"]) for row in kept)
    line = run.metrics("train")[0]
    ids = [row["token_ids"] for row in kept if row["step"] == 1]
    assert line["parts/short/mean"] == pytest.approx(sum(map(short, ids)) / 16)
    assert line["parts/right/none"] == pytest.approx(sum(right(one) is None for one in ids) / 16)
    assert line["terms/right/variance_share"] + line["terms/tidy/variance_share"] == pytest.approx(
        1
    )
    assert line["parts/noted/length_correlation"] == pytest.approx(1)
    assert line["rewards/noted/mean"] == pytest.approx(
        sum(map(len, ids)) / 16, rel=0.3
    )  # of the rows with a reward


def test_terms_are_normalised_before_they_are_added_where_the_recipe_says_so(
    tmp_path: Path,
) -> None:
    trainer = composed(tmp_path, multi_objective_aggregation="normalize_then_sum")
    kept: dict[str, Any] = {}
    wrapped = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.setdefault(
        "output", wrapped(inputs)
    )  # type: ignore[method-assign]
    trainer.train()
    scores = [episode.score for episode in trainer.generation.episodes]
    total = torch.zeros(len(scores))
    for name, weight in zip(
        trainer.rewards.composition.names, trainer.rewards.composition.weights, strict=True
    ):
        column = [math.nan if one.value is None else one.terms[name] for one in scores]
        total += weight * group_advantages(torch.tensor(column).view(-1, 4)).flatten()  # type: ignore[arg-type]
    total[[one.value is None for one in scores]] = math.nan
    advantages = (total - total.nanmean()) / (total[~total.isnan()].std() + 1e-4)
    torch.testing.assert_close(
        kept["output"]["advantages"], advantages.nan_to_num(0), atol=1e-3, rtol=1e-3
    )


def sums(completion: str, answer: str) -> float:
    return float(completion.strip() == answer)


@pytest.mark.slow
def test_a_recipe_trains_the_bundled_model_on_a_composed_reward(tmp_path: Path) -> None:
    said: list[str] = []
    entries = [
        {"fn": "regex:match", "args": {"pattern": r"\s*\d+\s*"}, "role": "gate"},
        {"fn": sums, "role": "correctness", "clip": [0, 1]},
        {
            "fn": "length:target",
            "args": {"target": 3},
            "weight": 0.5,
            "clip": [0, 1],
            "when": "correct",
        },
        {"fn": "repetition:penalty", "weight": 0},
    ]
    task = {
        "rows": [{"question": f"{i}+{i}", "answer": str(2 * i)} for i in range(16)],
        "prompt": "{question}=",
    }
    grpo = {
        "max_steps": 1,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 4,
    }
    run = train(
        model="bundled",
        task=task,
        rewards=entries,
        grpo=grpo,
        out=tmp_path / "run",
        say=said.append,
    )
    assert (
        said[0] == "reward = [regex.match] × (clip(sums, 0, 1) + 0.5·clip(length.target, 0, 1) when"
        " correct)"
    )
    assert said[1] == "  right answers 1 to 1.5, wrong answers 0, a closed gate 0"
    assert run.manifest["composition"]["tasks"]["rows"]["correctness"] == "sums"
    written = [(one["weight"], one["role"]) for one in run.manifest["rewards"]]
    assert written == [(1, "gate"), (1, "correctness"), (0.5, "shaping"), (0, "shaping")]
    for row in run.rollouts("train"):
        correct = row["reward/regex.match"] * row["reward/sums"]
        assert row["reward"] == pytest.approx(correct * (1 + 0.5 * row["reward/length.target"]))
    assert "parts/repetition.penalty/mean" in run.metrics("train")[0]
    assert [one["weight"] for one in run.recipe["rewards"]] == [
        None,
        None,
        0.5,
        0,
    ]  # as written: a gate stays a gate
