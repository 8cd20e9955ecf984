"""LoRA while tokens are chosen: W x + s B A x in three operations a layer; PEFT's eight cost a
quarter of a step.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from peft.tuners import lora
from torch import Tensor, nn
from torch.nn.functional import linear

from llmpolicy.policies.causal_lm.as_written import is_changed
from llmpolicy.policies.causal_lm.fast.products import Products


@contextmanager
def quick_lora(model: nn.Module, product: Products) -> Iterator[None]:
    """While it lasts, LoRA on linear layers is computed in the dtype of their weights or of
    autocast, without gradients.

    The base's weights are not touched, and layers with anything but one plain adapter stay with
    PEFT.
    """
    with ExitStack() as changed:
        for layer in model.modules():
            if type(layer) is lora.Linear and (name := _plain_adapter(layer)) is not None:
                vars(layer)["forward"] = _forward(layer, name, product)
                changed.callback(delattr, layer, "forward")
        yield


def _plain_adapter(layer: lora.Linear) -> str | None:
    """The name of the one adapter that is on, if all that it does is to add a product of its two
    matrices.
    """
    on = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(on) != 1 or "forward" in vars(layer):
        return None
    drops = layer.training and not isinstance(layer.lora_dropout[on[0]], nn.Identity)
    both = (layer.lora_A[on[0]], layer.lora_B[on[0]])
    is_plain = (
        on[0] not in layer.lora_variant
        and both[1].bias is None
        and not drops
        and not any(map(is_changed, both))
    )
    return (
        on[0]
        if is_plain and all(type(one) is nn.Linear for one in (layer.get_base_layer(), *both))
        else None
    )


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
