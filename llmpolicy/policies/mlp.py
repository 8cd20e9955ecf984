"""The small policies by recipe and by folder: which one an environment needs, and which one was
saved.
"""

from pathlib import Path
from typing import Any

from llmpolicy.environments.base import Environment
from llmpolicy.environments.gymnasium import GymnasiumEnvironment
from llmpolicy.errors import RecipeError
from llmpolicy.policies import network
from llmpolicy.policies.categorical import CategoricalMLP
from llmpolicy.policies.deterministic import DeterministicPolicy
from llmpolicy.policies.gaussian import GaussianMLP
from llmpolicy.policies.own import OwnPolicy, make_policy
from llmpolicy.recipe import PolicyBlock
from llmpolicy.reference import name_of, named

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
        return make_policy(function, name, environment, seed, block.args)
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
