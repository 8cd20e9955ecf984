"""A small policy of one's own, by a function of a recipe: and its life on disk."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from llmpolicy.errors import PolicyError, RecipeError, called
from llmpolicy.policies.network import WEIGHTS, SmallPolicy

METHODS = ("distribution", "act", "log_prob")


class OwnPolicy(SmallPolicy):
    """A policy that a function made, with a place on disk; all that it does is the other's."""

    def __init__(self, policy: Any, name: str) -> None:
        super().__init__()
        self.policy, self.config = policy, {"fn": name}

    def distribution(self, states: Any) -> torch.distributions.Distribution:
        """π(·|s) for each of B states."""
        return self.policy.distribution(states)

    def act(self, states: Any, **how: Any) -> Any:
        """Choose an action in each state."""
        return self.policy.act(states, **how)

    def log_prob(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """log π(a | s) and its mask, both (B, T)."""
        return self.policy.log_prob(states, actions)

    def read(self, folder: Path) -> "OwnPolicy":
        """A copy of it with the weights that were saved in a folder."""
        policy = copy.deepcopy(self)
        try:
            policy.load_state_dict(load_file(folder / WEIGHTS))
        except (FileNotFoundError, RuntimeError) as error:
            text = " ".join(str(error).split())
            raise PolicyError(
                f"{folder} holds no weights for the policy of {self.config['fn']!r}: {text}"
            ) from error
        return policy


def make_policy(
    function: Callable[..., Any], name: str, environment: Any, seed: int, args: Mapping[str, Any]
) -> OwnPolicy:
    """The policy that a function makes of an environment, a seed and ``args``; RecipeError where it
    is none.
    """
    with called(f"policy.fn {name!r} of the environment, a seed and {dict(args)}"):
        policy = function(environment, seed, **args)
    lacking = [method for method in METHODS if not hasattr(policy, method)]
    if lacking or not isinstance(policy, nn.Module):
        what = f"without {lacking[0]!r}" if lacking else "that is no torch.nn.Module"
        raise RecipeError(
            f"policy.fn {name!r} made a {type(policy).__name__} {what}; expected a module with"
            f" {', '.join(METHODS)}"
        )
    return OwnPolicy(policy, name)
