"""Environments of dialogues for the tests, as a user writes them, and a trainer that talks with
them.
"""

import random
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

from llmpolicy.environments import Answer, Done
from llmpolicy.environments.dialogue import Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.grpo.dialogues import Talk
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.speech import speech_of
from tests import training

FILE = str(Path(__file__).resolve())


class Silent:
    """Says what the row asks, and never answers."""

    def reset(self, **row: Any) -> None:
        return None

    def get_reward(self) -> float:
        return 1.0


class Echo:
    """Answers with a word that depends on the reply, for three turns; pays some of them."""

    def reset(self, seed: int) -> str:
        self.turns, self.seed = 0, seed
        return f" {seed % 10}"

    def step(self, reply: Any) -> Any:
        self.turns += 1
        worth = (sum(reply.token_ids) + self.turns) % 5
        if self.turns == 3 or worth == 4:
            return Done(reward=float(worth), why="enough")
        return Answer("12"[worth % 2] * (1 + worth), reward=float(worth))


class Paying:
    """Pays each turn, says no end, and nothing of the whole."""

    def reset(self, seed: int) -> str:
        self.turns = 0
        return "1"

    def step(self, reply: str) -> Answer:
        self.turns += 1
        return Answer("2", reward=float(self.turns - 1))


class Counted:
    """Fails for some rows, by their column."""

    def reset(self, answer: str, row_fails: str = "") -> str:
        return "?"

    def step(self, reply: str) -> Any:
        raise ValueError("no answer to that")


class Half:
    """Raises in reset where the seed leaves 1 by 3."""

    def reset(self, seed: int) -> str:
        if seed % 3 == 1:
            raise OSError("no such server")
        return "1"

    def step(self, reply: str) -> Done:
        return Done(reward=float(len(reply)))


class Dice:
    """What its global random numbers say, which the seed alone decides."""

    def reset(self, seed: int) -> str:
        return str(random.randint(0, 99))

    def step(self, reply: str) -> Done:
        return Done(reward=random.random())


class Endless:
    """Begins with more than a model reads."""

    def reset(self) -> str:
        return "1 " * 5000

    def step(self, reply: str) -> None:
        return None


class Speechless:
    """Says nothing."""

    def reset(self) -> None:
        return None

    def step(self, reply: str) -> None:
        return None


@lru_cache
def players(name: str) -> Players:
    """The processes of a class of this file, begun once."""
    return Players(f"{FILE}:{name}", seconds=20.0)


def policy(**settings: Any) -> CausalLMPolicy:
    """A tiny policy that soon ends a turn."""
    return training.policy(stop=list("0123456789"), **settings)


def partner(
    policy: CausalLMPolicy,
    name: str,
    *,
    chat: bool = True,
    seed: int = 0,
    patience: float = inf,
    **limits: Any,
) -> Partner:
    """Whom a policy talks with: a class of this file."""
    here = players(name)
    speech = speech_of(policy.codec, here.offer.tools, chat=chat)
    ends = Limits(**{"turns": 4, "tokens": 60, "reply": 6, **limits})
    return Partner(here, speech, ends, seed, patience)


def trainer(
    folder: Path,
    policy: CausalLMPolicy,
    name: str,
    *,
    by_turn: bool = False,
    rewards: Any = ("environment",),
    options: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    **grpo: Any,
) -> PolicyTrainer:
    """A tiny trainer whose policy talks with a class of this file."""
    talk = Talk(partner(policy, name, **(limits or {})), by_turn)
    reward = [
        {"fn": "environment:paid", "name": "environment"} if r == "environment" else r
        for r in rewards
    ]
    return training.trainer(
        folder,
        policy,
        reward=reward,
        options={"talk": talk, **(options or {})},
        **{"max_completion_length": 60, **grpo},
    )
