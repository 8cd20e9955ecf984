"""Runs that are broken on purpose, each in one way."""

from collections.abc import Mapping
from typing import Any

from scripts.doctor_bench.build import base
from scripts.doctor_bench.cases import FEW, HERE, LONG, MANY, Case, paid, plain
from scripts.doctor_bench.faults import other_temperature
from scripts.doctor_bench.healthy import GAMES, LORA, game, preferred

TIGHT = {"choose": ("sums",), "judge": ("differences",)}
PROXIES = {"choose": ("sums",), "judge": ("differences", "hasty")}
SPIKES = {"scale_rewards": "none", "max_grad_norm": 1e9, "optim": "sgd", "learning_rate": 0.02}
ROOMY = {"max_completion_length": 60, "learning_rate": 4e-4}
LONGER, SHORTER = paid("longer", weight=4.0), paid("shorter", weight=4.0)
BIASED = plain(grpo={"top_p": 0.7}, allow_biased_sampler=True)
SOME = plain(rewards=[paid("gives_up")])
SWAPPED = plain(task={"columns": {"answer": "other"}})
LATE = {
    "beta": 0.001,
    "learning_rate": 0.02,
    "warmup_steps": 32,
    "lr_scheduler_type": "constant_with_warmup",
}
"""A rate that grows until it is too high."""


def _tight(task: str) -> Mapping[str, Any]:
    return {"grpo": {"max_completion_length": {"sums": 3, "differences": 2}[task]}}


def _taught(how: str, reward: str, length: int = 6) -> Any:
    def change(task: str) -> Mapping[str, Any]:
        model = {"path": str(base(f"{how}-{task}"))}
        return {
            "model": model,
            "rewards": [paid(reward)],
            "grpo": {"max_completion_length": length},
        }

    return change


def _certain(task: str) -> Mapping[str, Any]:
    run = _taught("zero", "lazy")(task)
    return {**run, "grpo": {**run["grpo"], "entropy_coef": 1e-6, "learning_rate": 6e-4}}


def _proxy(task: str) -> Mapping[str, Any]:
    if task == "hasty":
        sound = preferred(task)
        return {**sound, "grpo": {**sound["grpo"], "beta": 0.0, "learning_rate": 3e-4}}
    return {"rewards": [paid("high")], "evaluate": {"every": 4, "n": 128}}


def _fragile(task: str) -> Mapping[str, Any]:
    return game(task, f"{HERE}.games:Fragile")


def _tool(task: str) -> Mapping[str, Any]:
    environment = {"tools": [f"{HERE}.games:count"], "tools_in": "prompt", "turns": 2, "reply": 6}
    return {"environment": environment, "grpo": {"max_completion_length": 60}}


RIGHT, GRADED = paid("right"), paid("graded")

OF_REWARDS = [
    Case("all_wrong", plain(rewards=[paid("nothing")]), ("all_wrong",)),
    Case("all_right", plain(rewards=[paid("anything")]), ("all_right",)),
    Case("constant_part", plain(rewards=[RIGHT, paid("constant", weight=0.5)]), ("constant_part",)),
    Case("ruling_part", plain(rewards=[RIGHT, paid("high", weight=30.0)]), ("ruling_part",)),
    Case("paid_constant", _taught("zero", "broken_gold"), ("paid_constant",)),
    Case("noisy_reward", plain(rewards=[paid("noisy")]), ("noisy_reward",)),
    Case("swapped_labels", SWAPPED, ("chance_rewards",), FEW),
    Case("swapped_labels_many", SWAPPED, ("chance_rewards", "all_wrong"), MANY),
    Case("unjudged", plain(rewards=[paid("moody")]), ("unjudged",)),
    Case("unjudged_by_difficulty", SOME, ("unjudged_by_difficulty",), MANY),
    Case("truth_falls", _proxy, ("truth_falls",), PROXIES),
]
OF_COMPLETIONS = [
    Case("same_samples", plain(grpo={"temperature": 0.01}), ("no_exploration",), TIGHT),
    Case("constant_answer", _taught("seven", "right"), ("constant_answer",), MANY),
    Case("cut_off", _tight, ("cut_off",), TIGHT),
    Case("never_ends", _taught("endless", "begins", 16), ("never_ends",)),
    Case("length_hacking", plain(rewards=[GRADED, LONGER], grpo=ROOMY), ("length_hacking",), LONG),
    Case("length_collapse", plain(rewards=[GRADED, SHORTER]), ("length_hacking",), LONG),
    Case("duplicated_prompts", plain(task={"args": {"again": 0.5}}), ("duplicated_prompts",)),
    Case("overlap", plain(task={"args": {"size": 80, "spelled": True}}), ("overlap",)),
    Case("environment_failures", _fragile, ("environment_failures",), GAMES),
    Case("tool_never_called", _tool, ("tool_never_called",)),
]
OF_UPDATES = [
    Case("no_effect", plain(grpo={"learning_rate": 1e-9}), ("no_effect",)),
    Case("rate_too_high", plain(grpo={"learning_rate": 0.03}), ("broke_at_once",)),
    Case("frozen_adapter", plain(model={"lora": {**LORA, "lora_alpha": 1e-30}}), ("frozen",)),
    Case("kl_break", plain(grpo=LATE), ("kl_break",)),
    Case("gradient_break", plain(rewards=[paid("rare")], grpo=SPIKES), ("gradient_break",)),
    Case("non_finite", plain(loss=f"{HERE}.rewards:overflowing"), ("non_finite",)),
    Case("entropy_collapse", _certain, ("entropy_collapse",), MANY),
    Case("biased_sampler", BIASED, ("biased_sampler",)),
    Case("sampler_mismatch", plain(), ("sampler_mismatch",), fault=other_temperature),
]
BROKEN = [*OF_REWARDS, *OF_COMPLETIONS, *OF_UPDATES]
