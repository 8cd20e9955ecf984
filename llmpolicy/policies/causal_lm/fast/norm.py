"""RMS norms in bfloat16 on a CPU, in a third of the passes over memory that transformers' take: the
same mathematics.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from llmpolicy.policies.causal_lm.as_written import is_written
from llmpolicy.policies.causal_lm.fast.patched import Forward
from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.speed import NORMS, off_cpu

NOT_IN_16_BITS = "weights are not in bfloat16"


def is_plain_norm(module: nn.Module) -> bool:
    """Whether a module is an RMS norm of transformers whose weight is a plain factor."""
    return is_written(module, NORMS)


def rms_norm(x: Tensor, twice: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x (..., h) / rms(x) weight, and 1 / rms(x) (..., 1); ``twice`` (2 h,) is the weight beside
    itself.

    Of x beside -x the mean is 0 and the variance the mean square of x: torch's layer norm, one pass
    on a CPU where its RMS norm takes eight, gives the RMS norm of both.
    """
    both, _, scale = torch.native_layer_norm(
        torch.cat([x, -x], dim=-1), (len(twice),), twice, None, eps
    )
    return both[..., : x.shape[-1]].contiguous(), scale


def norm_forwards(model: nn.Module) -> Iterator[Forward]:
    """Plain RMS norms in bfloat16 on a CPU, and their gradients."""
    for layer in bare(model).modules():
        if is_plain_norm(layer) and norm_reason(layer) is None:
            yield layer, partial(_normed, layer)


def norm_reason(layer: nn.Module) -> str | None:
    """Why an RMS norm is computed as transformers wrote it, in words; None if it is computed
    here.
    """
    if "forward" in vars(layer) or not is_plain_norm(layer):
        return f"the weight of {type(layer).__name__} is not known to be a plain factor"
    weight = layer.weight
    if not isinstance(weight, Tensor) or weight.dtype != torch.bfloat16:
        return NOT_IN_16_BITS
    return None if weight.device.type == "cpu" else off_cpu(weight.device.type)


def _normed(layer: Any, x: Tensor) -> Tensor:
    if x.dtype != layer.weight.dtype:
        unchanged: Tensor = type(layer).forward(layer, x)
        return unchanged
    normed: Tensor = _RMSNorm.apply(x, layer.weight, layer.variance_epsilon)
    return normed


class _RMSNorm(torch.autograd.Function):
    """y = w x r with r = 1 / rms(x): dx = r (w dy − x r mean(w dy x r)), dw = Σ dy x r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normed, scale = rms_norm(
            x, torch.cat([weight, weight]).float(), eps
        )  # a weight of 32 bits: so is the scale
        ctx.save_for_backward(x, weight, scale)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, scale = ctx.saved_tensors
        of_x = _of_x(gradient, x, weight.float(), scale) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:  # layer norm's own sums of it are in 16 bits, and 4 % off
            of_weight = (scale.to(x.dtype).view(1, -1) @ (gradient * x).flatten(0, -2))[0]
        return of_x, of_weight, None


def _of_x(gradient: Tensor, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The gradient of a layer norm of mean 0 subtracts the mean of w dy; that of an RMS norm does
    not.
    """
    mean = (gradient @ (weight / len(weight)).to(gradient.dtype)[:, None]).mul_(scale)
    layer_norm_backward = torch.ops.aten.native_layer_norm_backward
    of_x: Tensor = layer_norm_backward(
        gradient,
        x,
        [len(weight)],
        torch.zeros_like(scale),
        scale,
        weight,
        None,
        [True, False, False],
    )[0]
    return of_x.add_(mean)
