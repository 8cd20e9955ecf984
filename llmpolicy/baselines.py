"""Baselines of the loop: what a step was expected to earn, so that its weight is how much better it
went on than that.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llmpolicy.environments.base import Environment
from llmpolicy.errors import RecipeError, called
from llmpolicy.objectives import group_advantages, return_to_go
from llmpolicy.policies.network import mlp, stack
from llmpolicy.recipe import BaselineName
from llmpolicy.reference import name_of
from llmpolicy.rollout import Rollout


class Baseline(Protocol):
    """What a step was expected to earn; subtracting it changes no expectation of ∇J and makes it
    far less noisy.
    """

    def weight(self, experience: Rollout) -> Tensor:
        """How much better than expected each step went on, (N, L)."""
        ...

    def learn(self, experience: Rollout) -> None:
        """Expect better the next time."""
        ...

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class TimeStepMean(nn.Module):
    """The mean return-to-go, at the same time step, of all episodes that still run; it has nothing
    to learn.

    An episode is compared with a mean that contains it: with n that run, a step's part of ∇J times
    1 − 1/n in expectation, so a step that few reach counts less.
    """

    def __init__(self, environment: Environment, gamma: float, seed: int) -> None:
        super().__init__()
        if len(environment.groups) < 2:
            raise RecipeError(
                "baseline 'time_step': found 1 episode side by side; expected at least 2, to"
                " compare them"
            )
        self.gamma = gamma

    def weight(self, experience: Rollout) -> Tensor:
        returns = return_to_go(experience.rewards, experience.mask, self.gamma)  # (N, L)
        judged = experience.mask & ~returns.isnan()  # (N, L)
        mean = torch.where(judged, returns, 0.0).sum(0) / judged.sum(0).clamp(min=1)  # (L,)
        return torch.where(judged, returns - mean, 0.0)

    def learn(self, experience: Rollout) -> None:
        pass


class GroupMean(nn.Module):
    """The mean return of the episodes that began in the same state, in units of their deviation:
    GRPO at ratio 1.

    It estimates what `group_advantages` with its scale does: each start's gradient times a factor
    of its own.
    """

    def __init__(self, environment: Environment, gamma: float, seed: int) -> None:
        super().__init__()
        sizes = {list(environment.groups).count(group) for group in environment.groups}
        if len(sizes) != 1 or sorted(environment.groups) != list(environment.groups):
            raise RecipeError(
                f"baseline 'group': found groups of {sorted(sizes)} episodes; expected equal sizes,"
                " group by group"
            )
        self.group_size = sizes.pop()
        if self.group_size < 2:
            raise RecipeError(
                "baseline 'group': found groups of 1 episode; expected at least 2 that begin in the"
                " same state"
            )

    def weight(self, experience: Rollout) -> Tensor:
        mask = experience.mask  # (N, L)
        returns = experience.rewards.sum(1)  # (N,)
        return group_advantages(returns.view(-1, self.group_size)).view(-1, 1) * mask

    def learn(self, experience: Rollout) -> None:
        pass


class LearnedValue(nn.Module):
    """A network V(s) fitted by regression to the returns; it also says what an episode that was cut
    off would still earn.

    It is fitted after it was asked, so as a baseline it adds no bias; where an episode was cut off,
    V(s) behind the cut is as wrong as the network.
    """

    STEPS, LEARNING_RATE, HIDDEN = 10, 1e-2, (64, 64)

    def __init__(self, environment: Any, gamma: float, seed: int) -> None:
        super().__init__()
        if not hasattr(environment, "obs_dim"):
            raise RecipeError(
                "baseline 'value': found prompts; expected states that are vectors (use baseline"
                " 'group')"
            )
        if gamma >= 1:
            raise RecipeError(
                f"baseline 'value': found gamma {gamma}; expected below 1, as its scale is 1 / (1 -"
                " gamma) steps"
            )
        self.gamma = gamma
        self.network = mlp([environment.obs_dim, *self.HIDDEN, 1], seed=seed, final_gain=1.0)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.LEARNING_RATE)

    def forward(self, states: Any) -> Tensor:
        # The network predicts the reward of one step; 1 / (1 − γ) is how many of them a return adds
        # up.
        return self.network(stack(states)).squeeze(1) / (1 - self.gamma)

    @torch.no_grad()
    def returns(self, experience: Rollout) -> Tensor:
        """Return-to-go (N, L): nothing follows a terminated episode, V(s) follows a truncated
        one.
        """
        final = torch.where(experience.terminated, 0.0, self(experience.final_states))  # (N,)
        return return_to_go(experience.rewards, experience.mask, self.gamma, final)

    @torch.no_grad()
    def weight(self, experience: Rollout) -> Tensor:
        expected = torch.zeros_like(experience.rewards)  # (N, L)
        expected[experience.mask] = self(experience.states)
        return self.returns(experience) - expected

    def learn(self, experience: Rollout) -> None:
        states, returns = (
            stack(experience.states),
            self.returns(experience)[experience.mask],
        )  # (B, obs_dim), (B,)
        for _ in range(self.STEPS):
            error = (1 - self.gamma) * (self(states) - returns)  # (B,)
            self.optimizer.zero_grad()
            error.square().mean().backward()
            self.optimizer.step()

    def get_extra_state(self) -> Any:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: Any) -> None:
        self.optimizer.load_state_dict(state)


Make = Callable[[Any, float, int], Baseline]
"""What makes a baseline of an environment, gamma and a seed."""

METHODS = ("weight", "learn", "state_dict", "load_state_dict")

BASELINES: dict[BaselineName, Make] = {
    "time_step": TimeStepMean,
    "value": LearnedValue,
    "group": GroupMean,
}


def make_baseline(
    baseline: BaselineName | Make, environment: Environment, gamma: float, seed: int
) -> Baseline:
    """A baseline by its name, or by the function that makes it; RecipeError for what is none."""
    if isinstance(baseline, str):
        return BASELINES[baseline](environment, gamma, seed)
    with called(f"reinforce.baseline {name_of(baseline)!r} of an environment, gamma and a seed"):
        instance = baseline(environment, gamma, seed)
    lacking = [name for name in METHODS if not hasattr(instance, name)]
    if lacking:
        raise RecipeError(
            f"reinforce.baseline made a {type(instance).__name__} without {lacking[0]!r}; expected"
            f" {', '.join(METHODS)}"
        )
    return instance
