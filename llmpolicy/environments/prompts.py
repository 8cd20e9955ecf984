"""Prompts as an environment: the state is a prompt, the action its completion, the rewards judge
it, and that is all.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmpolicy.environments.base import Outcome
from llmpolicy.errors import TaskError
from llmpolicy.tasks import Row, prompt_text
from llmpolicy.types import Action, Completion, Prompt, Sample


class Judge(Protocol):
    """What is needed of ``llmpolicy.rewards.Rewards``: one record with a ``value`` (None: cannot be
    judged) a sample.
    """

    def score(self, samples: Sequence[Sample], group_size: int | None = None) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """The completions of all episodes as the rewards saw them, their scores, and the
    log-probability of each token.
    """

    samples: Sequence[Sample]
    scores: Sequence[Any]
    log_probs: Sequence[Sequence[float]] | None


class PromptEnvironment:
    """``prompts`` prompts a time, each in a group of ``group_size`` episodes of one step.

    ``decode`` turns the token ids of a completion into its text; ``read``, where it is given, a
    prompt and such ids into the text that is continued, the text of the completion and all that was
    written. An episode terminates when its completion does, and is truncated when the completion
    hit its length limit. The reward of a completion that cannot be judged is NaN. ``update`` counts
    the batches that were judged, from 0, and is what a reward gets as ``step``; ``batch`` is the
    last one. Raises TaskError when there are fewer rows than ``prompts``.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        rewards: Judge,
        decode: Callable[[Sequence[int]], str],
        *,
        read: Callable[[Prompt, Sequence[int]], Completion] | None = None,
        prompts: int = 8,
        group_size: int = 8,
    ) -> None:
        if len(rows) < prompts:
            raise TaskError(
                f"{prompts} different prompts are drawn at a time, but the task has {len(rows)}"
                " rows"
            )
        self.rows, self.rewards, self.decode, self.read = rows, rewards, decode, read
        self.prompts, self.group_size = prompts, group_size
        self.groups = [prompt for prompt in range(prompts) for _ in range(group_size)]
        self.drawn: list[Row] = []
        self.update = 0
        self.batch: Batch | None = None

    def reset(self, seed: int) -> Sequence[Prompt]:
        """Draw prompts without repetition; each is the state of one group."""
        drawn = random.Random(seed).sample(range(len(self.rows)), self.prompts)
        self.drawn = [self.rows[drawn[group]] for group in self.groups]
        return [row.prompt for row in self.drawn]

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """Judge every completion; ``action.value`` holds their token ids. Every episode ends
        here.
        """
        terminated = [bool(ended) for ended in action.terminated]
        samples = [
            self._sample(self.drawn[row], ids, not end)
            for row, ids, end in zip(rows, action.value, terminated, strict=True)
        ]
        scores = self.rewards.score(samples, group_size=self.group_size)
        self.batch, self.update = Batch(samples, scores, _log_probs(action)), self.update + 1
        rewards = [float("nan") if score.value is None else float(score.value) for score in scores]
        return Outcome(
            [self.drawn[row].prompt for row in rows],
            rewards,
            terminated,
            [not end for end in terminated],
        )

    def _sample(self, row: Row, ids: Sequence[int], truncated: bool) -> Sample:
        if self.read is None:
            return row.sample(
                prompt_text(row.prompt), self.decode(ids), ids, truncated, self.update
            )
        read = self.read(row.prompt, ids)
        return row.sample(str(read.prompt), read.text, ids, truncated, self.update, read.raw)


def _log_probs(action: Action) -> list[list[float]] | None:
    """The log-probability of every token of each completion, without what fills short rows."""
    if action.log_prob is None:
        return None
    return [
        row[: len(ids)] for row, ids in zip(action.log_prob.tolist(), action.value, strict=True)
    ]
