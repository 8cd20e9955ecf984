"""A small policy of one's own, by a function of a recipe: its life on disk, and what it must do."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.policies.base import Policy
from llmpolicy.policies.network import WEIGHTS, SmallPolicy

METHODS = ("distribution", "act", "log_prob")
_EQUAL = 1e-4


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
    try:
        policy = function(environment, seed, **args)
    except Exception as error:
        text = " ".join(str(error).split())
        raise RecipeError(
            f"policy.fn {name!r} failed: {type(error).__name__}: {text}; it is called with the"
            " environment, a seed, and args"
        ) from error
    lacking = [method for method in METHODS if not hasattr(policy, method)]
    if lacking or not isinstance(policy, nn.Module):
        what = f"without {lacking[0]!r}" if lacking else "that is no torch.nn.Module"
        raise RecipeError(
            f"policy.fn {name!r} made a {type(policy).__name__} {what}; expected a module with"
            f" {', '.join(METHODS)}"
        )
    return OwnPolicy(policy, name)


def read_policy(folder: Path, like: Any) -> Any:
    """The policy that was saved in a folder, made as ``like`` was."""
    from llmpolicy.policies.mlp import load_mlp_policy

    return like.read(folder) if isinstance(like, OwnPolicy) else load_mlp_policy(folder)


def prove_play(environment: Any, policy: Policy) -> None:
    """Play one step; RecipeError where an environment or a policy does not do what a rollout asks
    for, or where log_prob is not the log-probability with which the policy acted.
    """
    states, count = environment.reset(0), len(environment.groups)
    if len(states) != count:
        raise RecipeError(f"environment.reset gave {len(states)} states; expected {count}")
    with torch.no_grad():
        action = policy.act(states, generator=torch.Generator().manual_seed(0))
        log_prob, mask = policy.log_prob(states, action.value)
    if log_prob.ndim != 2 or log_prob.shape[0] != count or mask.shape != log_prob.shape:
        raise RecipeError(
            f"policy.log_prob gave the shapes {tuple(log_prob.shape)} and {tuple(mask.shape)};"
            f" expected ({count}, T) twice, one number a decision"
        )
    if action.log_prob is None or not torch.allclose(log_prob, action.log_prob, atol=_EQUAL):
        raise RecipeError(
            "policy.log_prob of an action is not the log_prob that policy.act drew it with;"
            " expected the same numbers"
        )
    outcome = environment.step(range(count), action)
    for key in ("states", "rewards", "terminated", "truncated"):
        if len(getattr(outcome, key)) != count:
            raise RecipeError(
                f"environment.step gave {len(getattr(outcome, key))} {key} for {count} actions"
            )
