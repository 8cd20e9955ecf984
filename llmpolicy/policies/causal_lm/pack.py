"""Groups of completions as one packed row of tokens, each prompt once, and the attention that they need."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm.group_attention import Rectangle, attention, fold, unfold
from llmpolicy.policies.causal_lm.prompts import Prompts


@dataclass(frozen=True)
class Pack:
    """D prompts, their common start once, then R completions, each without its last token, which nothing follows.

    ``token_ids`` and ``position_ids`` are (1, N), completions count on from their prompt; ``keep`` (S,) is where each
    of the S completion tokens is predicted, ``labels`` (S,) what was chosen there, completion after completion.
    """

    token_ids: Tensor
    position_ids: Tensor
    keep: Tensor
    labels: Tensor
    prompts: Prompts
    completions: Rectangle
    prompt_of: Tensor  # (R,)
    even: bool  # every prompt has as many completions, one prompt's after the other's
    masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
        """Prompts attend to themselves, completions to their prompt and themselves; (N, H, d)."""
        split = len(self.prompts.token_ids)
        seen, key, value = self.prompts.attend(q[:split], k[:split], v[:split], scale, window)  # key (D, P, K, d)
        if not self.completions.total:
            return seen
        own = [self.completions.fill(side[split:]) for side in (q, k, v)]  # (R, T, heads, d)
        # The prompt's keys are copied to each completion: sharing them costs a block of zeros as wide as the group.
        keys, values = (
            torch.cat([self._of_each_row(one), mine], dim=1).transpose(1, 2)
            for one, mine in ((key, own[1]), (value, own[2]))
        )  # (R, K, P + T, d)
        mask = self._mask(window, q.dtype, q.shape[1] // k.shape[1])
        out = attention(fold(own[0], k.shape[1]), keys, values, mask, scale)
        return torch.cat([seen, self.completions.pack(unfold(out, own[0].shape[1]))])

    def _of_each_row(self, prompts: Tensor) -> Tensor:
        if self.even:  # the gradient of this is a sum in one order, that of index_select need not be
            each = len(self.prompt_of) // len(prompts)
            return prompts[:, None].expand(-1, each, *prompts.shape[1:]).flatten(0, 1)
        return prompts.index_select(0, self.prompt_of)

    def _mask(self, window: int | None, dtype: torch.dtype, repeats: int) -> Tensor:
        """What a completion's tokens see, as numbers to add, (R, 1, H/K·T, P + T)."""
        if (window, dtype) not in self.masks:
            device = self.prompt_of.device
            length = self.prompts.lengths[self.prompt_of]  # (R,)
            key = torch.arange(self.prompts.longest, device=device)  # (P,)
            step = torch.arange(self.completions.length, device=device)  # (T,)
            there = (key < length[:, None])[:, None].expand(-1, len(step), -1)  # (R, T, P)
            before = (step[:, None] >= step).expand(len(length), -1, -1)  # (R, T, T)
            if window is not None:
                there = there & (length[:, None, None] + step[:, None] - key < window)
                before = before & (step[:, None] - step < window)
            seen = torch.cat([there, before], dim=2).repeat(1, repeats, 1)[:, None]  # (R, 1, H/K·T, P + T)
            self.masks[window, dtype] = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(
                ~seen, float("-inf")
            )
        return self.masks[window, dtype]


def pack(groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], device: torch.device) -> Pack:
    """Pack groups, each a prompt and its completions; none of them may be empty."""
    prompts = Prompts([prompt for prompt, _ in groups], device)
    rows = [(place, list(ids)) for place, (_, completions) in enumerate(groups) for ids in completions]
    tokens, places = [*prompts.token_ids], [*prompts.position_ids]
    keep, start = [], len(tokens)
    for place, ids in rows:
        length = len(groups[place][0])
        keep += [prompts.last[place], *range(start, start + len(ids) - 1)]
        tokens += ids[:-1]
        places += range(length, length + len(ids) - 1)
        start += len(ids) - 1
    return Pack(
        torch.tensor([tokens], device=device),
        torch.tensor([places], device=device),
        torch.tensor(keep, device=device),
        torch.tensor([token for _, ids in rows for token in ids], device=device),
        prompts,
        Rectangle([len(ids) - 1 for _, ids in rows], device),
        torch.tensor([place for place, _ in rows], device=device),
        len({len(completions) for _, completions in groups}) == 1,
    )
