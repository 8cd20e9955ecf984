"""A deterministic policy for continuous control: the action is a network of the state, a =
μ_θ(s).
"""

from collections.abc import Sequence
from typing import NoReturn, Self

import torch

from llmpolicy.errors import PolicyError
from llmpolicy.policies import network
from llmpolicy.policies.gaussian import GaussianMLP
from llmpolicy.types import Action


class DeterministicPolicy(network.SmallPolicy):
    """Always the same action in the same state; states are (B, obs_dim), actions (B, action_dim).

    It has no log-probabilities, so REINFORCE cannot train it: train a Gaussian policy, then keep
    its mean, which acts
    exactly as the Gaussian does when greedy::

        gaussian = GaussianMLP(obs_dim=3, action_dim=1)
        reinforce(gaussian, environment, settings)
        policy = DeterministicPolicy.from_gaussian(gaussian)
        torque = policy.act(states).value  # (B, 1)
    """

    def __init__(
        self, obs_dim: int, action_dim: int, hidden: Sequence[int] = (64, 64), seed: int = 0
    ) -> None:
        super().__init__()
        self.config = {"obs_dim": obs_dim, "action_dim": action_dim, "hidden": list(hidden)}
        self.mean = network.mlp([obs_dim, *hidden, action_dim], seed=seed, final_gain=0.01)

    @classmethod
    def from_gaussian(cls, gaussian: GaussianMLP) -> Self:
        """The mean of a Gaussian policy as a policy of its own, with a copy of its weights."""
        config = dict(gaussian.config)
        config.pop("std")
        policy = cls(**config)
        policy.mean.load_state_dict(gaussian.mean.state_dict())
        return policy

    def distribution(self, states: network.States) -> NoReturn:
        """Raises PolicyError: all probability lies on one point."""
        raise PolicyError(
            "DeterministicPolicy.distribution: μ(s) is a single action, it has no distribution; use"
            " GaussianMLP"
        )

    @torch.no_grad()
    def act(
        self,
        states: network.States,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """μ_θ(s) in each state, greedy or not; ``value`` is (B, action_dim) and there is no
        ``log_prob``.
        """
        return network.decided(self.mean(network.stack(states)))  # (B, action_dim)

    def log_prob(self, states: network.States, actions: network.States) -> NoReturn:
        """Raises PolicyError: a deterministic action has no log-probability."""
        raise PolicyError(
            "DeterministicPolicy.log_prob: a deterministic action has no log-probability; train a"
            " GaussianMLP"
        )
