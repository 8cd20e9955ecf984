"""Products of linear layers while tokens are chosen on a CPU, with weights in the order in which
oneDNN reads them.

A step of a few rows costs what its weights cost to read, and torch's own product arranges them anew
each time.
"""

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.functional import silu

from llmpolicy.policies.causal_lm.as_written import is_changed
from llmpolicy.policies.causal_lm.forward import computed_in
from llmpolicy.speed import off_cpu

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
        if len(self.calls) == 1:
            return self.calls[0](x)
        return torch.cat([call(x) for call in self.calls], dim=-1)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        return silu(self(x))

    def times(self, x: Tensor, operand: Tensor) -> Tensor:
        """The product times ``operand``, of its shape."""
        return operand * self(x)

    def plus(self, x: Tensor, operand: Tensor) -> Tensor:
        """The product plus ``operand``, of its shape."""
        return operand + self(x)


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
        if not self._is_packed():
            return super().__call__(x)
        return self._one(x, "none")

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the product."""
        if not self._is_packed():
            return super().silu(x)
        return self._one(x, "swish")

    def times(self, x: Tensor, operand: Tensor) -> Tensor:
        """The product times ``operand``, of its shape."""
        if not self._is_packed() or operand.dtype != self.dtype:
            return super().times(x, operand)
        return self._two(x, operand, "mul")

    def plus(self, x: Tensor, operand: Tensor) -> Tensor:
        """The product plus ``operand``, of its shape."""
        if not self._is_packed() or operand.dtype != self.dtype:
            return super().plus(x, operand)
        return self._two(x, operand, "add")

    def _is_packed(self) -> bool:
        if self.dtype is None:
            self._pack()
        return self.weight is not None

    def _pack(self) -> None:
        self.dtype = computed_in(self.layers[0].weight)
        if not serves(self.dtype):
            return
        self.weight = torch.ops.mkldnn._reorder_linear_weight(self._all("weight"), None)
        if self.layers[0].bias is not None:
            self.bias = self._all("bias")

    def _all(self, name: str) -> Tensor:
        parts = [getattr(layer, name).to(self.dtype) for layer in self.layers]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _one(self, x: Tensor, then: str) -> Tensor:
        operation: Any = torch.ops.mkldnn._linear_pointwise
        product: Tensor = operation(x.to(self.dtype), self.weight, self.bias, then, [], "")
        return product

    def _two(self, x: Tensor, operand: Tensor, then: str) -> Tensor:
        operation: Any = torch.ops.mkldnn._linear_pointwise.binary
        product: Tensor = operation(x.to(self.dtype), operand, self.weight, self.bias, then)
        return product


class Products:
    """Makes products of a model's layers: packed where that is possible, as long as there is
    ``room``, in bytes; asked elsewhere.

    ``packed`` counts the layers that are, ``reasons`` says why others are not; those under an
    adapter are counted by themselves.
    """

    def __init__(self) -> None:
        self.room = COPY
        self.packed, self.reasons = 0, Counter[str]()

    def __call__(self, *layers: Any) -> Asked:
        """The product of one or more layers of one input, side by side."""
        needed = sum(layer.weight.nbytes for layer in layers if type(layer) is nn.Linear)
        reason = self._reason(layers, needed)
        if reason is not None:
            self.reasons[reason] += sum(not isinstance(layer, BaseTunerLayer) for layer in layers)
            return Asked(*layers)
        self.room -= needed
        self.packed += len(layers)
        return Packed(*layers)

    def _reason(self, layers: Sequence[Any], needed: int) -> str | None:
        for layer in layers:
            if reason := pack_reason(layer):
                return reason
        if len({layer.bias is None for layer in layers}) > 1:
            return "layers side by side differ in their bias"
        if needed > self.room:
            return f"weights beyond {COPY >> 20} MiB have no second copy"
        return None


def pack_reason(layer: Any) -> str | None:
    """Why a layer's weights are read where they lie, in words; None if they can be packed."""
    if type(layer) is not nn.Linear or type(layer.weight) is not nn.Parameter:
        return f"{type(layer).__name__} is no plain linear layer"
    if is_changed(layer):
        return "a hook or a forward of its own was put into a linear layer"
    if layer.weight.device.type != "cpu":
        return off_cpu(layer.weight.device.type)
    if not serves(layer.weight.dtype):
        kind = str(layer.weight.dtype).removeprefix("torch.")
        return f"oneDNN does not multiply in {kind} on this machine"
    return None


@cache
def serves(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies in this dtype on this machine; on ARM torch's own product is the
    better one.
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not is_x86 or not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
