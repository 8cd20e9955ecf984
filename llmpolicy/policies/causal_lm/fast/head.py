"""log π of chosen tokens through the output head, in tiles: the logits of all places are never held
at once.
"""

from collections.abc import Iterator
from typing import Any

import torch
from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from llmpolicy.policies.causal_lm.as_written import is_hooked
from llmpolicy.policies.causal_lm.fast.patched import Forward
from llmpolicy.policies.causal_lm.forward import bare, computed_in, innermost

TILE = 2**25
"""Bytes of the logits computed at a time: 32 MB, for the head's weights are read once for each
tile.
"""
PART = 2**19
"""Logits of which float32 is made at a time on a CPU: 2 MB, which stay in the cache from one
operation to the next.
"""
KEPT = 2**28
"""Bytes of 16-bit probabilities that wait for the backward, 256 MB; beyond, and in 32 bits, they
are computed again.
"""
_LEAST = torch.finfo(torch.float32).min
"""In place of −∞: a token that is ruled out has the probability 0, and adds nothing to an
entropy.
"""
TOGETHER = 8
"""Tiles whose parts of the head's gradient are added up in 16 bits, as stock TRL adds up its
micro-batches; then in 32.
"""


def head_reason(model: nn.Module) -> str | None:
    """Why log π cannot be computed from the weights of the output head, in words, or None if logits
    are its plain product.
    """
    inner, kind = bare(model), type(bare(model)).__name__
    if (head := inner.get_output_embeddings()) is None:
        return f"{kind} names no output head"
    inside = innermost(head)
    wraps = inside is head or type(head) in (ModulesToSaveWrapper, TrainableTokensWrapper)
    if not wraps or type(inside) is not nn.Linear or "forward" in {*vars(head), *vars(inside)}:
        return (
            f"the output head of {kind} was replaced by {type(head).__name__}, with a forward of"
            " its own"
        )
    if is_hooked(head) or is_hooked(inside):
        return f"a hook was put into the output head of {kind}"
    return None


def scoring_head(model: nn.Module, labels: Tensor, temperature: float, entropy: bool) -> Forward:
    """The output head that gives (1, S, 2) in the place of logits (1, S, V): log-probability of
    each label (S,), and entropy.

    The head is asked inside the model's own forward, so that what wraps the model (DDP) sees its
    weights used.
    """
    head = bare(model).get_output_embeddings()

    def forward(hidden: Tensor) -> Tensor:
        bias = getattr(head, "bias", None)
        figures = log_prob_of(hidden[0], head.weight, bias, labels, temperature, entropy)
        return torch.stack(figures, dim=-1)[None]  # (1, S, 2)

    return head, forward


def log_prob_of(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    temperature: float,
    entropy: bool,
) -> tuple[Tensor, Tensor]:
    """Log-probability of labels (S,) and entropy in nats, both (S,) in float32, from hidden states
    (S, h).

    The entropy has no gradient, and is 0 if it is not wanted.
    """
    log_prob, entropies = _TiledLogProb.apply(
        hidden, weight, bias, labels, temperature, entropy, computed_in(weight)
    )
    return log_prob, entropies


class _TiledLogProb(torch.autograd.Function):
    """Tiles of places, which the backward keeps or computes again: d log p_y / d logits = (1_y − p)
    / temperature.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        temperature: float,
        entropy: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        mass = hidden.new_empty(len(labels), dtype=torch.float32)  # (S,): log Σ exp
        log_prob, entropies = torch.empty_like(mass), torch.zeros_like(mass)
        cast = _cast(weight, bias, dtype)
        kept = 0
        if hidden.requires_grad and bias is None and dtype.itemsize == 2:
            kept = min(KEPT // (len(weight) * dtype.itemsize), len(labels))
        ctx.temperature, ctx.dtype, ctx.kept = temperature, dtype, None
        ctx.tiles = list(_tiles(len(labels), len(weight), TILE // dtype.itemsize, kept))
        for tile in ctx.tiles:
            keeps = tile.stop == kept
            logits = linear(hidden[tile].to(dtype), *cast)  # (s, V)
            for part in _parts(logits):
                span = slice(tile.start + part.start, tile.start + part.stop)
                scaled = logits[part].float().div_(temperature)
                share = scaled.softmax(
                    -1
                )  # of its exponentials come the mass, the entropy and the backward
                mass[span] = scaled.amax(-1) - share.amax(-1).log()
                log_prob[span] = scaled.gather(1, labels[span, None])[:, 0] - mass[span]
                if entropy:
                    entropies[span] = mass[span] - scaled.clamp_(min=_LEAST).mul_(share).sum(-1)
                if keeps:
                    logits[part] = share
            if keeps:
                ctx.kept = logits
        ctx.save_for_backward(hidden, weight, bias, labels, mass, log_prob)
        ctx.mark_non_differentiable(entropies)
        return log_prob, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, mass, log_prob = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        of_weight = _Sum(weight, ctx.dtype) if ctx.needs_input_grad[1] else None
        of_bias = None
        if bias is not None and ctx.needs_input_grad[2]:
            of_bias = torch.zeros_like(bias, dtype=torch.float32)
        cast = _cast(weight, bias, ctx.dtype)
        # (S, 1), put on hidden states, not on logits
        scale = (-gradient / ctx.temperature)[:, None]
        of_label = log_prob.expm1().to(ctx.dtype)  # (S,): p_y - 1, exact where p_y is nearly 1
        places = torch.arange(len(labels), device=labels.device)  # (S,)
        for tile in ctx.tiles:
            seen = hidden[tile].to(ctx.dtype)  # (s, h)
            share, ctx.kept = ctx.kept, None  # (s, V): p - 1_y in the end
            if share is None:
                share = linear(seen, *cast)
                for part in _parts(share):
                    span = slice(tile.start + part.start, tile.start + part.stop)
                    exact = share[part].float().div_(ctx.temperature).sub_(mass[span, None]).exp_()
                    share[part] = exact
                    if of_bias is not None:
                        of_bias += scale[span, 0] @ exact
            # on a CPU scatter_ would copy all of it
            share[places[: len(share)], labels[tile]] = of_label[tile]
            if of_hidden is not None:
                of_hidden[tile] = (share @ cast[0]).float().mul_(scale[tile]).to(hidden.dtype)
            if of_weight is not None:
                of_weight.add(share.T, (seen.float() * scale[tile]).to(ctx.dtype))
        if of_bias is not None:
            of_bias = of_bias.index_add_(0, labels, -scale[:, 0]).to(bias.dtype)
        moved = None if of_weight is None else of_weight.total().to(weight.dtype)
        return of_hidden, moved, of_bias, None, None, None, None


class _Sum:
    """Σ of products as large as ``weight``, made in ``dtype``: some added up in it, for speed, and
    their sums in float32.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self.part, self.parts = torch.zeros_like(weight, dtype=dtype), 0
        self.rest: Tensor | None = None
        self.together = (
            TOGETHER if weight.dtype == dtype else 1
        )  # weights of 32 bits are promised more
        self.is_exact = dtype.itemsize >= 4

    def add(self, left: Tensor, right: Tensor) -> None:
        """Add left @ right, in place: a product of its own would be new memory each time."""
        if self.parts == self.together and not self.is_exact:
            self.rest, self.parts = self.total().float(), 0
        self.part.addmm_(left, right, beta=min(self.parts, 1))
        self.parts += 1

    def total(self) -> Tensor:
        """What was added since the last total, and before it."""
        return self.part if self.rest is None else self.rest.add_(self.part)


def _cast(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def _tiles(places: int, vocabulary: int, numbers: int, begin: int = 0) -> Iterator[slice]:
    """Slices of places: the ``first`` of them in one, then each of so many logits, or of one
    place.
    """
    size = max(1, numbers // vocabulary)
    if begin:
        yield slice(0, begin)
    for start in range(begin, places, size):
        yield slice(start, min(start + size, places))


def _parts(logits: Tensor) -> Iterator[slice]:
    places, vocabulary = logits.shape
    numbers = TILE // logits.element_size()
    if logits.device.type == "cpu":
        numbers = PART
    return _tiles(places, vocabulary, numbers)
