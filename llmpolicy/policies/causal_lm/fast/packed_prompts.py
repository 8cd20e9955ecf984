"""Prompts as packed tokens: each is read once, and what all of them begin with once for all."""

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm.fast.group_attention import Rectangle, causal

_WORTH = 0.5
"""A common start is read apart if it has this share of the longest prompt: what follows needs a
mask, and more scores.
"""


def common_start(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens the prompts share, if enough to be worth it; each prompt keeps a token
    of its own.
    """
    if len(prompts) < 2:
        return 0
    same = (len(set(tokens)) == 1 for tokens in zip(*prompts, strict=False))
    start = min(sum(takewhile(bool, same)), min(map(len, prompts)) - 1)
    return start if start >= _WORTH * max(map(len, prompts)) else 0


class Prompts:
    """D prompts as N tokens: the S that all begin with, then the rest of each.

    ``token_ids`` and ``position_ids`` (N,) say what is read where, ``last`` (D,) where in these
    each prompt ends.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        self.start = start = common_start(prompts)
        lengths, rests = [*map(len, prompts)], list[int]()
        self.token_ids, self.position_ids = [*prompts[0][:start]], [*range(start)]
        for prompt in prompts:
            self.token_ids += prompt[start:]
            self.position_ids += range(start, len(prompt))
            rests.append(len(prompt) - start)
        self.last = [start + end - 1 for end in accumulate(rests)]
        self.rest = Rectangle(rests, device)
        self.lengths, self.longest = self.rest.lengths + self.start, max(lengths)  # (D,), P
        self.masks: dict[tuple[Any, ...], Tensor] = {}

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the tokens see, (N, H, d), and each prompt's keys and values, (D, P, K, d), filled
        on the right.
        """
        start = self.start
        asked, key, value = map(self.rest.fill, (q[start:], k[start:], v[start:]))
        if not start:  # (D, P - S, heads, d)
            return self.rest.pack(causal(asked, key, value, scale, window, self.masks)), key, value
        first_q, first_k, first_v = q[None, :start], k[None, :start], v[None, :start]
        key, value = _behind(first_k, key), _behind(first_v, value)
        seen = self.rest.pack(causal(asked, key, value, scale, window, self.masks))
        of_start = causal(first_q, first_k, first_v, scale, window, self.masks)[0]
        return torch.cat([of_start, seen]), key, value


def _behind(start: Tensor, rests: Tensor) -> Tensor:
    """What all prompts begin with, (1, S, heads, d), and the rest of each behind it."""
    return torch.cat([start.expand(len(rests), -1, -1, -1), rests], dim=1)
