"""Sound runs of several kinds: what is found in one of them is a false alarm."""

from collections.abc import Mapping
from typing import Any

from scripts.doctor_bench.build import GAMES as RANGES
from scripts.doctor_bench.build import base
from scripts.doctor_bench.cases import LONG, Case, paid, plain

LORA = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
GAMES = {"choose": ("guess",), "judge": ("guess_high",)}
EASY = {"choose": ("largest",), "judge": ("smallest",)}
PREFERRED = {"choose": ("hasty",), "judge": ("hasty",)}


def game(task: str, fn: str = "llmpolicy.environments.guess:Guess") -> Mapping[str, Any]:
    """A dialogue in the place of a task."""
    low, high = RANGES[task]
    args = {"low": low, "high": high}
    return {
        "task": None,
        "rewards": None,
        "environment": {
            "fn": fn, "args": args, "turns": 4, "reply": 2 + (high > 9), "credit": "turn",
        },
        "evaluate": {"correct": "llmpolicy.environments.guess:found"},
        "grpo": {
            "max_completion_length": 50, "learning_rate": 3e-4, "warmup_steps": 5,
            "per_device_train_batch_size": 32,
        },
    }  # fmt: skip


def preferred(task: str) -> Mapping[str, Any]:
    """RLHF with a KL term that holds it where the reward model knows something."""
    folder = str(base("reward_model"))
    return {
        "task": {
            "generator": "llmpolicy.bundled.addition:questions",
            "canonical": "llmpolicy.bundled.addition:canonical",
            "prompt": "{question}",
        },
        "rewards": [{"fn": "reward_model:score", "style": "trl", "args": {"model": folder}}],
        "evaluate": {"correct": "llmpolicy.bundled.hasty:closeness", "every": 8, "curve": True},
        "grpo": {
            "beta": 1.5, "learning_rate": 5e-5, "scale_rewards": "none", "max_completion_length": 5,
            "per_device_train_batch_size": 128,
        },
    }  # fmt: skip


PARTS = [paid("right"), paid("graded", weight=0.5), paid("near", weight=0.3)]

HEALTHY = [
    Case("plain", plain()),
    Case("lora", plain(model={"lora": LORA}, grpo={"learning_rate": 2e-3})),
    Case("graded", plain(rewards=[paid("graded")])),
    Case("parts", plain(rewards=PARTS)),
    Case("held_near", plain(grpo={"beta": 0.05})),
    Case("entropy", plain(grpo={"entropy_coef": 0.005})),
    Case("looked_at", plain(evaluate={"every": 8, "n": 96})),
    Case("off_policy", plain(grpo={"num_iterations": 2})),
    Case("small_groups", plain(grpo={"num_generations": 4})),
    Case("solved", plain(grpo={"learning_rate": 4e-4}), tasks=EASY),
    Case("warmed_up", plain(grpo={"warmup_steps": 8, "lr_scheduler_type": "cosine"})),
    Case("long", plain(), tasks=LONG),
    Case("long_lora", plain(model={"lora": LORA}, grpo={"learning_rate": 2e-3}), tasks=LONG),
    Case("dialogue", game, tasks=GAMES),
    Case("preferences", preferred, tasks=PREFERRED),
]  # fmt: skip
