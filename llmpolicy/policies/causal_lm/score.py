"""The one scorer: log π(token|context) of given tokens, in one forward pass."""

from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.as_written import structure
from llmpolicy.policies.causal_lm.forward import (
    accepts,
    bare,
    forward,
    innermost,
    on_the_left,
    positions,
)
from llmpolicy.policies.causal_lm.frequencies import by_context, own_positions
from llmpolicy.policies.causal_lm.states import unpadded
from llmpolicy.policies.causal_lm.trial import log_apart, tolerance


@dataclass(frozen=True, slots=True)
class Scored:
    """Of the last ``keep`` tokens a row: log-probability and entropy, (B, keep); and a MoE's
    balance loss, ().
    """

    log_prob: Tensor
    entropy: Tensor | None = None
    aux_loss: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _How:
    """What is asked of a pass; ``wanted`` are the arguments by which a model gives more."""

    keep: int
    temperature: float
    entropy: bool = False
    entropy_grad: bool = False
    fused: bool = False
    wanted: dict[str, Any] = field(default_factory=dict)


def score(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    keep: int,
    temperature: float,
    *,
    entropy: bool = False,
    entropy_grad: bool = False,
    aux_loss: bool = False,
    fused: bool = False,
) -> Scored:
    """Score the last ``keep`` tokens of input_ids (B, L) under softmax(logits / temperature).

    Only their logits are computed, and normalised in float32. Where attention_mask is 0 the figures
    mean nothing. ``entropy`` adds the entropy of each decision, with a gradient only if
    ``entropy_grad``; ``aux_loss`` the load-balancing loss of a mixture of experts. ``fused``: the
    model carries TRL's fused LM head, made with the same temperature: use it, so that logits are
    never held for all positions at once, if it is the model's own head.
    """
    wanted: dict[str, Any] = {"output_router_logits": True} if aux_loss else {}
    fused = fused and fused_is_plain(model, temperature, wanted)
    how = _How(keep, temperature, entropy, entropy_grad, fused, wanted)
    read = _unpadded if unpadded(model, input_ids.shape[1]) else _score
    return read(model, input_ids, attention_mask, how)


def last_logits(model: nn.Module, input_ids: Tensor, lengths: Tensor) -> Tensor:
    """The logits after the first ``lengths`` (B,) tokens of each row, (B, V): rows stand on the
    left, (B, L).

    Rows are moved to the right edge, so that the head computes one place of each, where the model
    may be padded there.
    """
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest == 0:
        raise PolicyError(
            f"prompt {int(lengths.argmin())} is empty; expected at least one token to start from"
        )
    shift = torch.zeros_like(lengths) if unpadded(model, longest) else longest - lengths  # (B,)
    column = torch.arange(longest, device=input_ids.device) - shift[:, None]  # (B, longest)
    ids = input_ids.gather(1, column.clamp(min=0))
    mask = ((column >= 0) & (column < lengths[:, None])).long()
    ends = lengths + shift - 1  # (B,): the place of each row's last token
    keep = longest - int(ends.min())
    rows = torch.arange(len(ids), device=ids.device)

    def read(places: Tensor) -> Tensor:
        logits, _ = forward(model, ids, mask, places, keep, use_cache=False)
        return logits[rows, ends - (longest - keep)]

    return by_context(model, column.clamp(min=0), lengths, read)


def _unpadded(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, how: _How) -> Scored:
    """Score rows that start at the left edge, so that nothing comes before what a model carries on
    from.
    """
    ids, mask, shift = on_the_left(input_ids, attention_mask)  # (B, W)
    prompts = (input_ids.shape[1] - how.keep - shift).clamp(min=1)  # (B,): tokens of each prompt
    shortest = min(int(prompts.min()), max(ids.shape[1] - 1, 1))
    width = max(ids.shape[1] - shortest, 1)
    scored = _score(model, ids, mask, replace(how, keep=width))
    column = prompts[:, None] - shortest + torch.arange(how.keep, device=ids.device)  # (B, keep)
    column = column.clamp(max=width - 1)
    entropy = scored.entropy
    if entropy is not None:
        entropy = entropy.gather(1, column)
    return Scored(scored.log_prob.gather(1, column), entropy, scored.aux_loss)


def _score(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, how: _How) -> Scored:
    """In one pass, or one for each set of frequencies that the contexts of these tokens have."""
    position_ids = positions(attention_mask)
    contexts = position_ids[:, -how.keep - 1 : -1] + 1  # (B, keep)
    read = _fused if how.fused else _plain
    begun, *later = own_positions(model, position_ids, contexts)
    result = read(model, input_ids, attention_mask, begun[0], how)
    for places, serves in later:
        result = _joined(result, read(model, input_ids, attention_mask, places, how), serves)
    return result


def _joined(result: Scored, scored: Scored, serves: Tensor) -> Scored:
    """The places that a further pass serves taken from it; a balance loss is that of all tokens in
    the last pass.
    """
    entropy = None
    if result.entropy is not None and scored.entropy is not None:
        entropy = torch.where(serves, scored.entropy, result.entropy)
    return Scored(torch.where(serves, scored.log_prob, result.log_prob), entropy, scored.aux_loss)


def _plain(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    position_ids: Tensor,
    how: _How,
) -> Scored:
    logits, output = forward(
        model, input_ids, attention_mask, position_ids, how.keep + 1, use_cache=False, **how.wanted
    )  # (B, keep + 1, V)
    log_probs = torch.log_softmax(logits[:, :-1].float() / how.temperature, dim=-1)  # (B, keep, V)
    chosen = input_ids[:, input_ids.shape[1] - how.keep :]  # (B, keep)
    entropy = aux_loss = None
    if how.entropy:
        entropy = entropy_of(log_probs if how.entropy_grad else log_probs.detach())
    if how.wanted:
        aux_loss = output.aux_loss
    return Scored(log_probs.gather(-1, chosen[..., None])[..., 0], entropy, aux_loss)


def fused_is_plain(model: nn.Module, temperature: float, wanted: dict[str, Any]) -> bool:
    """Whether TRL's fused head gives what the model's own forward gives; tried out once a model.

    It does not know what a family does to its logits after the head (RecurrentGemma, xLSTM) nor how
    each family of experts counts them.
    """
    tried = _fused_is_plain.setdefault(bare(model), {})
    asked = bool(wanted), structure(bare(model))
    if asked not in tried:
        tried[asked] = _is_plain(model, temperature, wanted)
    return tried[asked]


_fused_is_plain: WeakKeyDictionary[nn.Module, dict[tuple[bool, int], bool]] = WeakKeyDictionary()


@torch.no_grad()
def _is_plain(model: nn.Module, temperature: float, wanted: dict[str, Any]) -> bool:
    if isinstance(bare(model).get_output_embeddings(), TrainableTokensWrapper):
        # its weights are two tensors, of which the fused head would see one, with the adapter off
        # alone
        return False
    # weights may be shared out
    tokens = innermost(bare(model).get_input_embeddings()).num_embeddings
    device = next(model.parameters()).device
    ids = (torch.arange(32, device=device) * 7919 % tokens).view(2, 16)  # (B, L)
    mask, how = torch.ones_like(ids), _How(15, temperature, wanted=wanted)
    plain = _score(model, ids, mask, how)
    try:
        fused = _score(model, ids, mask, replace(how, fused=True))
    except AttributeError:  # a configuration without TRL's name for the number of experts
        return False
    limit = tolerance(model, 1e-3, 0.05)  # nats, mean over tokens
    if torch.is_autocast_enabled(device.type):
        limit = 0.05
    apart = [log_apart(plain.log_prob, fused.log_prob).mean()]
    if plain.aux_loss is not None and fused.aux_loss is not None:
        apart.append((plain.aux_loss - fused.aux_loss).abs())
    return float(torch.stack(apart).max()) <= limit


def entropy_of(log_probs: Tensor) -> Tensor:
    """−Σ_v p_v log p_v of each decision, (..., V) to (...); p log p is 0 where p is 0."""
    return -(log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(-1)


def _fused(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    position_ids: Tensor,
    how: _How,
) -> Scored:
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, : labels.shape[1] - how.keep] = -100
    wanted = how.wanted
    if accepts(model, "position_ids"):
        wanted = {**wanted, "position_ids": position_ids}
    output = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        labels=labels,
        fused_lm_head=True,
        **wanted,
    )
    begin, entropy = output.log_probs.shape[1] - how.keep, None
    if how.entropy:
        entropy = output.entropy[:, begin:]
        if not how.entropy_grad:
            entropy = entropy.detach()
    return Scored(output.log_probs[:, begin:], entropy, output.aux_loss)
