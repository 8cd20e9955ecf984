"""What takes the place of a model's own calls for a while: its attention, and the forwards of
modules.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llmpolicy.policies.causal_lm.forward import bare, computed_in

NAME = "llmpolicy_groups"
Attend = Callable[[int, Tensor, Tensor, Tensor, float, int | None], Tensor]
"""(layer, q (N, H, d), k (N, K, d), v (N, K, d), scale, window) to (N, H, d); H is a multiple of
K.
"""
Forward = tuple[nn.Module, Callable[..., Any]]
"""A module, and the function that is called in its place."""

_passes: list[Attend] = []


@contextmanager
def patched(model: nn.Module, attend: Attend | None, forwards: Iterable[Forward]) -> Iterator[None]:
    """While it lasts these modules are computed by these functions, and the model's attention by
    ``attend``, if there is one.

    A backward that recomputes activations must lie inside.
    """
    with ExitStack() as undone:
        if attend is not None:
            undone.enter_context(_attending(model, attend))
        for module, forward in forwards:
            vars(module)["forward"] = forward
            undone.callback(delattr, module, "forward")
        yield


@contextmanager
def _attending(model: nn.Module, attend: Attend) -> Iterator[None]:
    """A name without a mask function is put into the configurations: the model makes no mask."""
    configs: dict[int, Any] = {}
    for module in bare(model).modules():
        if hasattr(module, "config"):
            configs[id(module.config)] = module.config
    names = {key: config._attn_implementation_internal for key, config in configs.items()}
    _passes.append(attend)
    for config in configs.values():
        config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        _passes.pop()
        for key, config in configs.items():
            config._attn_implementation_internal = names[key]


def packed_forward(model: nn.Module, token_ids: Tensor, position_ids: Tensor, keep: Tensor) -> Any:
    """The model's output on packed tokens, both (1, N), with logits at the places ``keep``, (K,);
    its attention is ``patched``.
    """
    return model(
        input_ids=token_ids, position_ids=position_ids, logits_to_keep=keep, use_cache=False
    )


def _by_group(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls: q (1, H, N, d), k and v (1, K, N, d) to (1,
    N, H, d).
    """
    dtype = computed_in(value)  # under autocast rotated queries and keys are float32, it is not
    q, k, v = (side.transpose(1, 2)[0].to(dtype) for side in (query, key, value))
    return _passes[-1](module.layer_idx, q, k, v, scaling, sliding_window)[None], None


ALL_ATTENTION_FUNCTIONS.register(NAME, _by_group)
