"""Products of linear layers while tokens are chosen on a CPU, with weights in the order in which oneDNN reads them.

A step of a few rows costs what its weights cost to read, and torch's own product arranges them anew each time.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from llmpolicy.policies.causal_lm.forward import bare

COPY = 2**31
"""Bytes of weights of which a second copy is held meanwhile, 2 GiB; a larger model's are read where they lie."""


class Asked:
    """Layers of one input that are called as they are, and what follows them."""

    def __init__(self, *calls: Callable[[Tensor], Tensor]) -> None:
        self.calls = calls

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, all out): the layers side by side."""
        return self.calls[0](x) if len(self.calls) == 1 else torch.cat([call(x) for call in self.calls], dim=-1)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        return silu(self(x))

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times ``other``, of its shape."""
        return other * self(x)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product plus ``other``, of its shape."""
        return other + self(x)


class Packed(Asked):
    """Plain linear layers of one input as one product; what follows it is done in the same pass over the result.

    Weights are packed at the first call, in the dtype of the model's own forward, which autocast may choose inside it.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        super().__init__(*(partial(nn.Linear.forward, layer) for layer in layers))  # not a forward put in its place
        self.layers: tuple[Any, ...] = layers
        self.dtype: torch.dtype | None = None
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, all out): the layers side by side."""
        return self._one(x, "none") if self._is_ready() else super().__call__(x)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        return self._one(x, "swish") if self._is_ready() else super().silu(x)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times ``other``, of its shape."""
        return self._two(x, other, "mul") if self._is_ready(other) else super().times(x, other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product plus ``other``, of its shape."""
        return self._two(x, other, "add") if self._is_ready(other) else super().plus(x, other)

    def _is_ready(self, other: Tensor | None = None) -> bool:
        dtype = _dtype(self.layers[0])
        if dtype != self.dtype and _serves(dtype):
            weight = torch.cat([layer.weight for layer in self.layers]).to(dtype)
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
            biases = [layer.bias for layer in self.layers]
            self.bias = None if biases[0] is None else torch.cat(biases).to(dtype)
            self.dtype = dtype
        return dtype == self.dtype and (other is None or other.dtype == dtype)

    def _one(self, x: Tensor, then: str) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, then, [], "")
        return made

    def _two(self, x: Tensor, other: Tensor, then: str) -> Tensor:
        operation: Any = torch.ops.mkldnn._linear_pointwise.binary
        made: Tensor = operation(x.to(self.dtype), other, self.weight, self.bias, then)
        return made


Product = Callable[..., Asked]


def products(model: nn.Module) -> Product:
    """What makes a product of one or more layers of this model: packed where that is possible, asked elsewhere."""
    fits = sum(weight.numel() * weight.element_size() for weight in bare(model).parameters()) <= COPY

    def product(*layers: Any) -> Asked:
        same = len({layer.bias is None for layer in layers if is_plain(layer)}) == 1
        return Packed(*layers) if fits and same and all(map(_packs, layers)) else Asked(*layers)

    return product


def is_plain(layer: Any) -> bool:
    """Whether a layer is torch's linear one, and nothing was put into it."""
    return type(layer) is nn.Linear and not is_changed(layer)


def is_changed(module: nn.Module) -> bool:
    """Whether hooks or a forward of its own were put into a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _packs(layer: Any) -> bool:
    return is_plain(layer) and layer.weight.device.type == "cpu" and _serves(layer.weight.dtype)


@cache
def _serves(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies in this dtype on this machine."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _dtype(layer: nn.Linear) -> torch.dtype:
    """Of a product with this layer: its weights', or that of autocast."""
    device = layer.weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else layer.weight.dtype
