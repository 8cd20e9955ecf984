"""Prompts as an environment: the state is a prompt, the action its completion, the rewards judge
it, and that is all.
"""

import random
from collections.abc import Sequence
from typing import Protocol

from llmpolicy.environments.base import Outcome
from llmpolicy.episode import Episode
from llmpolicy.errors import TaskError
from llmpolicy.tasks import Row
from llmpolicy.types import Action, Prompt, RowScore, Sample


class Judge(Protocol):
    """What is needed of ``llmpolicy.rewards.Rewards``: a score a sample."""

    def score(
        self, samples: Sequence[Sample], group_size: int | None = None
    ) -> Sequence[RowScore]: ...


class PromptEnvironment:
    """``prompts`` prompts a time, each in a group of ``group_size`` episodes of one turn.

    An episode terminates when its completion does, and is truncated when the completion hit its
    length limit. The reward of a completion that cannot be judged is NaN. Raises TaskError when
    there are fewer rows than ``prompts``.
    """

    def __init__(
        self, rows: Sequence[Row], rewards: Judge, *, prompts: int = 8, group_size: int = 8
    ) -> None:
        if len(rows) < prompts:
            raise TaskError(
                f"{prompts} different prompts are drawn at a time, but the task has {len(rows)}"
                " rows"
            )
        self.rows, self.rewards = rows, rewards
        self.prompts, self.group_size = prompts, group_size
        self.groups = [prompt for prompt in range(prompts) for _ in range(group_size)]
        self.drawn: list[Row] = []

    def reset(self, seed: int) -> Sequence[Prompt]:
        """Draw prompts without repetition; each is the state of one group."""
        places = random.Random(seed).sample(range(len(self.rows)), self.prompts)
        self.drawn = [self.rows[places[group]] for group in self.groups]
        return [row.prompt for row in self.drawn]

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """Judge every completion, which is a turn of ``action.turns``. Every episode ends here."""
        states, samples = [], []
        for row, turn in zip(rows, action.turns, strict=True):
            states.append(self.drawn[row].prompt)
            samples.append(self.drawn[row].sample(Episode([turn])))
        scores = self.rewards.score(samples, group_size=self.group_size)
        rewards = [score.number for score in scores]
        terminated = [turn.terminated for turn in action.turns]
        return Outcome(states, rewards, terminated, [not ended for ended in terminated], scores)
