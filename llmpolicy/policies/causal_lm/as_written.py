"""Whether a module is what a library wrote: only then is it known what its own call computes."""

import sys
from collections.abc import Collection
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LIBRARIES = ("torch.nn.", "transformers.")


def is_written(module: nn.Module, names: Collection[str]) -> bool:
    """Whether a module's class is one of torch's or transformers' of these names, with the forward
    that stands there.

    A class that only bears the name is not, nor one whose forward was exchanged for all its
    modules.
    """
    kind = type(module)
    name, home = kind.__name__, kind.__module__
    if (
        name not in names
        or not home.startswith(_LIBRARIES)
        or getattr(sys.modules.get(home), name, None) is not kind
    ):
        return False
    return (kind.forward.__module__, kind.forward.__qualname__) == (home, f"{name}.forward")


def is_changed(module: nn.Module) -> bool:
    """Whether hooks or a forward of its own were put into a module."""
    return is_hooked(module) or "forward" in vars(module)


def is_hooked(module: nn.Module) -> bool:
    """Whether hooks were put into a module, or into all that there are."""
    return any(getattr(module, name) for name in _HOOKS) or any(
        getattr(torch_module, f"_global{name}") for name in _HOOKS
    )


def structure(model: nn.Module, *parts: nn.Module) -> int:
    """A number that changes when a module of a model is replaced, or a hook is put into one of
    these parts or taken away.
    """
    identity: list[Any] = [
        key for name in _HOOKS for key in getattr(torch_module, f"_global{name}")
    ]
    for module in model.modules():
        identity += (id(module), type(module))
    for part in parts:
        identity += (key for name in _HOOKS for key in getattr(part, name))
    return hash(tuple(identity))
