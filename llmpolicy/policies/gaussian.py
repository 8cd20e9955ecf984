"""A stochastic policy for continuous control: π_θ(a | s) = N(μ_θ(s), σ²), σ a parameter that does
not depend on the state.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from llmpolicy.policies import network
from llmpolicy.types import Action


class GaussianMLP(network.SmallPolicy):
    """Chooses a vector; states are (B, obs_dim), actions (B, action_dim), and each action is T = 1
    decision.

    Actions are unbounded and log_prob is that of the action as it was drawn; an environment with
    bounds clips it.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int] = (64, 64),
        std: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "obs_dim": obs_dim,
            "action_dim": action_dim,
            "hidden": list(hidden),
            "std": std,
        }
        self.mean = network.mlp([obs_dim, *hidden, action_dim], seed=seed, final_gain=0.01)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(std)))  # (action_dim,)

    def distribution(self, states: network.States) -> Independent:
        """π(· | s) for each of B states; its mode is its mean μ_θ(s)."""
        mean = self.mean(network.stack(states))  # (B, action_dim)
        normal = Normal(mean, self.log_std.exp(), validate_args=False)
        return Independent(normal, 1, validate_args=False)

    @torch.no_grad()
    def act(
        self,
        states: network.States,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Draw an action in each state, or take the mean; ``value`` is (B, action_dim)."""
        pi = self.distribution(states)
        value = pi.mean  # (B, action_dim)
        if not greedy:
            value = value + pi.stddev * torch.randn(value.shape, generator=generator)
        return network.decided(value, network.likely(pi, value)[0])

    def log_prob(self, states: network.States, actions: network.States) -> tuple[Tensor, Tensor]:
        """The log-density log π(a | s) and its mask, both (B, 1)."""
        return network.likely(self.distribution(states), actions)
