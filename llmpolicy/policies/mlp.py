"""The small policies by recipe and by folder: which one an environment needs, and which one was
saved.
"""

from pathlib import Path
from typing import Any

from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.errors import RecipeError
from llmpolicy.policies import network
from llmpolicy.policies.categorical import CategoricalMLP
from llmpolicy.policies.deterministic import DeterministicPolicy
from llmpolicy.policies.gaussian import GaussianMLP
from llmpolicy.recipe import PolicyBlock

MLPPolicy = CategoricalMLP | GaussianMLP | DeterministicPolicy


def build_mlp_policy(
    block: PolicyBlock, environment: GymnasiumEnvironment, seed: int = 0
) -> MLPPolicy:
    """The policy for an environment's actions: categorical when they are numbered, Gaussian when
    they are a vector.

    Raises RecipeError for a setting that this policy does not have.
    """
    settings: dict[str, Any] = block.model_dump()
    if environment.n_actions is None:
        return GaussianMLP(environment.obs_dim, environment.action_dim, seed=seed, **settings)
    if "std" in settings:
        raise RecipeError("policy: 'std' is no setting of the categorical policy; expected hidden")
    return CategoricalMLP(environment.obs_dim, environment.n_actions, seed=seed, **settings)


def load_mlp_policy(folder: str | Path) -> MLPPolicy:
    """The small policy that was saved in a folder, whichever it is; raises PolicyError when there
    is none.
    """
    policy: MLPPolicy = network.load(folder, [CategoricalMLP, GaussianMLP, DeterministicPolicy])
    return policy
