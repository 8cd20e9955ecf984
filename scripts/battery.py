"""The attack battery over all of reward_fns and, beside them, TRL's own rewards: holes, controls
accepted, worst seconds.

``python scripts/battery.py [NAME ...]`` checks the rewards named, or all that declare what they
read.
"""

import argparse
import importlib
import inspect
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llmpolicy.audit.battery import ATTACKS, Attack
from llmpolicy.audit.check import Report, check_reward
from llmpolicy.errors import LLMPolicyError
from llmpolicy.reference import SHIPPED, shipped_names
from llmpolicy.rewards import contract_of, reward

NOT_RUN = "reward_model"
"""It is a model, and no text it reads is right or wrong."""

SPARED = [attack for attack in ATTACKS if attack.family != "I"]


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 1 when one of our rewards has a hole or a broken contract."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "names", nargs="*", help="module:function; all of reward_fns and TRL's by default"
    )
    parser.add_argument("--no-trl", action="store_true", help="leave TRL's own rewards out")
    options = parser.parse_args(argv)
    print(
        f"{'reward':36} {'attacks':>7} {'holes':>5} {'controls':>9} {'worst s':>8} {'errors':>6}"
        f" {'all s':>6}"
    )
    clean = True
    for name in options.names or ours():
        clean &= _row(name, name)
    if not options.names and not options.no_trl:
        for name, function in trl_rewards().items():
            _row(name, function, SPARED)
        print(
            "TRL's rewards are spared family I: off the main thread nothing stops math-verify on a"
            " bomb."
        )
    return int(not clean)


def ours() -> list[str]:
    """The rewards of reward_fns that declare a contract, by name."""
    if str(SHIPPED.parent) not in sys.path:
        sys.path.append(str(SHIPPED.parent))
    rewards = []
    for module in shipped_names():
        if module == NOT_RUN:
            continue
        members = importlib.import_module(f"reward_fns.{module}")
        for name, function in inspect.getmembers(members, inspect.isfunction):
            if function.__module__ == members.__name__ and contract_of(function).kind is not None:
                rewards.append(f"{module}:{name}")
    return rewards


def _row(
    name: str, function: str | Callable[..., Any], attacks: Sequence[Attack] = ATTACKS
) -> bool:
    started = time.perf_counter()
    try:
        report: Report = check_reward(function, attacks=attacks)
    except LLMPolicyError as error:
        print(f"{name:36} {error}", flush=True)
        return False
    controls = f"{report.accepted}/{report.total}"
    print(
        f"{name:36} {report.attacks:7} {len(report.holes):5} {controls:>9}"
        f" {report.worst_seconds:8.2f} {len(report.errors):6} {time.perf_counter() - started:6.1f}",
        flush=True,
    )
    return report.clean


def trl_rewards() -> dict[str, Callable[..., Any]]:
    """TRL's own rewards, called as TRL calls them, on one completion of a chat."""
    from trl import rewards

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def turn(completion: str) -> list[list[dict[str, str]]]:
        return [[{"role": "assistant", "content": completion}]]

    answer_of = partial(reward, kind="answer", range=(0, 1), timeout=30, deterministic=False)

    @answer_of(formats=("\\boxed{{}}", "${}$"))
    def accuracy_reward(completion: str, answer: str) -> float | None:
        return _only(rewards.accuracy_reward(turn(completion), solution=[f"${answer}$"]))

    @answer_of(formats=("<think>so</think>\\boxed{{}}",))
    def reasoning_accuracy_reward(completion: str, answer: str) -> float | None:
        graded = rewards.reasoning_accuracy_reward(turn(completion), solution=[f"${answer}$"])
        return _only(graded)

    @reward(kind="format", range=(0, 1))
    def think_format_reward(completion: str) -> float | None:
        return _only(rewards.think_format_reward(turn(completion)))

    functions = (accuracy_reward, reasoning_accuracy_reward, think_format_reward)
    return {f"trl {function.__name__}": function for function in functions}


def _only(values: Sequence[float | None]) -> float | None:
    [value] = values
    return None if value is None or not math.isfinite(value) else value


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    raise SystemExit(main())
