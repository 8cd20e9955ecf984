"""The quickstart recipe on five seeds, and two controls: a random reward, and supervised training
for the same seconds.

A random reward must not help: greedy accuracy of a model near a tie can drift upwards by itself.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.receipts._sources import QUICKSTART

SOURCES = ["scripts/pretrain_bundled.py", "scripts/receipts/quickstart_controls.py", *QUICKSTART]
SEEDS = (1, 2, 3, 4, 5)
CONTROL_SEEDS = (1, 2, 3)
COIN = random.Random(0)
Figures = dict[str, Any]


def coin(completion: str) -> float:
    """A random reward: 1 or 0 by the toss of a coin, whatever was answered."""
    return float(COIN.random() < 0.5)


def measure() -> Figures:
    """Accuracy before and after, greedy and sampled, of the recipe and of its controls."""
    rewarded = [by_reinforcement(seed, "exact:match") for seed in SEEDS]
    seconds = statistics.median(run["seconds"] for run in rewarded)
    return {
        "right_sum": rewarded,
        "random_reward": [by_reinforcement(seed, coin) for seed in CONTROL_SEEDS],
        "supervised": [by_supervision(seed, seconds) for seed in CONTROL_SEEDS],
        "seeds_that_meet_the_bar": sum(meets_the_bar(run) for run in rewarded),
    }


def meets_the_bar(run: Figures) -> bool:
    """Greedy at least +40 points with the lower end of the interval above +30, and sampled at least
    +25.
    """
    greedy, sampled = run["greedy_difference"], run["sampled_difference"]
    return greedy["value"] >= 0.40 and greedy["low"] > 0.30 and sampled["value"] >= 0.25


def by_reinforcement(seed: int, reward: Any) -> Figures:
    """Train the recipe with one reward and read the run's own evaluation; ``seconds`` are those of
    training alone.
    """
    from llmpolicy import train
    from llmpolicy.recipe import load_recipe

    data = load_recipe("quickstart").resolved()
    data |= {"seed": seed, "rewards": [reward], "evaluate": data["evaluate"] | {"every": None}}
    with tempfile.TemporaryDirectory() as folder:
        run = train(data, out=Path(folder) / "run")
        evaluation, seconds = run.evaluation(), [line["time"] for line in run.metrics("train")]
    assert evaluation is not None
    return {
        "seed": seed,
        "seconds": round(seconds[-1] - seconds[0], 1),
        "steps": len(seconds),
    } | figures(evaluation)


def by_supervision(seed: int, seconds: float) -> Figures:
    """Train the same model on the right answers to the same questions, for as long as reinforcement
    took.
    """
    import torch

    from llmpolicy.plan import plan_recipe
    from llmpolicy.recipe import load_recipe
    from llmpolicy.session.evaluate import evaluate_policy
    from llmpolicy.stages.policy import build_policy
    from scripts.pretrain_bundled import encode, learn

    torch.manual_seed(seed)
    recipe = load_recipe("quickstart", [f"seed={seed}"])
    plan, policy = plan_recipe(recipe), build_policy(recipe)
    ids, labels = encode(policy, plan.train_rows)  # (N, T)
    optimizer = torch.optim.AdamW(
        policy.model.parameters(), lr=(recipe.grpo or {})["learning_rate"], weight_decay=0.0
    )
    start, steps = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        learn(policy, optimizer, ids, labels)
        steps += 1
    return {"seed": seed, "seconds": seconds, "steps": steps} | figures(
        evaluate_policy(plan, policy).to_dict()
    )


def figures(evaluation: Figures) -> Figures:
    """What is kept of an evaluation."""
    base = evaluation["base"]
    return {
        "n": evaluation["n"],
        "greedy": [base["accuracy"]["value"], evaluation["accuracy"]["value"]],
        "greedy_difference": evaluation["paired_difference"],
        "sampled": [base["sampled_accuracy"]["value"], evaluation["sampled_accuracy"]["value"]],
        "sampled_difference": evaluation["paired_difference_sampled"],
        "best_constant": evaluation["best_constant"],
    }
