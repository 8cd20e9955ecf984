"""A stochastic policy for a few discrete actions: π_θ(a | s) = softmax(f_θ(s))_a with a small
network f_θ.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from llmpolicy.policies import network
from llmpolicy.types import Action


class CategoricalMLP(network.SmallPolicy):
    """Chooses one of ``n_actions``; states are (B, obs_dim), actions (B,), and each action is T = 1
    decision.
    """

    def __init__(
        self, obs_dim: int, n_actions: int, hidden: Sequence[int] = (64, 64), seed: int = 0
    ) -> None:
        super().__init__()
        self.config = {"obs_dim": obs_dim, "n_actions": n_actions, "hidden": list(hidden)}
        # A small last layer makes all actions about equally likely at the start.
        self.logits = network.mlp([obs_dim, *hidden, n_actions], seed=seed, final_gain=0.01)

    def distribution(self, states: Sequence[Any] | Tensor) -> Categorical:
        """π(· | s) for each of B states."""
        return Categorical(
            logits=self.logits(network.stack(states)), validate_args=False
        )  # (B, n_actions)

    @torch.no_grad()
    def act(
        self,
        states: Sequence[Any] | Tensor,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Draw an action in each state, or take the likeliest one; ``value`` is (B,)."""
        pi = self.distribution(states)
        value = (
            pi.mode if greedy else torch.multinomial(pi.probs, 1, generator=generator).squeeze(1)
        )  # (B,)
        ones = torch.ones(len(value), 1, dtype=torch.bool)  # (B, 1)
        return Action(value, pi.log_prob(value).unsqueeze(1), ones, ones.squeeze(1))

    def log_prob(
        self, states: Sequence[Any] | Tensor, actions: Sequence[Any] | Tensor
    ) -> tuple[Tensor, Tensor]:
        """log π(a | s) and its mask, both (B, 1)."""
        log_prob = self.distribution(states).log_prob(network.stack(actions)).unsqueeze(1)  # (B, 1)
        return log_prob, torch.ones_like(log_prob, dtype=torch.bool)
