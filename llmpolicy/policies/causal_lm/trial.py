"""A few tokens on trial: what a model says of them before and after something was done to it, and
in words what it raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import forward, is_there, positions, vocabulary
from llmpolicy.policies.causal_lm.out_of_memory import ran_out

CANNOT = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)
"""What a model, or a library around it, raises for what it cannot do."""

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
    ids = some_tokens(model, _ROWS * _WIDTH).view(_ROWS, _WIDTH)  # (B, L)
    mask = torch.ones_like(ids)
    with train_mode(model, on=False):
        logits, _ = forward(model, ids, mask, positions(mask), _WIDTH, use_cache=False)
    return torch.log_softmax(logits.float(), dim=-1)


def some_tokens(model: nn.Module, count: int) -> Tensor:
    """Token ids of all parts of the vocabulary to try a model with, (count,)."""
    device = next(model.parameters()).device
    return torch.arange(count, device=device) * 7919 % vocabulary(model)


def tolerance(model: nn.Module, exact: float, rounded: float) -> float:
    """``exact`` for weights in 32 bits, ``rounded`` for others."""
    return exact if next(model.parameters()).dtype == torch.float32 else rounded


@contextmanager
def train_mode(model: nn.Module, on: bool = True) -> Iterator[None]:
    """While it lasts the model is in train mode, or in evaluation."""
    training = model.training
    model.train(on)
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def in_words(
    what: str, expected: str = "", errors: tuple[type[Exception], ...] = CANNOT
) -> Iterator[None]:
    """What is raised meanwhile becomes a PolicyError that begins with ``what``; want of memory
    stays what it is.
    """
    try:
        yield
    except errors as error:
        if ran_out(error):
            raise
        clause = expected and f"; expected {expected}"
        raise PolicyError(f"{what} ({first_line(error)}){clause}") from error


def first_line(error: Exception) -> str:
    """The first line of a library's message, for use inside a sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".")


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
