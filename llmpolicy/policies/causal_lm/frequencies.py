"""Rotary embeddings whose frequencies depend on the longest row of a pass: each token gets those of
its own context.

LongRoPE (Ding et al. 2024, arXiv 2402.13753) has two sets, for contexts of up to so many tokens and
for longer ones; a row that grows beyond is read anew with the second, as
``prepare_inputs_for_generation`` of transformers means it. NTK-aware scaling by length
(``dynamic``) has a set for each length beyond the one that it was trained with: there it is
refused.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.policies.causal_lm.sparse import check_whole

_CONTEXTS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length",
    "max_seq_length", "model_max_length",
    "max_target_positions", "context_length", "n_ctx",
)  # fmt: skip
"""What configurations call the most tokens of a row, the likeliest first; MPT has max_seq_len."""


def switches(model: nn.Module) -> tuple[int, ...]:
    """The lengths of contexts above which a LongRoPE model has other frequencies, ascending."""
    config = _text_config(model)
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
    config = _text_config(model)
    for name in _CONTEXTS:
        allowed = getattr(config, name, None)
        if isinstance(allowed, int) and not isinstance(allowed, bool) and allowed:
            return allowed if allowed > 0 else None  # XLNet says -1
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
    why = (
        " (beyond it, its dynamic RoPE turns each token by the length of the longest row)"
        if _is_dynamic(model)
        else ""
    )
    raise PolicyError(f"{what}; the model's context is {context}{why}")


def check_rows(model: nn.Module, lengths: Sequence[int], where: str) -> None:
    """Raise PolicyError if a row that a stage reads whole, beside others, is longer than its first
    tokens' frequencies reach.

    Neither may it be longer than what attention reads all of.
    """
    check_whole(model, lengths, 0, f"{where}: the model")
    limits = [*switches(model), *([context_length(model)] if _is_dynamic(model) else [])]
    limit = min(filter(None, limits), default=max(lengths, default=0))
    for row, length in enumerate(lengths):
        if length > limit:
            raise PolicyError(
                f"{where}: row {row} has {length} tokens, and above {limit} this model's RoPE"
                f" would change with the longest row of a batch; expected at most {limit}"
                f" (max_length: {limit} cuts longer rows)"
            )


def own_positions(
    model: nn.Module, position_ids: Tensor, contexts: Tensor
) -> list[tuple[Tensor, Tensor | None]]:
    """The passes that compute each place at the frequencies of its own context: positions, and the
    places they serve.

    ``contexts`` is how many tokens each place is predicted from. Tokens beyond a switch are put
    before it where they do not count, as nothing that comes later is seen.
    """
    limits = switches(model)
    if not limits:
        return [(position_ids, None)]
    passes: list[tuple[Tensor, Tensor | None]] = []
    below = -1
    for limit in limits:
        passes.append((position_ids.clamp(max=limit - 1), (contexts > below) & (contexts <= limit)))
        below = limit
    passes.append((position_ids, contexts > below))
    return [part for part in passes if bool(torch.as_tensor(part[1]).any())] or passes[:1]


def by_context(
    model: nn.Module, position_ids: Tensor, contexts: Tensor, read: Callable[[Tensor], Tensor]
) -> Tensor:
    """What ``read`` gives at given positions, of each place from the pass that serves it:
    (contexts..., any).
    """
    begun, *later = own_positions(model, position_ids, contexts)
    result = read(begun[0])
    for places, serves in later:
        assert serves is not None
        result = torch.where(
            serves.view(*serves.shape, *[1] * (result.dim() - serves.dim())), read(places), result
        )
    return result


def grows_past(model: nn.Module, lengths: Sequence[int], steps: int) -> bool:
    """Whether rows that begin with so many tokens come to have other frequencies than the first of
    them.
    """
    shortest, longest = min(lengths), max(lengths) + steps - 1
    return any(shortest <= limit < longest for limit in switches(model))


def _is_dynamic(model: nn.Module) -> bool:
    return any("dynamic" in rope["rope_type"] for rope in _ropes(_text_config(model)))


def _text_config(model: nn.Module) -> Any:
    return bare(model).config.get_text_config(decoder=True)


def _ropes(config: Any) -> Iterator[dict[str, Any]]:
    """The parameters of the rotary embedding, or of each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in (rope, *rope.values()):
        if isinstance(parameters, dict) and parameters.get("rope_type"):
            yield parameters
