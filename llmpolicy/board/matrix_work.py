"""Matrix work: the floating-point operations of matrix products, counted where torch dispatches
them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Formula = Callable[..., int]


class MatrixWork(TorchDispatchMode):
    """Counts ``flops`` of all products of this thread while it is on, two a multiplication.

    torch's own FlopCounterMode puts hooks on every module, which another trainer may take for a
    change of the model; its formulas are used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do what was asked, and count it if it is a product."""
        named = dict(kwargs or {})
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:  # without gradients an operation may hold products
                parts = func.decompose(*args, **named)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **named)
        if formula is not None:
            self.flops += formula(*args, **named, out_val=out)
        return out


def _linear(x: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * out_val.numel() * x.shape[-1]


def _attention(query: Tensor, key: Tensor, *_: Any, **__: Any) -> int:
    """q k^T and its product with the values, whether or not a mask leaves half of it out."""
    return 2 * 2 * prod(query.shape) * key.shape[-2]


def _attention_backward(_: Tensor, query: Tensor, key: Tensor, *__: Any, **___: Any) -> int:
    """Scores once more, then four products of their size."""
    return 2 * 5 * prod(query.shape) * key.shape[-2]


_aten = torch.ops.aten
_FORMULAS: dict[Any, Formula] = {
    **flop_registry,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
if torch.backends.mkldnn.is_available():
    _FORMULAS[torch.ops.mkldnn._linear_pointwise] = _linear
