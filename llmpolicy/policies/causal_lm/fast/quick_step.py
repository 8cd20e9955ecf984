"""Decoder layers in fewer operations while tokens are chosen on a CPU: the same mathematics.

A step of a few rows costs what its weights cost to read and what its thousands of small operations
do. The scorer calls the layers as transformers wrote them, so the check of sampler against scorer
before the first update is one of this too.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.as_written import is_changed, is_written
from llmpolicy.policies.causal_lm.fast.group_attention import Attend
from llmpolicy.policies.causal_lm.fast.norm import is_plain_norm, rms_norm
from llmpolicy.policies.causal_lm.fast.products import Asked, Packed, Products
from llmpolicy.policies.causal_lm.forward import bare

Part = Callable[[Tensor], Tensor]
Add = Callable[[Tensor, Tensor], Tensor]

_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3")
_SILU = ("SiLU", "SiLUActivation")


@contextmanager
def quick_step(model: nn.Module, attend: Attend, product: Products) -> Iterator[None]:
    """While it lasts the decoder layers of these families are computed here, without gradients,
    attention by ``attend``.

    The head of any model is packed too, if there is room. A layer into which anything but adapters
    was put (a hook, another module, a forward of its own) is left as it is.
    """
    turn = _Turn()
    with ExitStack() as changed:
        for layer in bare(model).modules():
            if _is_known(layer):
                vars(layer)["forward"] = _decoder_layer(layer, attend, product, turn)
                changed.callback(delattr, layer, "forward")
        head = bare(model).get_output_embeddings()
        if isinstance(packed := product(head), Packed):
            vars(head)["forward"] = packed
            changed.callback(delattr, head, "forward")
        yield


def _is_known(layer: Any) -> bool:
    family = type(layer).__name__.removesuffix("DecoderLayer")
    if family not in _FAMILIES or not is_written(layer, {f"{family}DecoderLayer"}):
        return False
    known = is_written(layer.self_attn, {f"{family}Attention"}) and is_written(
        layer.mlp, {f"{family}MLP"}
    )
    return known and not any(map(is_changed, _bypassed(layer)))


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
            self.cos, self.sin = (
                cos[0, :, None],
                torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)[0, :, None],
            )
        return (x * self.cos).addcmul_(x.roll(half, -1), self.sin)


def _decoder_layer(
    layer: Any, attend: Attend, product: Products, turn: _Turn
) -> Callable[..., Tensor]:
    """Norm, attention, sum, norm, MLP, sum; Gemma-3 has norms behind attention and MLP too."""
    seen, out = _attention(layer.self_attn, attend, product, turn), product(layer.self_attn.o_proj)
    made, down = _mlp(layer.mlp, product), product(layer.mlp.down_proj)
    before, between = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
    add_seen: Add = out.plus
    add_made: Add = down.plus
    if hasattr(layer, "pre_feedforward_layernorm"):
        add_seen, add_made = (
            _normed(out, between),
            _normed(down, _norm(layer.post_feedforward_layernorm)),
        )
        between = _norm(layer.pre_feedforward_layernorm)

    def forward(
        hidden_states: Tensor, *, position_embeddings: tuple[Tensor, Tensor], **_: Any
    ) -> Tensor:
        x = hidden_states[0]  # (N, h)
        x = add_seen(seen(before(x), position_embeddings), x)
        return add_made(made(between(x)), x)[None]

    return forward


def _normed(product: Asked, norm: Part) -> Add:
    return lambda y, x: x + norm(product(y))


def _attention(
    layer: Any, attend: Attend, product: Products, turn: _Turn
) -> Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]:
    """Projections, norms of heads where there are some, one rotation of queries and keys together,
    attention.
    """
    size, window, place, scale = layer.head_dim, _window(layer), layer.layer_idx, layer.scaling
    project, shared = product(layer.q_proj, layer.k_proj, layer.v_proj), layer.num_key_value_groups
    norms = (_norm(layer.q_norm), _norm(layer.k_norm)) if hasattr(layer, "q_norm") else None

    def forward(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        rows = x.shape[0]
        made = project(x).view(rows, -1, size)  # (N, H + 2 K, d)
        keys = made.shape[1] // (shared + 2)
        both, value = made[:, :-keys], made[:, -keys:]
        if norms is not None:
            both = torch.cat([norms[0](both[:, :-keys]), norms[1](both[:, -keys:])], dim=1)
        both = turn(both, angles).to(
            value.dtype
        )  # under autocast what was turned is float32, values are not
        return attend(place, both[:, :-keys], both[:, -keys:], value, scale, window).reshape(
            rows, -1
        )

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
