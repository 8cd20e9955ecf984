"""Prompts as an environment: the state is a prompt, the action its completion, the rewards judge
it, and that is all.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
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


class Draw:
    """Which rows are played at a time: ``prompts`` of them, each by a group of ``group_size``.

    Raises TaskError when there are fewer rows than ``prompts``.
    """

    def __init__(self, source: Sequence[Row], prompts: int, group_size: int) -> None:
        if len(source) < prompts:
            raise TaskError(
                f"{prompts} different prompts are drawn at a time, but the task has {len(source)}"
                " rows"
            )
        self.source, self.prompts, self.group_size = source, prompts, group_size
        self.groups = [prompt for prompt in range(prompts) for _ in range(group_size)]

    def rows(self, seed: int) -> list[Row]:
        """The row of each episode; none is drawn twice."""
        places = random.Random(seed).sample(range(len(self.source)), self.prompts)
        return [self.source[places[group]] for group in self.groups]


class PromptEnvironment:
    """``prompts`` prompts a time, each in a group of ``group_size`` episodes of one turn.

    An episode terminates when its completion does, and is truncated when the completion hit its
    length limit. The reward of a completion that cannot be judged is NaN. Raises TaskError when
    there are fewer rows than ``prompts``.
    """

    def __init__(
        self, rows: Sequence[Row], rewards: Judge, *, prompts: int = 8, group_size: int = 8
    ) -> None:
        self.draw, self.rewards = Draw(rows, prompts, group_size), rewards
        self.groups = self.draw.groups
        self.drawn: list[Row] = []

    def reset(self, seed: int) -> Sequence[Prompt]:
        """Draw prompts without repetition; each is the state of one group."""
        self.drawn = self.draw.rows(seed)
        return [row.prompt for row in self.drawn]

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """Judge every completion, which is a turn of ``action.turns``. Every episode ends here."""
        states, samples = [], []
        for row, turn in zip(rows, action.turns, strict=True):
            states.append(self.drawn[row].prompt)
            samples.append(self.drawn[row].sample(Episode([turn])))
        scores = self.rewards.score(samples, group_size=self.draw.group_size)
        rewards = [score.number for score in scores]
        terminated = [turn.terminated for turn in action.turns]
        return Outcome(states, rewards, terminated, [not ended for ended in terminated], scores)

    def judged(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The episodes, each with its row."""
        pairs = zip(episodes, self.drawn, strict=True)
        return [replace(episode, row=row.index) for episode, row in pairs]
