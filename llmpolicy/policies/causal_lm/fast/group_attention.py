"""Attention by groups: the sums of a pass over the unique tokens of several prompts and their
completions, packed in one row.

Every layer but attention works token by token, so it needs no rows: packed as (1, N) it sees each
token once and no padding. Attention is handed to a function of ours (``patched``), which knows
which token belongs to which prompt and completion.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

_SMALL = 2**21
"""Scores of one call in float32, 8 MB for the backward; in bfloat16 four times as many, 16 MB."""


class Rectangle:
    """Packed segments as rows of one length, filled on the right: (N, ...) to (R, L, ...) and back.

    Filling repeats a token; what is computed there must not be used, and its gradient is dropped.
    """

    def __init__(self, lengths: list[int], device: torch.device) -> None:
        self.rows, self.length, self.total = len(lengths), max(lengths, default=0), sum(lengths)
        sizes = torch.tensor(lengths, dtype=torch.long)
        starts = sizes.cumsum(0) - sizes  # (R,)
        column = torch.arange(self.length)
        inside = column < sizes[:, None]  # (R, L)
        self.is_full = self.rows * self.length == self.total
        self.lengths = sizes.to(device)  # (R,)
        self.inside = inside.to(device)
        source = (starts[:, None] + column).where(inside, 0)
        self.source = source.flatten().to(device)  # (R L,): the packed token
        self.inner = (
            inside.flatten().nonzero()[:, 0].to(device)
        )  # (N,): where it stands in the rows
        self.outside = (~inside).flatten().nonzero()[:, 0].to(device)  # (R L - N,): what is filled

    def fill(self, packed: Tensor) -> Tensor:
        """(N, ...) to (R, L, ...)."""
        rows = packed if self.is_full else _Move.apply(packed, self.source, self.inner, None)
        return rows.reshape(self.rows, self.length, *packed.shape[1:])

    def pack(self, rows: Tensor) -> Tensor:
        """(R, L, ...) to (N, ...)."""
        flat = rows.reshape(self.rows * self.length, *rows.shape[2:])
        return flat if self.is_full else _Move.apply(flat, self.inner, self.source, self.outside)


class _Move(torch.autograd.Function):
    """index_select whose gradient is an index_select too: each token has one place that counts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, unused: Tensor | None) -> Tensor:
        ctx.back, ctx.unused = back, unused
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        moved = gradient.index_select(0, ctx.back)
        if ctx.unused is not None:
            moved = moved.index_fill_(0, ctx.unused, 0.0)
        return moved, None, None, None


def causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    window: int | None,
    masks: dict[tuple[Any, ...], Tensor],
) -> Tensor:
    """Causal attention of rows filled on the right: q (R, L, H, d), k and v (R, S + L, K, d) to (R,
    L, H, d).

    S tokens come before those that ask. ``masks`` keeps what layers have in common, for as long as
    a pass lasts.
    """
    before, length = k.shape[1] - q.shape[1], k.shape[1]
    key, value = k.transpose(1, 2), v.transpose(1, 2)
    if not before and (window is None or window >= length) and not _is_small(q, length):
        shared = q.shape[2] != k.shape[2]
        out = scaled_dot_product_attention(
            q.transpose(1, 2), key, value, is_causal=True, scale=scale, enable_gqa=shared
        )
        return out.transpose(1, 2)
    kind = (before, length, window, dtype := mask_dtype(q, length))
    if kind not in masks:
        mask = _causal_mask(before, length, window or length, q.device, dtype)
        masks[kind] = mask.repeat(q.shape[2] // k.shape[2], 1)
    return unfold(attention(fold(q, k.shape[2]), key, value, masks[kind], scale), q.shape[1])


def _causal_mask(
    before: int, length: int, window: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """What the last of ``length`` tokens, those after ``before``, see of all: (L, S + L) numbers to
    add to scores.
    """
    column = torch.arange(length, device=device)
    apart = column[before:, None] - column  # (L, S + L)
    return numbers_to_add((apart >= 0) & (apart < window), dtype)


def numbers_to_add(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a score counts and -inf where it does not, in the dtype that ``mask_dtype`` names."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
        ~seen, float("-inf")
    )


def mask_dtype(q: Tensor, length: int) -> torch.dtype:
    """The dtype in which ``attention`` of q (any, d) and so many keys adds its mask: its
    scores'.
    """
    return _exact(q.dtype) if _is_small(q, length) else q.dtype


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(q·kᵀ scale + mask) v: q (R, K, L, d), k and v (R, K, P, d), mask of (R, K, L, P) or
    fewer dimensions.
    """
    if not _is_small(q, k.shape[2]):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    seen: Tensor = _Attention.apply(q, k, v, mask, scale)
    return seen


class _Attention(torch.autograd.Function):
    """Attention whose backward multiplies in its dtype too, 16 bits included; what softmax gave is
    kept for it in that dtype.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        share = _share(q, k, mask, scale).to(v.dtype)
        ctx.save_for_backward(q, k, v, share)
        ctx.scale = scale
        return share @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, share = ctx.saved_tensors
        of_share = gradient @ v.transpose(-1, -2)
        of_scores = torch._softmax_backward_data(
            of_share, share, -1, share.dtype
        )  # its sums are in float32
        of_q, of_k = of_scores @ k, of_scores.transpose(-1, -2) @ q
        return (
            of_q.mul_(ctx.scale),
            of_k.mul_(ctx.scale),
            share.transpose(-1, -2) @ gradient,
            None,
            None,
        )


def _share(q: Tensor, k: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(q·kᵀ scale + mask), (R, K, L, P), in 32 bits or more: scores of 16 bits are off by
    tenths.
    """
    exact = _exact(q.dtype)
    with torch.autocast(q.device.type, enabled=False), _rounded_factors(q.dtype == torch.bfloat16):
        scores = q.to(exact) @ k.to(exact).transpose(-1, -2)
        return torch.add(mask, scores, alpha=scale, out=scores).softmax(-1)


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def _rounded_factors(on: bool) -> Iterator[None]:
    """Let oneDNN make products in float32, and with AMX round their factors to bfloat16: those that
    were in it lose nothing.

    Scores take half as long so, without AMX too, where torch asks a library that is slow on some
    processors.
    """
    products = cast(Any, torch.backends.mkldnn).matmul
    before = products.fp32_precision
    if on:
        products.fp32_precision = "bf16"
    try:
        yield
    finally:
        if on:
            products.fp32_precision = before


def _is_small(q: Tensor, length: int) -> bool:
    """Whether the scores are few enough to be kept: on CPUs torch's own backward takes up to five
    times as long.
    """
    limit = 4 * _SMALL if q.dtype == torch.bfloat16 else _SMALL
    return q.device.type == "cpu" and q.numel() // q.shape[-1] * length <= limit


def fold(q: Tensor, heads: int) -> Tensor:
    """(R, L, H, d) to (R, K, H/K·L, d): the query heads that share a key head become further
    queries of it.
    """
    rows, length, _, size = q.shape
    return (
        q.view(rows, length, heads, -1, size).permute(0, 2, 3, 1, 4).reshape(rows, heads, -1, size)
    )


def unfold(out: Tensor, length: int) -> Tensor:
    """(R, K, H/K·L, d) to (R, L, H, d), the inverse of fold."""
    rows, heads, _, size = out.shape
    return (
        out.view(rows, heads, -1, length, size)
        .permute(0, 3, 1, 2, 4)
        .reshape(rows, length, -1, size)
    )
