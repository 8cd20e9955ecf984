"""A policy acts in an environment until every episode has ended; what happened is kept as a
record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmpolicy.environments.base import Environment
from llmpolicy.policies.base import Policy
from llmpolicy.types import Episode, Step


@dataclass(frozen=True, slots=True)
class Rollout:
    """N episodes, and for each the state it ended in. As tensors they are (N, L), right-padded to
    the longest.

    ``states`` and ``actions`` list the B steps of all episodes, one episode after the other: the
    rows at which ``mask`` holds, in its order.
    """

    episodes: Sequence[Episode]
    final_states: Sequence[Any]

    @property
    def states(self) -> list[Any]:
        """The state of each of the B steps."""
        return [step.state for episode in self.episodes for step in episode.steps]

    @property
    def actions(self) -> list[Any]:
        """The action of each of the B steps."""
        return [step.action for episode in self.episodes for step in episode.steps]

    @property
    def rewards(self) -> Tensor:
        """What each step earned, 0 behind an episode's end."""
        rows = [torch.tensor([step.reward for step in episode.steps]) for episode in self.episodes]
        return pad_sequence(rows, batch_first=True)  # (N, L)

    @property
    def mask(self) -> Tensor:
        """Where an episode has a step."""
        lengths = torch.tensor([len(episode.steps) for episode in self.episodes])  # (N,)
        return torch.arange(int(lengths.max())) < lengths[:, None]  # (N, L)

    @property
    def terminated(self) -> Tensor:
        """Which episodes ended by their environment's own rules; the others were only cut off."""
        return torch.tensor([episode.steps[-1].terminated for episode in self.episodes])  # (N,)


def rollout(
    policy: Policy,
    environment: Environment,
    *,
    seed: int,
    greedy: bool = False,
    horizon: int | None = None,
) -> Rollout:
    """One episode in each of the environment's places: state -> policy -> action -> environment ->
    next state and reward.

    All randomness follows from ``seed``. After ``horizon`` steps an episode that still runs is cut
    off (truncated).
    """
    generator = torch.Generator(device=next(iter(policy.parameters())).device).manual_seed(seed)
    states = list(environment.reset(seed))
    steps: list[list[Step]] = [[] for _ in states]
    running = list(range(len(states)))
    while running:
        here = [states[row] for row in running]
        action = policy.act(here, greedy=greedy, generator=generator)
        there = environment.step(running, action)
        cut = len(steps[running[0]]) + 1 == horizon
        for i, row in enumerate(running):
            ended = bool(there.terminated[i])
            truncated = not ended and (cut or bool(there.truncated[i]))
            steps[row].append(Step(here[i], action.value[i], there.rewards[i], ended, truncated))
            states[row] = there.states[i]
        running = [
            row for row in running if not (steps[row][-1].terminated or steps[row][-1].truncated)
        ]
    return Rollout(
        [Episode(done, group) for done, group in zip(steps, environment.groups, strict=True)],
        states,
    )
