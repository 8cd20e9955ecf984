"""Which linear layers an adapter can be put on: not those whose weights are read past it."""

import inspect
import re
from functools import cache
from typing import Any

from torch import nn

_READ = re.compile(r"\bself\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|size))")


def read_past(model: nn.Module) -> set[str]:
    """Names of linear layers whose weights the module around them takes itself, so that an adapter on them is not seen.

    Mamba's layers do so in the scan of a row, some only in the fused kernels of their training: LoRA there would change
    nothing while it is trained, and change π when it is merged.
    """
    return {
        f"{name}.{child}".lstrip(".")
        for name, module in model.named_modules()
        for child in taken(type(module))
        if isinstance(getattr(module, child, None), nn.Linear)
    }


def taken(kind: Any) -> set[str]:
    """The children of which a module class takes the weight in some method, those that set up weights apart."""
    return _taken(kind)


@cache
def _taken(kind: Any) -> set[str]:
    methods = [method for name, method in vars(kind).items() if inspect.isfunction(method) and "init" not in name]
    return {child for method in methods for child in _READ.findall(_source(method))}


def _source(method: Any) -> str:
    try:
        return inspect.getsource(inspect.unwrap(method))
    except OSError:
        return ""


def endings(names: set[str]) -> list[str]:
    """Names of layers without the number of theirs: the last two parts, by which PEFT finds all of them."""
    return sorted({".".join(name.split(".")[-2:]) for name in names})
