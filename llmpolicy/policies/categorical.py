"""A stochastic policy for a few discrete actions: π_θ(a | s) = softmax(f_θ(s))_a with a small
network f_θ.
"""

from collections.abc import Sequence

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

    def distribution(self, states: network.States) -> Categorical:
        """π(· | s) for each of B states."""
        logits = self.logits(network.stack(states))  # (B, n_actions)
        return Categorical(logits=logits, validate_args=False)

    @torch.no_grad()
    def act(
        self,
        states: network.States,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Draw an action in each state, or take the likeliest one; ``value`` is (B,)."""
        pi = self.distribution(states)
        value = pi.mode  # (B,)
        if not greedy:
            value = torch.multinomial(pi.probs, 1, generator=generator).squeeze(1)
        return network.decided(value, network.likely(pi, value)[0])

    def log_prob(self, states: network.States, actions: network.States) -> tuple[Tensor, Tensor]:
        """log π(a | s) and its mask, both (B, 1)."""
        return network.likely(self.distribution(states), actions)
