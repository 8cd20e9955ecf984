"""Products of linear layers while tokens are chosen on a CPU, with weights in the order in which
oneDNN reads them.

A step of a few rows costs what its weights cost to read, and torch's own product arranges them anew
each time.
"""

import platform
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from llmpolicy.policies.causal_lm.as_written import is_changed

COPY = 2**31
"""Bytes of weights of which a second copy is held meanwhile, 2 GiB; those beyond are read where
they lie.
"""


class Asked:
    """Layers of one input that are called as they are, and what follows them."""

    def __init__(self, *calls: Callable[[Tensor], Tensor]) -> None:
        self.calls = calls

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, all out): the layers side by side."""
        return (
            self.calls[0](x)
            if len(self.calls) == 1
            else torch.cat([call(x) for call in self.calls], dim=-1)
        )

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
    """Plain linear layers of one input as one product; what follows it is done in the same pass
    over the result.

    Weights are packed at the first call, in the dtype of the model's own forward, which autocast
    may choose inside it.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        super().__init__(
            *(partial(nn.Linear.forward, layer) for layer in layers)
        )  # not a forward put in its place
        self.layers: tuple[Any, ...] = layers
        self.dtype: torch.dtype | None = None  # once it is known
        self.weight: Tensor | None = None  # once it is packed
        self.bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) to (N, all out): the layers side by side."""
        return self._one(x, "none") if self._is_packed() else super().__call__(x)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        return self._one(x, "swish") if self._is_packed() else super().silu(x)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """The product times ``other``, of its shape."""
        fuses = self._is_packed() and other.dtype == self.dtype
        return self._two(x, other, "mul") if fuses else super().times(x, other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product plus ``other``, of its shape."""
        fuses = self._is_packed() and other.dtype == self.dtype
        return self._two(x, other, "add") if fuses else super().plus(x, other)

    def _is_packed(self) -> bool:
        if self.dtype is None:
            self._pack()
        return self.weight is not None

    def _pack(self) -> None:
        on = torch.is_autocast_enabled("cpu")
        self.dtype = torch.get_autocast_dtype("cpu") if on else self.layers[0].weight.dtype
        if serves(self.dtype):
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self._all("weight"), None)
            self.bias = None if self.layers[0].bias is None else self._all("bias")

    def _all(self, name: str) -> Tensor:
        parts = [getattr(layer, name).to(self.dtype) for layer in self.layers]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _one(self, x: Tensor, then: str) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self.weight, self.bias, then, [], ""
        )
        return made

    def _two(self, x: Tensor, other: Tensor, then: str) -> Tensor:
        operation: Any = torch.ops.mkldnn._linear_pointwise.binary
        made: Tensor = operation(x.to(self.dtype), other, self.weight, self.bias, then)
        return made


class Products:
    """Makes products of a model's layers: packed where that is possible, as long as there is room;
    asked elsewhere.
    """

    def __init__(self) -> None:
        self.room = COPY

    def __call__(self, *layers: Any) -> Asked:
        """The product of one or more layers of one input, side by side."""
        if not all(map(_packs, layers)) or len({layer.bias is None for layer in layers}) > 1:
            return Asked(*layers)
        needed = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
        if needed > self.room:
            return Asked(*layers)
        self.room -= needed
        return Packed(*layers)


def _packs(layer: Any) -> bool:
    if type(layer) is not nn.Linear or is_changed(layer) or type(layer.weight) is not nn.Parameter:
        return False
    return layer.weight.device.type == "cpu" and serves(layer.weight.dtype)


@cache
def serves(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies in this dtype on this machine; on ARM torch's own product is the
    better one.
    """
    if (
        platform.machine().lower() not in ("x86_64", "amd64")
        or not torch.backends.mkldnn.is_available()
    ):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
