"""The draw of one token a row, exactly from softmax(logits / temperature), at the price of the
softmax alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

_CHUNK = 128


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tokens and their log-probabilities, both (b,), and whether all logits were finite, ()."""

    token: Tensor
    log_prob: Tensor
    finite: Tensor


def choose(
    logits: Tensor, temperature: float, greedy: bool, generator: torch.Generator | None
) -> Chosen:
    """Sample one token a row from logits (b, V), or take the likeliest; float32, whatever the
    logits are in.

    The draw inverts the distribution function: one uniform number a row, from the generator's
    device or else the logits', finds a chunk of the vocabulary by the chunks' sums and then a token
    in it. No number for every token is drawn, which on a CPU took a quarter of the generation.
    """
    scaled = logits.float() if temperature == 1.0 else logits.float() / temperature  # (b, V)
    share = scaled.softmax(-1)  # (b, V)
    missing = -share.shape[1] % _CHUNK
    whole = pad(share, (0, missing)) if missing else share  # to pad by nothing would copy
    chunks = whole.view(len(share), -1, _CHUNK)  # (b, C, chunk)
    sums = chunks.sum(-1)  # (b, C)
    drawn = scaled.argmax(-1, keepdim=True) if greedy else _draw(chunks, sums, generator)
    token = drawn.clamp_(max=logits.shape[1] - 1)  # (b, 1)
    log_prob = share.gather(1, token).log()
    return Chosen(
        token[:, 0], log_prob[:, 0], sums.isfinite().all()
    )  # one bad logit makes its row's sum NaN


def _draw(chunks: Tensor, sums: Tensor, generator: torch.Generator | None) -> Tensor:
    """A token a row, (b, 1), with probabilities in proportion to chunks (b, C, chunk), whose sums
    are (b, C).
    """
    device = chunks.device if generator is None else generator.device
    exact = torch.float32 if "mps" in (device.type, chunks.device.type) else torch.float64
    uniform = torch.rand(len(sums), 1, dtype=exact, device=device, generator=generator).to(
        chunks.device
    )  # (b, 1)
    chunk, rest = _invert(sums.to(exact), uniform)
    inner = chunks.gather(1, chunk[..., None].expand(-1, -1, _CHUNK))[:, 0]  # (b, chunk)
    inside, _ = _invert(inner.to(exact), rest)
    return chunk * _CHUNK + inside


def _invert(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Where in weights (b, n) the share ``uniform`` of their sum falls, (b, 1), and the share of
    that place below it.
    """
    upto = weights.cumsum(-1)  # (b, n)
    target = uniform * upto[:, -1:]
    index = torch.searchsorted(upto, target, right=True).clamp_(
        max=weights.shape[1] - 1
    )  # never a weight of 0
    weight = weights.gather(1, index)
    rest = (target - (upto.gather(1, index) - weight)) / weight
    return index, rest.clamp_(0.0, 1.0 - torch.finfo(weights.dtype).eps)
