"""What recurrent and hybrid models carry from token to token: whether a model does, and what it
carries, row by row.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus
from transformers import DynamicCache

from llmpolicy.policies.causal_lm.forward import accepts, bare, cache_argument

STATES = ("cache", "past_key_values", "cache_params", "state")
"""What models call what they carry, in their arguments and in their output alike."""

_JOINED = (
    "DummyLayer",
    "DynamicLayer",
    "DynamicSlidingWindowLayer",
    "LinearAttentionLayer",
    "LinearAttentionAndFullAttentionLayer",
    "LinearAttentionAndSlidingWindowAttentionLayer",
)
"""Layers of a cache whose rows are known to stand on the right of what is filled."""
_STEP = "mamba2_selective_state_update"

_recurrent: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def is_recurrent(model: nn.Module) -> bool:
    """Whether some layer carries a state over all tokens before: padding on the left can then leak
    into every token.

    A model without a cache that is known counts too: nothing is known of what it carries.
    """
    inner = bare(model)
    if inner not in _recurrent:
        _recurrent[inner] = _is_recurrent(inner)
    return _recurrent[inner]


def _is_recurrent(model: Any) -> bool:
    config = model.config.get_text_config(decoder=True)
    if (
        getattr(model, "_is_stateful", False)
        or cache_argument(model) is None
        or not hasattr(config, "num_hidden_layers")
    ):
        return True
    layers = DynamicCache(config=config).layers
    return any(hasattr(layer, "conv_states") for layer in layers)


def counts_columns(model: nn.Module, width: int) -> bool:
    """Whether a row of so many columns is read otherwise when padding comes before it.

    Llama-4 scales queries by column, MiniMax-M3's indexer tells by it what comes later.
    """
    config = bare(model).config.get_text_config(decoder=True)
    if "minimax_m3_sparse" in (getattr(config, "layer_types", None) or ()):
        return True
    return bool(getattr(config, "attn_temperature_tuning", False)) and width >= config.floor_scale


def unpadded(model: nn.Module, width: int) -> bool:
    """Whether rows of up to so many columns must have no padding on the left."""
    return is_recurrent(model) or counts_columns(model, width)


def carried(model: nn.Module, output: Any) -> tuple[str, Any]:
    """What a model carries on after reading, and the argument that takes it; KeyError if its output
    has none.
    """
    for name in STATES:
        if accepts(model, name) and getattr(output, name, None) is not None:
            return name, getattr(output, name)
    raise KeyError(f"the output of {type(bare(model)).__name__} has none of {', '.join(STATES)}")


def select(state: Any, rows: Tensor, count: int) -> Any:
    """The state of the rows at these places, of ``count`` rows; a cache is changed in place, a row
    may come twice.
    """
    if isinstance(state, Tensor):
        return state.index_select(0, rows) if state.dim() and len(state) == count else state
    if isinstance(state, list | tuple):
        return type(state)([select(part, rows, count) for part in state])
    if isinstance(state, dict):
        return {key: select(part, rows, count) for key, part in state.items()}
    for layer in getattr(state, "layers", []):
        layer.reorder_cache(
            rows
        )  # the one way to select rows that every kind of layer has for all that it holds
    for name, part in getattr(state, "__dict__", {}).items():
        if name != "layers" and isinstance(part, Tensor | list | tuple | dict):
            setattr(state, name, select(part, rows, count))
    return state


def has_keys(state: Any) -> bool:
    """Whether some layer of a cache holds keys, which grow with every token."""
    return any(
        isinstance(getattr(layer, "keys", None), Tensor) for layer in getattr(state, "layers", [])
    )


def join(states: Sequence[Any]) -> Any:
    """Caches of rows of several lengths as one, keys and values filled on the left; None if these
    cannot be joined.
    """
    for state in states:
        if type(state) is not DynamicCache:
            return None
        if any(type(layer).__name__ not in _JOINED for layer in state.layers):
            return None
    joined, *_ = states
    for index, layer in enumerate(joined.layers):
        _join_layers(layer, [state.layers[index] for state in states])
    return joined


def _join_layers(joined: Any, layers: Sequence[Any]) -> None:
    """Put into the first layer what all of them hold."""
    for name in ("keys", "values"):
        if isinstance(getattr(joined, name, None), Tensor):
            sides = [getattr(layer, name) for layer in layers]  # (b, K, P, d), of several b and P
            width = max(side.shape[-2] for side in sides)
            filled = [pad(side, (0, 0, width - side.shape[-2], 0)) for side in sides]
            setattr(joined, name, torch.cat(filled))
    if hasattr(joined, "cumulative_length"):
        joined.cumulative_length = max(layer.cumulative_length for layer in layers)
    for name in ("conv_states", "recurrent_states"):
        for index, part in getattr(joined, name, {}).items():
            if part is not None:
                held = [getattr(layer, name)[index] for layer in layers]
                getattr(joined, name)[index] = torch.cat(held)


@contextmanager
def limited_steps(model: nn.Module) -> Iterator[None]:
    """While it lasts Mamba-2 layers keep softplus(dt + bias) within its limits for single tokens,
    as for whole rows.

    transformers does so in the scan of whole rows alone, so that what is sampled would not be what
    is scored.
    """
    limits: dict[str, tuple[float, float]] = {}
    for layer in model.modules():
        if (limit := _limit(layer)) is not None:
            limits[type(layer).__module__] = limit
    with ExitStack() as undone:
        for name, limit in limits.items():
            module = sys.modules[name]
            if hasattr(module, _STEP):
                step = getattr(module, _STEP)
                setattr(module, _STEP, _limited(step, limit))
                undone.callback(setattr, module, _STEP, step)
        yield


def _limit(module: nn.Module) -> tuple[float, float] | None:
    """The limits of a layer's time step, None if it has none or they limit nothing."""
    limit = getattr(module, "time_step_limit", None)
    return None if limit is None or tuple(limit) == (0.0, float("inf")) else (limit[0], limit[1])


def _limited(step: Any, limit: tuple[float, float]) -> Any:
    def limited(
        state: Tensor,
        x: Tensor,
        dt: Tensor,
        *rest: Any,
        dt_bias: Tensor,
        dt_softplus: bool,
        **more: Any,
    ) -> Any:
        assert dt_softplus
        time_step = softplus(dt + dt_bias.to(dt.dtype)).clamp(*limit)
        return step(state, x, time_step, *rest, dt_bias=None, dt_softplus=False, **more)

    return limited
