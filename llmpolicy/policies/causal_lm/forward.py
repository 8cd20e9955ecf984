"""One forward pass with explicit positions, so that padding changes nothing for any kind of
position encoding.
"""

import inspect
from collections.abc import Sequence
from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import pad

from llmpolicy.errors import PolicyError

TokenIds = Sequence[Sequence[int]]
"""The token ids of several rows."""

CACHES = ("cache", "past_key_values", "cache_params")
"""What models call their cache: transformers from 5.24 on, before that, and recurrent models before
that.
"""


def unwrapped(model: nn.Module) -> Any:
    """The model inside what DDP, FSDP, DeepSpeed and compilation wrap around it, with its
    adapters.
    """
    inner: Any = model
    # accelerate's own unwrapping walks all modules, which is too slow for once a token, as are
    # PEFT's searches for a name
    while (
        not isinstance(inner, PeftModel)
        and (wrapped := getattr(inner, "_orig_mod", getattr(inner, "module", None))) is not None
    ):
        inner = wrapped
    return inner


def bare(model: nn.Module) -> Any:
    """The transformers model inside what DDP, FSDP, DeepSpeed, compilation and PEFT wrap around
    it.
    """
    inner = unwrapped(model)
    return inner.get_base_model() if isinstance(inner, PeftModel) else inner


def text_config(model: nn.Module) -> Any:
    """The configuration of the language model, which may lie within that of a larger whole."""
    return bare(model).config.get_text_config(decoder=True)


def class_name(model: nn.Module) -> str:
    """What the class of the transformers model is called."""
    return type(bare(model)).__name__


@cache
def _parameters(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind.forward).parameters)


def accepts(model: nn.Module, name: str) -> bool:
    """Whether the model's forward has this argument (the class is asked: an instance's forward may
    be patched).
    """
    kind: Any = type(bare(model))
    return name in _parameters(kind)


def cache_argument(model: nn.Module) -> str | None:
    """The name under which the model's forward takes a cache of what it has read, None if it takes
    none.
    """
    return next(filter(partial(accepts, model), CACHES), None)


def innermost(module: Any) -> Any:
    """The module itself inside what PEFT wraps around it."""
    while (
        below := getattr(module, "base_layer", getattr(module, "original_module", None))
    ) is not None:
        module = below
    return module


def is_there(model: nn.Module) -> bool:
    """Whether a model has its weights: not on the meta device, nor sharded while it is loaded."""
    return not any(p.is_meta or p.numel() == 0 for p in model.parameters())


def vocabulary(model: nn.Module) -> int:
    """How many token ids the model knows, V."""
    return len(innermost(bare(model).get_input_embeddings()).weight)


def positions(attention_mask: Tensor) -> Tensor:
    """The index of each token among the real tokens of its row, 0 on the left padding, (B, L)."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)  # (B, L)


def forward(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor,
    keep: int,
    **arguments: Any,
) -> tuple[Tensor, Any]:
    """The logits of the last ``keep`` tokens of input_ids, (B, keep, V), and the whole output."""
    length = input_ids.shape[1]
    spare = -length % length_multiple(model)
    if spare and not arguments.get("use_cache"):  # on the right: unseen by the rest
        input_ids, position_ids = pad(input_ids, (0, spare)), pad(position_ids, (0, spare))
        if attention_mask is not None:
            attention_mask = pad(attention_mask, (0, spare))
    if accepts(model, "position_ids"):
        arguments["position_ids"] = position_ids
    begin, narrow = max(length - keep, 0), accepts(model, "logits_to_keep")
    if narrow:
        # As places, which are gathered: behind a slice torch copies the head's weights once a row
        # (57 MB of SmolLM2's).
        arguments["logits_to_keep"] = torch.arange(begin, length, device=input_ids.device)
    output = model(input_ids=input_ids, attention_mask=attention_mask, **arguments)
    logits = output.logits
    if not narrow:
        logits = logits[:, begin:length]
    return logits[:, -keep:], output  # (B, keep, V)


def length_multiple(model: nn.Module) -> int:
    """The number of which the length of every row has to be a multiple: xLSTM's chunk while it is
    trained, or else 1.
    """
    config = bare(model).config
    is_chunked = config.model_type == "xlstm" and config.mode == "train"
    return int(config.chunk_size) if is_chunked else 1


def computed_in(tensor: Tensor) -> torch.dtype:
    """The dtype in which a forward computes with a tensor: its own, or what autocast chooses."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


def on_the_left(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows moved to the left edge, with their masks, both (B, W), and by how many places each was
    moved, (B,).
    """
    shift = (attention_mask.cumsum(1) == 0).sum(1)  # (B,)
    length, width = input_ids.shape[1], max(int(attention_mask.sum(1).max()), 1)
    column = torch.arange(width, device=input_ids.device) + shift[:, None]  # (B, W)
    inside, column = column < length, column.clamp(max=length - 1)
    return input_ids.gather(1, column), attention_mask.gather(1, column) * inside, shift


def left_pad(rows: TokenIds, pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and their attention mask, both (B, P), padded on the left; the mask is 1 at a row's
    own tokens.
    """
    return _padded(rows, pad_id, device, on_left=True)


def right_pad(rows: TokenIds, pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and their mask, both (B, T), padded on the right; T is 0 if every row is empty."""
    return _padded(rows, pad_id, device, on_left=False)


def side_by_side(
    prompts: TokenIds,
    actions: TokenIds,
    pad_id: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of prompts, padded on the left, and actions, on the right; their mask, both (B, P + T),
    and that of the actions, (B, T).
    """
    before, there = left_pad(prompts, pad_id, device)  # (B, P)
    behind, chosen = right_pad(actions, pad_id, device)  # (B, T)
    return torch.cat([before, behind], 1), torch.cat([there, chosen], 1), chosen.bool()


def _padded(
    rows: TokenIds, pad_id: int, device: torch.device, *, on_left: bool
) -> tuple[Tensor, Tensor]:
    if not rows:
        raise PolicyError("there is no prompt; expected at least one")
    lengths = torch.tensor([*map(len, rows)])[:, None]  # (B, 1)
    there = torch.arange(int(lengths.max())) < lengths  # (B, any)
    if on_left:
        there = there.flip(1)
    ids = torch.full(there.shape, pad_id)
    ids[there] = torch.tensor([*chain.from_iterable(rows)], dtype=torch.long)
    return ids.to(device), there.long().to(device)
