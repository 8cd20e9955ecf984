"""Which linear layers an adapter can be put on: not those whose weights are read past it."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from torch import Tensor, nn

_READ = re.compile(r"\bself\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|size))")


def read_past(model: nn.Module) -> set[str]:
    """Names of linear layers whose weights the module around them takes itself, so that an adapter
    on them is not seen.

    Mamba's layers do so in the scan of a row, some only in the fused kernels of their training:
    LoRA there would change nothing while it is trained, and change π when it is merged.
    """
    return {
        f"{name}.{child}".lstrip(".")
        for name, module in model.named_modules()
        for child in taken(type(module))
        if isinstance(getattr(module, child, None), nn.Linear)
    }


@contextmanager
def watched(model: nn.Module) -> Iterator[set[str]]:
    """Names of linear layers that give anything but one product a row, as the passes show that are
    made while it lasts.

    Routers give their choice too (Llama-4, Phi-3.5-MoE), layers of groups have a shape of their
    own.
    """
    names: set[str] = set()

    def look(name: str, layer: nn.Linear, inputs: Any, result: Any) -> None:
        product = isinstance(result, Tensor) and result.shape == (
            *inputs[0].shape[:-1],
            layer.out_features,
        )
        if not product:
            names.add(name)

    linear = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)
    ]
    handles = [module.register_forward_hook(partial(look, name)) for name, module in linear]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def taken(kind: Any) -> set[str]:
    """The children of which a module class takes the weight in some method, those that set up
    weights apart.
    """
    return _taken(kind)


@cache
def _taken(kind: Any) -> set[str]:
    methods = [
        method
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and "init" not in name
    ]
    return {child for method in methods for child in _READ.findall(_source(method))}


def _source(method: Any) -> str:
    try:
        return inspect.getsource(inspect.unwrap(method))
    except OSError:
        return ""


def endings(names: set[str]) -> list[str]:
    """Names of layers without the number of theirs: the last two parts, by which PEFT finds all of
    them.
    """
    return sorted({".".join(name.split(".")[-2:]) for name in names})
