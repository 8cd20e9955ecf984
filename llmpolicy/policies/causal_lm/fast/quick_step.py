"""Decoder layers in fewer operations while tokens are chosen on a CPU: the same mathematics.

A step of a few rows costs what its weights cost to read and what its thousands of small operations
do. The scorer calls the layers as transformers wrote them, so the check of sampler against scorer
before the first update is one of this too.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.as_written import is_changed, is_written
from llmpolicy.policies.causal_lm.fast.norm import is_plain_norm, rms_norm
from llmpolicy.policies.causal_lm.fast.patched import Attend, Forward
from llmpolicy.policies.causal_lm.fast.products import Asked, Packed, Products
from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.speed import LAYERS

Part = Callable[[Tensor], Tensor]
Add = Callable[[Tensor, Tensor], Tensor]

_LAYER = "DecoderLayer"
_SILU = ("SiLU", "SiLUActivation")


def layer_forwards(model: nn.Module, attend: Attend, product: Products) -> Iterator[Forward]:
    """Decoder layers of the families whose layers are known, without gradients, with attention by
    ``attend``; and the head of any model, if there is room.

    A layer into which anything but adapters was put (a hook, another module, a forward of its own)
    is left as it is.
    """
    turn = _Turn()
    for layer in decoder_layers(model):
        if layer_reason(layer) is None:
            yield layer, _decoder_layer(layer, attend, product, turn)
    head = bare(model).get_output_embeddings()
    if isinstance(packed := product(head), Packed):
        yield head, packed


def decoder_layers(model: nn.Module) -> list[Any]:
    """The layers of a model that are called so."""
    return [layer for layer in bare(model).modules() if type(layer).__name__.endswith(_LAYER)]


def layer_reason(layer: Any) -> str | None:
    """Why a decoder layer is computed as transformers wrote it, in words; None if it is computed
    here.
    """
    name = type(layer).__name__
    family = name.removesuffix(_LAYER)
    if family not in LAYERS:
        return f"{name} is not known"
    if not is_written(layer, {name}):
        return f"a {name} has a forward of its own"
    for part, wanted in ((layer.self_attn, f"{family}Attention"), (layer.mlp, f"{family}MLP")):
        if not is_written(part, {wanted}):
            return f"a {name} has {type(part).__name__} in the place of its {wanted}"
    if any(map(is_changed, _bypassed(layer))):
        return f"a hook or a forward of its own was put into a {name}"
    return None


def _bypassed(layer: Any) -> Iterator[nn.Module]:
    """The layer and the modules in it whose own call is left out: not what an adapter has put in
    their place.
    """
    for module in layer.modules():
        if module in (layer, layer.self_attn, layer.mlp) or type(module).__module__.startswith(
            ("transformers.", "torch.")
        ):
            yield module


class _Turn:
    """Cosines and sines as the layers of a step share them: asked with the same pair again, it
    makes nothing anew.
    """

    def __init__(self) -> None:
        self.pair: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        """x (N, H, d) turned by its position, (x1 cos - x2 sin, x2 cos + x1 sin); a pair of (1, N,
        d).
        """
        half = x.shape[-1] // 2
        if pair is not self.pair:
            (cos, sin), self.pair = pair, pair
            self.cos = cos[0, :, None]
            self.sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)[0, :, None]
        return (x * self.cos).addcmul_(x.roll(half, -1), self.sin)


def _decoder_layer(
    layer: Any, attend: Attend, product: Products, turn: _Turn
) -> Callable[..., Tensor]:
    """Norm, attention, sum, norm, MLP, sum; Gemma-3 has norms behind attention and MLP too."""
    attention, out = (
        _attention(layer.self_attn, attend, product, turn),
        product(layer.self_attn.o_proj),
    )
    mlp, down = _mlp(layer.mlp, product), product(layer.mlp.down_proj)
    before, between = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
    add_attention: Add = out.plus
    add_mlp: Add = down.plus
    if hasattr(layer, "pre_feedforward_layernorm"):
        add_attention = _normed(out, between)
        add_mlp = _normed(down, _norm(layer.post_feedforward_layernorm))
        between = _norm(layer.pre_feedforward_layernorm)

    def forward(
        hidden_states: Tensor, *, position_embeddings: tuple[Tensor, Tensor], **_: Any
    ) -> Tensor:
        x = hidden_states[0]  # (N, h)
        x = add_attention(attention(before(x), position_embeddings), x)
        return add_mlp(mlp(between(x)), x)[None]

    return forward


def _normed(product: Asked, norm: Part) -> Add:
    return lambda y, x: x + norm(product(y))


def _attention(
    layer: Any, attend: Attend, product: Products, turn: _Turn
) -> Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]:
    """Projections, norms of heads where there are some, one rotation of queries and keys together,
    attention.
    """
    size, window, index, scale = layer.head_dim, _window(layer), layer.layer_idx, layer.scaling
    project, shared = product(layer.q_proj, layer.k_proj, layer.v_proj), layer.num_key_value_groups
    norms = (_norm(layer.q_norm), _norm(layer.k_norm)) if hasattr(layer, "q_norm") else None

    def forward(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        rows = x.shape[0]
        heads = project(x).view(rows, -1, size)  # (N, H + 2 K, d)
        keys = heads.shape[1] // (shared + 2)
        both, value = heads[:, :-keys], heads[:, -keys:]
        if norms is not None:
            both = torch.cat([norms[0](both[:, :-keys]), norms[1](both[:, -keys:])], dim=1)
        # under autocast what was turned is float32, values are not
        both = turn(both, angles).to(value.dtype)
        out = attend(index, both[:, :-keys], both[:, -keys:], value, scale, window)
        return out.reshape(rows, -1)

    return forward


def _window(layer: Any) -> int | None:
    """The sliding window of an attention layer, where transformers keeps it."""
    if type(layer).__name__ == "MistralAttention":
        return getattr(layer.config, "sliding_window", None)
    return getattr(layer, "sliding_window", None)


def _mlp(layer: Any, product: Products) -> Part:
    """What goes down: act(gate) up."""
    gate, up = product(layer.gate_proj), product(layer.up_proj)
    act = gate.silu if is_written(layer.act_fn, _SILU) else lambda x: layer.act_fn(gate(x))
    return lambda x: up.times(x, act(x))


def _norm(layer: Any) -> Part:
    """An RMS norm where its weight is a plain factor; any other module is asked itself."""
    if not is_plain_norm(layer):
        return lambda x: layer(x)
    weight, eps = layer.weight, layer.variance_epsilon
    twice = torch.cat([weight, weight])
    return lambda x: rms_norm(x, twice, eps)[0] if x.dtype == weight.dtype else layer(x)
