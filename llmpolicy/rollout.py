"""A policy acts in an environment until every episode has ended; what happened is kept as a
record.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmpolicy.environments.base import Environment, Judging
from llmpolicy.episode import NOT_JUDGED, Episode, Turn, turns_of
from llmpolicy.policies.base import Actor, Held, Policy, Remembering
from llmpolicy.types import Action

NOTHING = Action((), None, None, None, [])
"""The action of no row."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """N episodes as tensors: (N, L), right-padded to the longest.

    ``states`` and ``actions`` list the B turns of all episodes, one episode after the other: the
    rows at which ``mask`` holds, in its order.
    """

    episodes: Sequence[Episode]

    @property
    def turns(self) -> list[Turn]:
        """Each of the B turns."""
        return turns_of(self.episodes)

    @property
    def states(self) -> list[Any]:
        """The state of each of the B turns."""
        return [turn.state for turn in self.turns]

    @property
    def actions(self) -> list[Any]:
        """The action of each of the B turns."""
        return [turn.action for turn in self.turns]

    @property
    def final_states(self) -> list[Any]:
        """The state that each episode ended in."""
        return [episode.final for episode in self.episodes]

    @property
    def rewards(self) -> Tensor:
        """What each turn earned, 0 behind an episode's end."""
        rows = [torch.tensor(episode.rewards) for episode in self.episodes]
        return pad_sequence(rows, batch_first=True)  # (N, L)

    @property
    def weights(self) -> Tensor:
        """How much each of the B turns weighs, in 64 bits."""
        weights: list[float] = []
        for episode in self.episodes:
            weights += episode.weights
        return torch.tensor(weights, dtype=torch.float64)  # (B,)

    @property
    def mask(self) -> Tensor:
        """Where an episode has a turn."""
        lengths = torch.tensor([len(episode.turns) for episode in self.episodes])  # (N,)
        return torch.arange(int(lengths.max())) < lengths[:, None]  # (N, L)

    @property
    def terminated(self) -> Tensor:
        """Which episodes ended by their environment's own rules; the others were only cut off."""
        return torch.tensor([episode.terminated for episode in self.episodes])  # (N,)

    def weighed(self, weight: Tensor) -> "Rollout":
        """The same episodes with a weight (N, L) for each turn."""
        episodes = []
        for episode, row in zip(self.episodes, weight.tolist(), strict=True):
            episodes.append(replace(episode, weights=row[: len(episode.turns)]))
        return Rollout(episodes)


def rollout(
    policy: Actor,
    environment: Environment,
    *,
    seed: int | None,
    greedy: bool = False,
    horizon: int | None = None,
    version: int = 0,
) -> Rollout:
    """One episode in each of the environment's places: state -> policy -> action -> environment ->
    next state and reward. Where the environment answers some before others, these go on.

    All randomness follows from ``seed``; without one actions are drawn from the global stream.
    After ``horizon`` turns an episode that still runs is cut off (truncated). ``version`` is how
    many updates the policy has had.
    """
    generator = None
    if seed is not None:
        device = next(iter(policy.parameters())).device if isinstance(policy, Policy) else "cpu"
        generator = torch.Generator(device=device).manual_seed(seed)
    memory: AbstractContextManager[Held | None] = nullcontext()
    if isinstance(policy, Remembering) and getattr(environment, "goes_on", False):
        memory = policy.remembering()
    with memory as held:
        return _played(policy, environment, seed or 0, greedy, generator, horizon, version, held)


def _played(
    policy: Actor,
    environment: Environment,
    seed: int,
    greedy: bool,
    generator: torch.Generator | None,
    horizon: int | None,
    version: int,
    held: Held | None,
) -> Rollout:
    states = list(environment.reset(seed))
    turns: dict[int, list[Turn]] = defaultdict(list)
    rewards: dict[int, list[float]] = defaultdict(list)
    scores = [NOT_JUDGED] * len(states)
    ready = [row for row, state in enumerate(states) if not getattr(state, "ended", "")]
    waiting: set[int] = set()
    while ready or waiting:
        action = NOTHING
        if ready:
            here = [states[row] for row in ready]
            action = policy.act(here, greedy=greedy, generator=generator)
            for row, turn in zip(ready, action.turns or _turns(here, action), strict=True):
                turn.version = version
                turns[row].append(turn)
        outcome = environment.step(ready, action)
        answered = ready if outcome.rows is None else outcome.rows
        waiting = waiting.union(ready).difference(answered)
        for i, row in enumerate(answered):
            turn = turns[row][-1]
            turn.terminated = bool(outcome.terminated[i])
            cut = bool(outcome.truncated[i]) or len(turns[row]) == horizon
            turn.truncated = cut and not turn.terminated
            rewards[row].append(outcome.rewards[i])
            states[row] = outcome.states[i]
            if outcome.scores:
                scores[row] = outcome.scores[i]
            if held is not None and not turn.goes_on:
                held.drop([*turn.state, *turn.action])
        ready = [row for row in answered if turns[row][-1].goes_on]
    episodes = []
    for row, group in enumerate(environment.groups):
        played = turns[row] or [_none(states[row])]
        earned = rewards[row] or [nan]
        episodes.append(Episode(played, group, 0, earned, scores[row], (), states[row]))
    if isinstance(environment, Judging):
        episodes = environment.judged(episodes)
    return Rollout(episodes)


def _none(state: Any) -> Turn:
    """The turn of an episode that was over before it began: nothing was chosen in it."""
    return Turn(list(state), [], [], False, True)


def _turns(states: Sequence[Any], action: Action) -> list[Turn]:
    """A turn a row, of an action that is kept in columns."""
    turns = [Turn(state, value) for state, value in zip(states, action.value, strict=True)]
    if action.log_prob is not None:
        counts = action.mask.sum(1).tolist()
        for turn, log_probs, count in zip(turns, action.log_prob.tolist(), counts, strict=True):
            turn.log_probs = log_probs[:count]
    return turns
