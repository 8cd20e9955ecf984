"""Decoder layers in fewer operations while tokens are chosen on a CPU: the same mathematics, weights read where they lie.

A step of a few rows costs what its weights cost to read and what its thousands of small operations do. The scorer calls
the layers as transformers wrote them, so the check of sampler against scorer before the first update is one of this too.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm

from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.policies.causal_lm.group_attention import Attend

Part = Callable[[Tensor], Tensor]

FEW = 128
"""Rows up to which weights stand left: in 16 bits oneDNN repacks the right operand of a product and not the left one."""
_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3")
_PLAIN_NORMS = tuple(f"{family}RMSNorm" for family in ("Llama", "Mistral", "Qwen2", "Qwen3"))


@contextmanager
def quick_step(model: nn.Module, attend: Attend) -> Iterator[None]:
    """While it lasts the decoder layers of these families are computed here, without gradients, attention by ``attend``.

    A layer into which anything but adapters was put (a hook, another module, a forward of its own) is left as it is.
    """
    with ExitStack() as changed:
        for layer in bare(model).modules():
            if _is_known(layer):
                vars(layer)["forward"] = _decoder_layer(layer, attend)
                changed.callback(delattr, layer, "forward")
        yield


def _is_known(layer: Any) -> bool:
    family = type(layer).__name__.removesuffix("DecoderLayer")
    if family not in _FAMILIES or not type(layer).__module__.startswith("transformers.models."):
        return False
    parts = (type(layer.self_attn).__name__, type(layer.mlp).__name__)
    return parts == (f"{family}Attention", f"{family}MLP") and not any(map(_is_changed, _bypassed(layer)))


def _bypassed(layer: Any) -> Iterator[nn.Module]:
    """The layer and the modules in it whose own call is left out: not what an adapter has put in their place."""
    for module in layer.modules():
        if module in (layer, layer.self_attn, layer.mlp) or type(module).__module__.startswith(
            ("transformers.", "torch.")
        ):
            yield module


def _is_changed(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _decoder_layer(layer: Any, attend: Attend) -> Callable[..., Tensor]:
    """Norm, attention, sum, norm, MLP, sum; Gemma-3 has norms behind attention and MLP too."""
    seen, made = _attention(layer.self_attn, attend), _mlp(layer.mlp)
    before, between = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
    after: tuple[Part, Part] | None = None
    if hasattr(layer, "pre_feedforward_layernorm"):
        after = (between, _norm(layer.post_feedforward_layernorm))
        between = _norm(layer.pre_feedforward_layernorm)

    def forward(hidden_states: Tensor, *, position_embeddings: tuple[Tensor, Tensor], **_: Any) -> Tensor:
        x = hidden_states[0]  # (N, h)
        new = seen(before(x), *position_embeddings)
        x = x + (new if after is None else after[0](new))
        new = made(between(x))
        return (x + (new if after is None else after[1](new)))[None]

    return forward


def _attention(layer: Any, attend: Attend) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Projections, norms of heads where there are some, one rotation of queries and keys together, attention."""
    size, window, place, scale = layer.head_dim, _window(layer), layer.layer_idx, layer.scaling
    project, out = _projections(layer.q_proj, layer.k_proj, layer.v_proj), _product(layer.o_proj)
    shared = layer.num_key_value_groups
    norms = (_norm(layer.q_norm), _norm(layer.k_norm)) if hasattr(layer, "q_norm") else None

    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        made = project(x).view(len(x), -1, size)  # (N, H + 2 K, d)
        keys = made.shape[1] // (shared + 2)
        both, value = made[:, :-keys], made[:, -keys:]
        if norms is not None:
            both = torch.cat([norms[0](both[:, :-keys]), norms[1](both[:, -keys:])], dim=1)
        both = _turned(both, cos[0, :, None], sin[0, :, None])
        both = both.to(value.dtype)  # under autocast what was turned is float32, values are not
        seen = attend(place, both[:, :-keys], both[:, -keys:], value, scale, window)
        return out(seen.reshape(len(x), -1))

    return forward


def _projections(*layers: Any) -> Part:
    """Several layers of one input side by side, (N, in) to (N, all their out), in order of memory.

    Plain ones in 16 bits become one product, with a copy of their weights for as long as tokens are chosen.
    """
    if not all(map(_stands_left, layers)) or len({layer.bias is None for layer in layers}) > 1:
        parts = [_product(layer) for layer in layers]
        return lambda x: torch.cat([part(x) for part in parts], dim=1)
    weight = torch.cat([layer.weight for layer in layers])
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    product = _left(weight, bias)
    return lambda x: product(x).contiguous()


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (N, H, d) turned by its position, (x1 cos - x2 sin, x2 cos + x1 sin); cos and sin (N, 1, d)."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


def _window(layer: Any) -> int | None:
    """The sliding window of an attention layer, where transformers keeps it."""
    if type(layer).__name__ == "MistralAttention":
        return getattr(layer.config, "sliding_window", None)
    return getattr(layer, "sliding_window", None)


def _mlp(layer: Any) -> Part:
    gate, up, down = (_product(one) for one in (layer.gate_proj, layer.up_proj, layer.down_proj))
    return lambda x: down(layer.act_fn(gate(x)).mul_(up(x)))


def _product(layer: Any) -> Part:
    """A linear layer, (N, in) to (N, out) in any order of memory; anything but a plain one (an adapter) is asked itself."""
    return _left(layer.weight, layer.bias) if _stands_left(layer) else lambda x: layer(x)


def _stands_left(layer: Any) -> bool:
    return type(layer) is nn.Linear and layer.weight.dtype == torch.bfloat16


def _left(weight: Tensor, bias: Tensor | None) -> Part:
    column = None if bias is None else bias[:, None]  # (out, 1)

    def product(x: Tensor) -> Tensor:
        if len(x) > FEW:
            return linear(x, weight, bias)
        return (torch.mm(weight, x.t()) if column is None else torch.addmm(column, weight, x.t())).t()

    return product


def _norm(layer: Any) -> Part:
    """An RMS norm in torch's own operation where its weight is a plain factor; any other module is asked itself."""
    if type(layer).__name__ not in _PLAIN_NORMS:
        return lambda x: layer(x)
    weight, eps, shape = layer.weight, layer.variance_epsilon, tuple(layer.weight.shape)
    return lambda x: rms_norm(x, shape, weight, eps) if x.dtype == weight.dtype else layer(x)
