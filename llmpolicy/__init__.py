"""A language model is a policy; llmpolicy scores what it chooses and makes it choose better."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.session.flow import train

__all__ = ["CausalLMPolicy", "train"]

_HOMES = {"train": "llmpolicy.session.flow", "CausalLMPolicy": "llmpolicy.policies.causal_lm"}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: rewards, recipes and the command line must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'llmpolicy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
