"""One forward pass with explicit positions, so that padding changes nothing for any kind of
position encoding.
"""

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import pad

from llmpolicy.errors import PolicyError

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
    return next((name for name in CACHES if accepts(model, name)), None)


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
    if (spare := -length % length_multiple(model)) and not arguments.get(
        "use_cache"
    ):  # on the right: unseen by the rest
        input_ids, position_ids = pad(input_ids, (0, spare)), pad(position_ids, (0, spare))
        attention_mask = None if attention_mask is None else pad(attention_mask, (0, spare))
    if accepts(model, "position_ids"):
        arguments["position_ids"] = position_ids
    if narrow := accepts(model, "logits_to_keep"):
        # As places, which are gathered: behind a slice torch copies the head's weights once a row
        # (57 MB of SmolLM2's).
        arguments["logits_to_keep"] = torch.arange(
            max(length - keep, 0), length, device=input_ids.device
        )
    output = model(input_ids=input_ids, attention_mask=attention_mask, **arguments)
    logits = output.logits if narrow else output.logits[:, max(length - keep, 0) : length]
    return logits[:, -keep:], output  # (B, keep, V)


def length_multiple(model: nn.Module) -> int:
    """The number of which the length of every row has to be a multiple: xLSTM's chunk while it is
    trained, or else 1.
    """
    config = bare(model).config
    is_chunked = config.model_type == "xlstm" and config.mode == "train"
    return int(config.chunk_size) if is_chunked else 1


def on_the_left(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows moved to the left edge, with their masks, both (B, W), and by how many places each was
    moved, (B,).
    """
    shift = (attention_mask.cumsum(1) == 0).sum(1)  # (B,)
    length, width = input_ids.shape[1], max(int(attention_mask.sum(1).max()), 1)
    column = torch.arange(width, device=input_ids.device) + shift[:, None]  # (B, W)
    inside, column = column < length, column.clamp(max=length - 1)
    return input_ids.gather(1, column), attention_mask.gather(1, column) * inside, shift


def left_pad(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids and their attention mask, both (B, P), padded on the left; the mask is 1 at a row's
    own tokens.
    """
    if not rows:
        raise PolicyError("there is no prompt; expected at least one")
    width = max(map(len, rows))
    input_ids = torch.tensor(
        [[pad_id] * (width - len(row)) + list(row) for row in rows], device=device
    )  # (B, P)
    mask = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device
    )  # (B, P)
    return input_ids, mask


def right_pad(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids and their mask, both (B, T), padded on the right; T is 0 if every row is empty."""
    if not rows:
        raise PolicyError("there is no prompt; expected at least one")
    width = max(map(len, rows))
    ids = [list(row) + [pad_id] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    shape = (len(rows), width)  # a list of empty rows has no second dimension of its own
    return (
        torch.tensor(ids, dtype=torch.long, device=device).view(shape),
        torch.tensor(mask, dtype=torch.long, device=device).view(shape),
    )
