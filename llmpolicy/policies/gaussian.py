"""A stochastic policy for continuous control: π_θ(a | s) = N(μ_θ(s), σ²), σ a parameter that does
not depend on the state.
"""

import math
from collections.abc import Sequence
from typing import Any

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

    def distribution(self, states: Sequence[Any] | Tensor) -> Independent:
        """π(· | s) for each of B states; its mode is its mean μ_θ(s)."""
        normal = Normal(
            self.mean(network.stack(states)), self.log_std.exp(), validate_args=False
        )  # (B, action_dim)
        return Independent(normal, 1, validate_args=False)

    @torch.no_grad()
    def act(
        self,
        states: Sequence[Any] | Tensor,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Draw an action in each state, or take the mean; ``value`` is (B, action_dim)."""
        pi = self.distribution(states)
        noise = (
            torch.zeros_like(pi.mean) if greedy else torch.randn(pi.mean.shape, generator=generator)
        )
        value = pi.mean + pi.stddev * noise  # (B, action_dim)
        ones = torch.ones(len(value), 1, dtype=torch.bool)  # (B, 1)
        return Action(value, pi.log_prob(value).unsqueeze(1), ones, ones.squeeze(1))

    def log_prob(
        self, states: Sequence[Any] | Tensor, actions: Sequence[Any] | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The log-density log π(a | s) and its mask, both (B, 1)."""
        log_prob = self.distribution(states).log_prob(network.stack(actions)).unsqueeze(1)  # (B, 1)
        return log_prob, torch.ones_like(log_prob, dtype=torch.bool)
