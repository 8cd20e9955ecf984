"""A language model is a policy; llmpolicy scores what it chooses and makes it choose better."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmpolicy.errors import LLMPolicyError
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.recipe import load_recipe
    from llmpolicy.rewards import Score, reward
    from llmpolicy.run import Run
    from llmpolicy.session import evaluate_model
    from llmpolicy.session.training import train

__all__ = [
    "CausalLMPolicy",
    "LLMPolicyError",
    "Run",
    "Score",
    "evaluate_model",
    "load_recipe",
    "reward",
    "train",
]

_HOMES = {
    "train": "llmpolicy.session.training",
    "evaluate_model": "llmpolicy.session",
    "CausalLMPolicy": "llmpolicy.policies.causal_lm",
    "Run": "llmpolicy.run",
    "load_recipe": "llmpolicy.recipe",
    "reward": "llmpolicy.rewards",
    "Score": "llmpolicy.rewards",
    "LLMPolicyError": "llmpolicy.errors",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: rewards, recipes and the command line must not wait for torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _rooms():
        return import_module(f"llmpolicy.{name}")
    raise AttributeError(f"module 'llmpolicy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, *_rooms()})


def _rooms() -> list[str]:
    return [module.name for module in iter_modules(__path__) if not module.name.startswith("_")]
