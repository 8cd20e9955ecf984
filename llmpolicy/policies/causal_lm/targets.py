"""Which linear layers an adapter can be put on: not those whose weights are read past it."""

import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
    names: set[str] = set()
    for name, module in model.named_modules():
        for child in taken(module, nn.Linear):
            names.add(f"{name}.{child}".lstrip("."))
    return names


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

    with ExitStack() as watches:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                handle = module.register_forward_hook(partial(look, name))
                watches.callback(handle.remove)
        yield names


def taken(module: nn.Module, wanted: type) -> list[str]:
    """The children of a wanted class of which a module takes the weight in some method, those that
    set up weights apart.
    """
    kind: Any = type(module)
    return [name for name in _taken(kind) if isinstance(getattr(module, name, None), wanted)]


@cache
def _taken(kind: Any) -> set[str]:
    children: set[str] = set()
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and "init" not in name:
            children.update(_READ.findall(_source(method)))
    return children


def _source(method: Any) -> str:
    try:
        return inspect.getsource(inspect.unwrap(method))
    except OSError:
        return ""


def endings(names: Iterable[str]) -> list[str]:
    """Names of layers without the number of theirs: the last two parts, by which PEFT finds all of
    them.
    """
    return sorted({".".join(name.split(".")[-2:]) for name in names})
