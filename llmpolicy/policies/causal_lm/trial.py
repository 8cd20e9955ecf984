"""A few tokens on trial: what a model says of them before and after something was done to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.forward import forward, is_there, positions, vocabulary

_ROWS, _WIDTH = 2, 8
_LIMIT = 1e-3
_STEP = 0.01


@torch.no_grad()
def log_probs(model: nn.Module) -> Tensor | None:
    """log π of every token after each of a few contexts, (B, L, V), as the model stands; None
    without its weights.

    Weights that are not there yet are on the meta device, or shared out while loading.
    """
    if not is_there(model):
        return None
    device, training = next(model.parameters()).device, model.training
    ids = (torch.arange(_ROWS * _WIDTH, device=device) * 7919 % vocabulary(model)).view(
        _ROWS, _WIDTH
    )  # (B, L)
    mask = torch.ones_like(ids)
    model.eval()
    try:
        logits, _ = forward(model, ids, mask, positions(mask), _WIDTH, use_cache=False)
    finally:
        model.train(training)
    return torch.log_softmax(logits.float(), dim=-1)


def apart(expected: Tensor | None, answer: Tensor | None) -> float:
    """How far two answers of `log_probs` lie apart in nats, weighted by the probabilities; 0 if no
    more than rounding.
    """
    if expected is None or answer is None:
        return 0.0
    nats = float(weighted_apart(expected, answer).mean())
    return nats if nats > _LIMIT else 0.0


def weighted_apart(expected: Tensor, answer: Tensor) -> Tensor:
    """How far log-probabilities lie apart in nats, Σ_v p_v |log p_v − log q_v| of each place, (...,
    V) to (...).

    A token that both rule out adds nothing; one that only ``expected`` or ``found`` rules out, or
    no number, makes it ∞.
    """
    p, q = expected.float().exp(), answer.float().exp()
    nats = (log_apart(expected, answer).float() * p).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return nats.masked_fill((p == 0) & (q == 0), 0.0).sum(-1)


def log_apart(expected: Tensor, answer: Tensor) -> Tensor:
    """|log p − log q| of each: 0 where both are −∞, as of tokens that a model rules out, and ∞
    where either is no number.
    """
    apart = (expected - answer).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    return apart.masked_fill(expected.isneginf() & answer.isneginf(), 0.0)


@contextmanager
@torch.no_grad()
def moved(model: nn.Module) -> Iterator[None]:
    """While it lasts what is trained is a step away: a new adapter adds nothing yet, and nothing
    would be seen of it.
    """
    trained = [
        p for p in model.parameters() if p.requires_grad and p.is_floating_point() and not p.is_meta
    ]
    before = [p.clone() for p in trained]
    draw = torch.Generator().manual_seed(0)
    for p in trained:
        p.add_(_STEP * torch.randn(p.shape, generator=draw).to(p))
    try:
        yield
    finally:
        for p, value in zip(trained, before, strict=True):
            p.copy_(value)
