"""LoRA while tokens are chosen: W x + s B A x in three operations a layer; PEFT's eight cost a
quarter of a step.
"""

from collections.abc import Callable, Iterator

from peft.tuners import lora
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.functional import linear

from llmpolicy.policies.causal_lm.as_written import is_changed
from llmpolicy.policies.causal_lm.fast.patched import Forward
from llmpolicy.policies.causal_lm.fast.products import Products


def lora_forwards(model: nn.Module, product: Products) -> Iterator[Forward]:
    """LoRA on linear layers in the dtype of their weights or of autocast, without gradients.

    The base's weights are not touched, and layers with anything but one plain adapter stay with
    PEFT.
    """
    for layer in model.modules():
        if type(layer) is lora.Linear and lora_reason(layer) is None:
            yield layer, _forward(layer, _active(layer)[0], product)


def lora_reason(layer: BaseTunerLayer) -> str | None:
    """Why a layer with an adapter stays with PEFT, in words; None if all that is on in it adds one
    product of two matrices.
    """
    if type(layer) is not lora.Linear:
        return (
            f"{type(layer).__module__.rpartition('.')[0]}.{type(layer).__name__} is no plain LoRA"
        )
    if layer.disable_adapters or layer.merged:
        return "an adapter is switched off or merged"
    if len(active := _active(layer)) != 1:
        return f"{len(active)} adapters are on in a layer"
    down, up = layer.lora_A[active[0]], layer.lora_B[active[0]]
    if active[0] in layer.lora_variant or up.bias is not None:
        return "a variant of LoRA was asked for"
    if layer.training and not isinstance(layer.lora_dropout[active[0]], nn.Identity):
        return "an adapter has dropout"
    if "forward" in vars(layer) or is_changed(down) or is_changed(up):
        return "a hook or a forward of its own was put into an adapter"
    parts = (layer.get_base_layer(), down, up)
    if any(type(part) is not nn.Linear for part in parts):
        return f"an adapter lies on {type(parts[0]).__name__}"
    return None


def _active(layer: lora.Linear) -> list[str]:
    return [name for name in layer.active_adapters if name in layer.lora_A]


def _forward(layer: lora.Linear, name: str, product: Products) -> Callable[[Tensor], Tensor]:
    weight, a, b = (
        next(part.parameters())
        for part in (layer.get_base_layer(), layer.lora_A[name], layer.lora_B[name])
    )
    base = product(layer.get_base_layer())
    down, up = a.to(weight.dtype), (b * layer.scaling[name]).to(weight.dtype).T  # (r, in), (r, out)

    def forward(x: Tensor) -> Tensor:
        out = base(x)
        low = linear(x, down).view(-1, len(down))
        out.view(-1, out.shape[-1]).addmm_(low, up.to(out.dtype))  # which autocast chooses
        return out

    return forward
