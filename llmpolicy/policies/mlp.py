"""The small policies by recipe and by folder: which one an environment needs, which one was saved,
and one of a user's own.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Distribution

from llmpolicy.environments.base import Environment
from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.errors import PolicyError, RecipeError, called
from llmpolicy.policies import network
from llmpolicy.policies.categorical import CategoricalMLP
from llmpolicy.policies.deterministic import DeterministicPolicy
from llmpolicy.policies.gaussian import GaussianMLP
from llmpolicy.recipe import PolicyBlock
from llmpolicy.reference import name_of, named

METHODS = ("distribution", "act", "log_prob")


class OwnPolicy(network.SmallPolicy):
    """A policy that a function made, with a place on disk; all that it does is the other's."""

    def __init__(self, policy: Any, name: str) -> None:
        super().__init__()
        self.policy, self.config = policy, {"fn": name}

    def distribution(self, states: Any) -> Distribution:
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
            policy.load_state_dict(load_file(folder / network.WEIGHTS))
        except (FileNotFoundError, RuntimeError) as error:
            text = " ".join(str(error).split())
            raise PolicyError(
                f"{folder} holds no weights for the policy of {self.config['fn']!r}: {text}"
            ) from error
        return policy


def _make_policy(
    function: Callable[..., Any], name: str, environment: Any, seed: int, args: Mapping[str, Any]
) -> OwnPolicy:
    """The policy that a function makes of an environment, a seed and ``args``; RecipeError where it
    is none.
    """
    with called(f"policy.fn {name!r} of the environment, a seed and {dict(args)}"):
        policy = function(environment, seed, **args)
    lacks = [f"without {method!r}" for method in METHODS if not hasattr(policy, method)]
    if not isinstance(policy, nn.Module):
        lacks.append("that is no torch.nn.Module")
    if lacks:
        raise RecipeError(
            f"policy.fn {name!r} made a {type(policy).__name__} {lacks[0]}; expected a module with"
            f" {', '.join(METHODS)}"
        )
    return OwnPolicy(policy, name)


MLPPolicy = CategoricalMLP | GaussianMLP | DeterministicPolicy | OwnPolicy


def build_mlp_policy(
    block: PolicyBlock, environment: Environment, seed: int = 0, base_dir: Path | None = None
) -> MLPPolicy:
    """The policy for an environment's actions: categorical when they are numbered, Gaussian when
    they are a vector.

    Raises RecipeError for a setting that this policy does not have.
    """
    settings: dict[str, Any] = block.model_dump()
    if block.fn is not None:
        function, name = named("policy.fn", block.fn, base_dir, classes=True), name_of(block.fn)
        return _make_policy(function, name, environment, seed, block.args)
    if not isinstance(environment, GymnasiumEnvironment):
        raise RecipeError(
            f"environment: a {type(environment).__name__} has no spaces from which a policy can be"
            " made; name a function that makes one as policy.fn"
        )
    if environment.n_actions is None:
        return GaussianMLP(environment.obs_dim, environment.action_dim, seed=seed, **settings)
    if "std" in settings:
        raise RecipeError("policy: 'std' is no setting of the categorical policy; expected hidden")
    return CategoricalMLP(environment.obs_dim, environment.n_actions, seed=seed, **settings)


def read_policy(folder: Path, like: MLPPolicy) -> MLPPolicy:
    """The policy that was saved in a folder, made as ``like`` was."""
    return like.read(folder) if isinstance(like, OwnPolicy) else load_mlp_policy(folder)


def load_mlp_policy(folder: str | Path) -> MLPPolicy:
    """The small policy that was saved in a folder, whichever it is; raises PolicyError when there
    is none.
    """
    policy: MLPPolicy = network.load(folder, [CategoricalMLP, GaussianMLP, DeterministicPolicy])
    return policy
