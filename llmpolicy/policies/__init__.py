"""Policies: π(a|s) with one interface, from an MLP to a language model. Each is imported when first
named.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmpolicy.policies.base import Policy
    from llmpolicy.policies.categorical import CategoricalMLP
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.policies.deterministic import DeterministicPolicy
    from llmpolicy.policies.gaussian import GaussianMLP

_MODULES = {
    "Policy": "base",
    "CategoricalMLP": "categorical",
    "CausalLMPolicy": "causal_lm",
    "DeterministicPolicy": "deterministic",
    "GaussianMLP": "gaussian",
}

__all__ = ["CategoricalMLP", "CausalLMPolicy", "DeterministicPolicy", "GaussianMLP", "Policy"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
