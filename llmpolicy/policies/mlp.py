"""The small policies by recipe and by folder: which one an environment needs, and which one was
saved.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.errors import RecipeError, nearest
from llmpolicy.policies import network
from llmpolicy.policies.categorical import CategoricalMLP
from llmpolicy.policies.deterministic import DeterministicPolicy
from llmpolicy.policies.gaussian import GaussianMLP

MLPPolicy = CategoricalMLP | GaussianMLP | DeterministicPolicy
KEYS = {"categorical": ("hidden",), "gaussian": ("hidden", "std")}
"""What a recipe's ``policy:`` block may say, by the kind of action."""


def build_mlp_policy(
    block: Mapping[str, Any] | None, environment: GymnasiumEnvironment, seed: int = 0
) -> MLPPolicy:
    """The policy for an environment's actions: categorical when they are numbered, Gaussian when
    they are a vector.

    Raises RecipeError for a key that this policy does not have, or a value that it cannot have.
    """
    block = dict(block or {})
    kind = "gaussian" if environment.n_actions is None else "categorical"
    for key in block:
        if key not in KEYS[kind]:
            raise RecipeError(
                f"policy: {key!r} is no setting of the {kind} policy{nearest(key, KEYS[kind])}"
            )
    hidden, std = block.get("hidden", [1]), block.get("std", 1.0)
    if not (
        isinstance(hidden, list | tuple)
        and all(isinstance(size, int) and size >= 1 for size in hidden)
    ):
        raise RecipeError(
            f"policy.hidden: found {hidden!r}; expected a list of layer sizes, such as [64, 64]"
        )
    if not (isinstance(std, int | float) and std > 0):
        raise RecipeError(f"policy.std: found {std!r}; expected a standard deviation above 0")
    if environment.n_actions is None:
        return GaussianMLP(environment.obs_dim, environment.action_dim, seed=seed, **block)
    return CategoricalMLP(environment.obs_dim, environment.n_actions, seed=seed, **block)


def load_mlp_policy(folder: str | Path) -> MLPPolicy:
    """The small policy that was saved in a folder, whichever it is; raises PolicyError when there
    is none.
    """
    policy: MLPPolicy = network.load(folder, [CategoricalMLP, GaussianMLP, DeterministicPolicy])
    return policy
