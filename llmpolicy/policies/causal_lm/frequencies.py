"""How long a row may be, and what a layer makes of lengths: rotary frequencies of each token's own
context, attention that reads all of it.

Rotary embeddings may have frequencies that depend on the longest row of a pass.

LongRoPE (Ding et al. 2024, arXiv 2402.13753) has two sets, for contexts of up to so many tokens and
for longer ones; a row that grows beyond is read anew with the second, as
``prepare_inputs_for_generation`` of transformers means it. NTK-aware scaling by length
(``dynamic``) has a set for each length beyond the one that it was trained with: there it is
refused.

An indexer gives each token before a score and keeps the highest (DeepSeek-V3.2, arXiv 2512.02556,
section 2.1). Its ReLU leaves many scores at 0, and among equal ones ``topk`` chooses by their
column and the width of the pass, which padding and a cache change: such attention is a function of
the context alone only where it reads all of it.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import (
    text_config,
)

_CONTEXTS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length",
    "max_seq_length", "model_max_length",
    "max_target_positions", "context_length", "n_ctx",
)  # fmt: skip
"""What configurations call the most tokens of a row, the likeliest first; MPT has max_seq_len."""

_CHOSEN = {
    "index_topk": "compress_rate",
    "topk_blocks": "block_size",
    "token_budget": "",
    "keep_window_size": "",
}
"""What modules call the number that they choose, of tokens or of blocks, and the size of such a
block.
"""


def switches(model: nn.Module) -> tuple[int, ...]:
    """The lengths of contexts above which a LongRoPE model has other frequencies, ascending."""
    config = text_config(model)
    original = getattr(config, "original_max_position_embeddings", None)
    limits = {
        rope.get("original_max_position_embeddings") or original or config.max_position_embeddings
        for rope in _ropes(config)
        if rope["rope_type"] == "longrope"
    }
    return tuple(sorted(limits))


def context_length(model: nn.Module) -> int | None:
    """The number of tokens that the model's configuration allows, None if it names none.

    Where ``dynamic`` frequencies begin to change with each token is that number, too.
    """
    config = text_config(model)
    for name in _CONTEXTS:
        allowed = getattr(config, name, None)
        if isinstance(allowed, int) and not isinstance(allowed, bool) and allowed:
            return max(allowed, 0) or None  # XLNet says -1
    return None


def check_lengths(model: nn.Module, lengths: Sequence[int], more: int | Sequence[int] = 0) -> None:
    """Raise PolicyError if rows of so many tokens, and ``more`` to come, of all or of each, are
    longer than the model's context.
    """
    each = [more] * len(lengths) if isinstance(more, int) else more
    context, totals = context_length(model), list(map(add, lengths, each))
    if not context or max(totals, default=0) <= context:
        return
    row = totals.index(max(totals))
    what = f"row {row} has {lengths[row]} tokens"
    if more:
        what = (
            f"prompt {row} has {lengths[row]} tokens and max_new_tokens is {each[row]},"
            f" {totals[row]} in all"
        )
    why = ""
    if _is_dynamic(model):
        why = " (beyond it, its dynamic RoPE turns each token by the length of the longest row)"
    raise PolicyError(f"{what}; the model's context is {context}{why}")


def reads_whole(model: nn.Module) -> int | None:
    """The most tokens of a row that attention reads all of, None if it never chooses among them."""
    return min(_limits(model), default=None)


def _limits(model: nn.Module) -> Iterator[int]:
    for module in model.modules():
        for count, size in _CHOSEN.items():
            if isinstance(chosen := vars(module).get(count), int):
                yield chosen * int(vars(module).get(size, 1))


def check_whole(model: nn.Module, lengths: Sequence[int], more: int, name: str) -> None:
    """Raise PolicyError for rows of so many tokens, and ``more`` to come, where attention would
    choose among them.
    """
    limit, longest = reads_whole(model), max(lengths, default=0) + more
    if limit is not None and longest > limit:
        raise PolicyError(
            f"{name} reads at most {limit} tokens before each and chooses them by scores, of which"
            " equal ones are told apart by where a row stands beside others; expected prompt and"
            f" completion of at most {limit} tokens together, not {longest}"
        )


def check_rows(model: nn.Module, lengths: Sequence[int], where: str) -> None:
    """Raise PolicyError if a row that a stage reads whole, beside others, is longer than its first
    tokens' frequencies reach.

    Neither may it be longer than what attention reads all of.
    """
    check_whole(model, lengths, 0, f"{where}: the model")
    limits: list[int | None] = [*switches(model)]
    if _is_dynamic(model):
        limits.append(context_length(model))
    limit = min(filter(None, limits), default=None)
    for row, length in enumerate(lengths):
        if limit is not None and length > limit:
            raise PolicyError(
                f"{where}: row {row} has {length} tokens, and above {limit} this model's RoPE"
                f" would change with the longest row of a batch; expected at most {limit}"
                f" (max_length: {limit} cuts longer rows)"
            )


def own_positions(
    model: nn.Module, position_ids: Tensor, contexts: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """The passes that compute each place at the frequencies of its own context: positions, and the
    places they serve.

    ``contexts`` is how many tokens each place is predicted from. Tokens beyond a switch are put
    before it where they do not count, as nothing that comes later is seen.
    """
    passes, below = list[tuple[Tensor, Tensor]](), -1
    for limit in switches(model):
        passes.append((position_ids.clamp(max=limit - 1), (contexts > below) & (contexts <= limit)))
        below = limit
    passes.append((position_ids, contexts > below))
    if len(passes) == 1:
        return passes
    return [part for part in passes if bool(part[1].any())] or passes[:1]


def by_context(
    model: nn.Module, position_ids: Tensor, contexts: Tensor, read: Callable[[Tensor], Tensor]
) -> Tensor:
    """What ``read`` gives at given positions, of each place from the pass that serves it:
    (contexts..., any).
    """
    begun, *later = own_positions(model, position_ids, contexts)
    result = read(begun[0])
    for places, serves in later:
        rest = [1] * (result.dim() - serves.dim())
        result = torch.where(serves.view(*serves.shape, *rest), read(places), result)
    return result


def grows_past(model: nn.Module, lengths: Sequence[int], steps: int) -> bool:
    """Whether rows that begin with so many tokens come to have other frequencies than the first of
    them.
    """
    shortest, longest = min(lengths), max(lengths) + steps - 1
    return any(shortest <= limit < longest for limit in switches(model))


def _is_dynamic(model: nn.Module) -> bool:
    return any("dynamic" in rope["rope_type"] for rope in _ropes(text_config(model)))


def _ropes(config: Any) -> Iterator[dict[str, Any]]:
    """The parameters of the rotary embedding, or of each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in (rope, *rope.values()):
        if isinstance(parameters, dict) and parameters.get("rope_type"):
            yield parameters
