"""Groups of completions as one packed row of tokens, each prompt once, and the attention that they
need.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm.fast.group_attention import (
    Rectangle,
    attention,
    fold,
    mask_dtype,
    numbers_to_add,
    unfold,
)
from llmpolicy.policies.causal_lm.fast.packed_prompts import Prompts

_BLOCK = 1.0
"""A group's completions are one block if together they are no longer than this many of the longest
prompt.
"""


@dataclass(frozen=True)
class Pack:
    """D prompts, their common start once, then R completions, each without its last token, which
    nothing follows.

    ``token_ids`` and ``position_ids`` are (1, N), completions count on from their prompt; ``keep``
    (S,) is where each of the S completion tokens is predicted, ``labels`` (S,) what was chosen
    there, completion after completion. Completions attend in B blocks: all of a group together, or
    each alone.
    """

    token_ids: Tensor
    position_ids: Tensor
    keep: Tensor
    labels: Tensor
    prompts: Prompts
    blocks: Rectangle
    prompt_of: Tensor  # (B,)
    row: Tensor  # of completion tokens, packed: the completion
    step: Tensor  # and the place in it
    even: bool  # every prompt has as many blocks, one prompt's after the other's
    masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """Prompts attend to themselves, completions to their prompt and themselves; (N, H, d)."""
        read = len(self.prompts.token_ids)
        sides = [
            side.split([read, len(side) - read]) for side in (q, k, v)
        ]  # its gradient is one cat
        (q_first, _), (k_first, _), (v_first, _) = sides
        seen, key, value = self.prompts.attend(
            q_first, k_first, v_first, scale, window
        )  # key (D, P, K, d)
        if not self.blocks.total:
            return seen
        filled = [self.blocks.fill(rest) for _, rest in sides]  # (B, T, heads, d)
        keys, values = self._behind(key, filled[1]), self._behind(value, filled[2])
        mask = self._mask(window, mask_dtype(filled[0], keys.shape[2]), q.shape[1] // k.shape[1])
        out = attention(fold(filled[0], k.shape[1]), keys, values, mask, scale)
        return torch.cat([seen, self.blocks.pack(unfold(out, filled[0].shape[1]))])

    def _behind(self, prompts: Tensor, blocks: Tensor) -> Tensor:
        """Keys, or values, of each block's prompt and behind them its own, (B, K, P + T, d)."""
        return torch.cat([self._of_each_block(prompts), blocks], dim=1).transpose(1, 2)

    def _of_each_block(self, prompts: Tensor) -> Tensor:
        if (
            self.even
        ):  # the gradient of this is a sum in one order, that of index_select need not be
            each = len(self.prompt_of) // len(prompts)
            return prompts[:, None].expand(-1, each, *prompts.shape[1:]).flatten(0, 1)
        return prompts.index_select(0, self.prompt_of)

    def _mask(self, window: int | None, dtype: torch.dtype, repeats: int) -> Tensor:
        """What a completion's tokens see, as numbers to add, (B, 1, H/K·T, P + T)."""
        if (window, dtype) not in self.masks:
            seen = torch.cat(self._seen(window), dim=2).repeat(1, repeats, 1)[
                :, None
            ]  # (B, 1, H/K·T, P + T)
            self.masks[window, dtype] = numbers_to_add(seen, dtype)
        return self.masks[window, dtype]

    def _seen(self, window: int | None) -> tuple[Tensor, Tensor]:
        """Whether a block's tokens see their prompt's, (B, T, P), and each other, (B, T, T)."""
        length = self.prompts.lengths[self.prompt_of][:, None, None]  # (B, 1, 1)
        row, step = self.blocks.fill(self.row), self.blocks.fill(self.step)  # (B, T)
        column = torch.arange(self.prompts.longest, device=row.device)  # (P,)
        before = (column < length).expand(-1, row.shape[1], -1)  # (B, T, P)
        apart = step[:, :, None] - step[:, None]  # (B, T, T)
        among = (row[:, :, None] == row[:, None]) & (apart >= 0) & self.blocks.inside[:, None]
        if window is not None:
            before = before & (length + step[:, :, None] - column < window)
            among = among & (apart < window)
        itself = torch.eye(
            row.shape[1], dtype=torch.bool, device=row.device
        )  # filled places too: no softmax of nothing
        return before, among | itself


def pack(
    groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], device: torch.device
) -> Pack:
    """Pack groups, each a prompt and its completions; none of them may be empty."""
    prompts = Prompts([prompt for prompt, _ in groups], device)
    tokens, positions = [*prompts.token_ids], [*prompts.position_ids]
    keep, labels = list[int](), list[int]()
    row_of, step_of, row = list[int](), list[int](), 0
    for number, (prompt, completions) in enumerate(groups):
        for ids in completions:
            more = len(ids) - 1
            keep += [prompts.last[number], *range(len(tokens), len(tokens) + more)]
            labels += ids
            tokens += ids[:-1]
            positions += range(len(prompt), len(prompt) + more)
            row_of += [row] * more
            step_of += range(more)
            row += 1
    lengths = [[len(ids) - 1 for ids in completions] for _, completions in groups]
    block_of, sizes = zip(*_blocks(lengths, prompts.longest), strict=True)
    tensor = partial(torch.tensor, dtype=torch.long, device=device)
    return Pack(
        tensor([tokens]),
        tensor([positions]),
        tensor(keep),
        tensor(labels),
        prompts,
        Rectangle([*sizes], device),
        tensor(block_of),
        tensor(row_of),
        tensor(step_of),
        len(set(Counter(block_of).values())) == 1,
    )


def _blocks(lengths: Sequence[Sequence[int]], longest: int) -> list[tuple[int, int]]:
    """The group and length of each block. Alone, completions have a copy of their prompt's keys;
    together, scores of each other.

    Copies cost most where completions are short, scores where they are long (measured in
    log/2026-11.md).
    """
    if max(map(sum, lengths)) <= _BLOCK * longest:
        return [(group, sum(of)) for group, of in enumerate(lengths)]
    return [(group, length) for group, of in enumerate(lengths) for length in of]
