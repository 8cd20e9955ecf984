"""Gymnasium's environments side by side, stepped one after the other: their physics as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from llmpolicy.environments.base import Outcome
from llmpolicy.errors import RecipeError, nearest
from llmpolicy.types import Action

COUNT = 16
"""Episodes that are played side by side where nobody says how many."""


class GymnasiumEnvironment:
    """``count`` copies of one environment whose states and actions are numbered or vectors.

    Vector actions are clipped to the environment's bounds here, so that a policy's log_prob stays
    that of what it drew. Raises RecipeError for an unknown id, a setting that the environment
    refuses, or spaces of another kind.
    """

    def __init__(self, id: str, count: int = COUNT, **settings: Any) -> None:
        self._take([_make(id, settings) for _ in range(count)], id)

    @classmethod
    def of(cls, copies: Sequence[Any], name: str) -> "GymnasiumEnvironment":
        """Environments of one's own that have gymnasium's spaces and methods."""
        environment = cls.__new__(cls)
        environment._take(copies, name)
        return environment

    def _take(self, copies: Sequence[Any], name: str) -> None:
        self.copies, self.groups = copies, range(len(copies))
        observations, actions = copies[0].observation_space, copies[0].action_space
        if not _is_flat(observations):
            raise RecipeError(
                f"environment {name!r} has states {observations}; expected Discrete, or a Box of"
                " one axis, such as CartPole-v1's"
            )
        if not _is_flat(actions):
            raise RecipeError(
                f"environment {name!r} has actions {actions}; expected Discrete, or a Box of one"
                " axis"
            )
        self.observations, self.actions = observations, actions
        self.obs_dim = _size(observations)
        self.n_actions = int(actions.n) if isinstance(actions, Discrete) else None
        self.action_dim = 1 if isinstance(actions, Discrete) else _size(actions)

    def reset(self, seed: int) -> Sequence[Tensor]:
        """Begin an episode in every copy, each from its own seed."""
        seeds = np.random.SeedSequence(seed).generate_state(len(self.copies))
        pairs = zip(self.copies, seeds, strict=True)
        return self._vectors([copy.reset(seed=int(seed))[0] for copy, seed in pairs])

    def step(self, rows: Sequence[int], action: Action) -> Outcome:
        """One step of physics in each of the copies ``rows``; ``action.value`` is (b,) or (b,
        action_dim).
        """
        pairs = zip(rows, self._executable(action.value), strict=True)
        answers = [self.copies[row].step(chosen) for row, chosen in pairs]
        states, rewards, terminated, truncated, _ = zip(*answers, strict=True)
        return Outcome(self._vectors(states), list(map(float, rewards)), terminated, truncated)

    def _vectors(self, states: Sequence[Any]) -> Sequence[Tensor]:
        """The states as vectors; of a numbered one that is 1 at its number and 0 elsewhere."""
        if isinstance(self.observations, Discrete):
            numbers = np.array(states) - int(self.observations.start)
            return torch.eye(self.obs_dim)[torch.from_numpy(numbers)].unbind()
        return torch.from_numpy(np.stack(states).astype(np.float32)).unbind()

    def _executable(self, value: Tensor) -> Sequence[Any]:
        """The actions as gymnasium takes them: its own numbering, or vectors within its bounds."""
        array = value.numpy()
        if isinstance(self.actions, Box):
            return list(np.clip(array, self.actions.low, self.actions.high))
        return [int(number) + int(self.actions.start) for number in array]


def _is_flat(space: Any) -> bool:
    return isinstance(space, Discrete) or (isinstance(space, Box) and len(space.shape) == 1)


def _size(space: Any) -> int:
    """The numbers of a vector in a space; a numbered one has as many as it has numbers."""
    return int(space.n) if isinstance(space, Discrete) else int(space.shape[0])


def _make(id: str, settings: Mapping[str, Any]) -> Any:
    try:
        return gymnasium.make(id, disable_env_checker=True, **settings)
    except gymnasium.error.Error as error:
        if ":" not in id and id not in gymnasium.registry:
            raise RecipeError(
                f"environment: gymnasium has no {id!r}{nearest(id, gymnasium.registry)}"
            ) from error
        raise RecipeError(f"environment {id!r} cannot be made: {_line(error)}") from error
    except (TypeError, ImportError) as error:
        raise RecipeError(
            f"environment {id!r} cannot be made with {dict(settings)}: {_line(error)}"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
