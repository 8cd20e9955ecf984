"""Attention of any number of tokens to their prompts, whose keys and values lie there once for all
that ask.
"""

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm.fast.group_attention import fold, numbers_to_add


class PromptQueries:
    """N tokens behind D prompts, as a rectangle (D, G) of prompts x the most tokens that ask one.

    ``prompt_of`` (N,) is whom each asks, ``lengths`` (D,) are the prompts'.
    """

    def __init__(self, prompt_of: Tensor, lengths: Tensor) -> None:
        self.lengths, self.prompt_of = lengths, prompt_of
        self.masks: dict[int | None, Tensor | None] = {}  # by window, as long as none moves
        several = len(lengths)
        order = prompt_of.argsort(stable=True)  # (N,)
        counts = torch.bincount(prompt_of, minlength=several)  # (D,)
        self.most = int(counts.max())
        rank = (
            torch.arange(len(order), device=order.device)
            - (counts.cumsum(0) - counts)[prompt_of[order]]
        )
        self.in_rectangle = torch.empty_like(order)
        self.in_rectangle[order] = prompt_of[order] * self.most + rank  # (N,)
        self.of_rectangle = torch.zeros(
            several * self.most, dtype=torch.long, device=order.device
        )  # (D G,)
        self.of_rectangle[self.in_rectangle] = torch.arange(len(order), device=order.device)
        self.is_even = several * self.most == len(order) and bool(
            (self.in_rectangle[1:] > self.in_rectangle[:-1]).all()
        )

    def stand(self, behind: int | Tensor) -> None:
        """Say how many tokens of its row lie between each token and its prompt, of all or (N,)."""
        self.behind = behind
        self.masks.clear()

    def attend(
        self, q: Tensor, prompts: tuple[Tensor, Tensor], window: int | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """What tokens (N, H, d) see of prompts (D, K, P, d), (N, K, H/K, d), and the log of the sum
        of exp of its scores, (N, K, H/K).

        Where every prompt has as many these are two dimensions, D and G.
        """
        keys, values = prompts
        several, heads = keys.shape[:2]
        rows = q if self.is_even else q[self.of_rectangle]
        rows = rows.view(several, self.most, *q.shape[1:])  # (D, G, H, d)
        if window not in self.masks:
            self.masks[window] = self._mask(keys.shape[2], window, q.shape[1] // heads, q.dtype)
        out, mass = attend_with_mass(fold(rows, heads), keys, values, self.masks[window], scale)
        out = out.view(several, heads, -1, self.most, q.shape[2]).permute(
            0, 3, 1, 2, 4
        )  # (D, G, K, H/K, d)
        mass = mass.view(several, heads, -1, self.most).permute(0, 3, 1, 2)
        if not self.is_even:
            out, mass = (
                out.flatten(0, 1)[self.in_rectangle],
                mass.flatten(0, 1)[self.in_rectangle],
            )
        if window is not None and isinstance(self.behind, Tensor):
            past = (self.behind >= window - 1).view(mass.shape[:-2])  # these see nothing of it
            mass = mass.masked_fill(past[..., None, None], float("-inf"))
        return out, mass

    def _mask(
        self, longest: int, window: int | None, repeats: int, dtype: torch.dtype
    ) -> Tensor | None:
        """What tokens see of their prompts, as numbers to add, (D, 1, H/K G, P); None if they see
        all.
        """
        column = torch.arange(longest, device=self.lengths.device)
        within = column < self.lengths[:, None]  # (D, P)
        if window is None or isinstance(self.behind, int):
            if window is not None:
                within = within & (self.lengths[:, None] + self.behind - column < window)
            elif bool(within.all()):
                return None
            each = numbers_to_add(within, dtype)[:, None, None]
            return each.expand(-1, 1, self.most * repeats, -1)
        end = self.lengths[self.prompt_of] + self.behind  # (N,)
        seen = within[self.prompt_of] & (end[:, None] - column < window)  # (N, P)
        seen[:, 0] |= ~seen.any(1)  # no softmax of nothing
        of_each = seen[self.of_rectangle].view(len(self.lengths), self.most, -1)  # (D, G, P)
        return numbers_to_add(of_each.repeat(1, repeats, 1), dtype)[:, None]


def attend_with_mass(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention (R, K, L, d) and, in float32, log Σ exp of the scores, (R, K, L), with which parts
    are put together.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, attn_mask=mask, scale=scale
    )


def put_together(behind: tuple[Tensor, Tensor], prompt: tuple[Tensor, Tensor]) -> Tensor:
    """Attention to what lies behind a prompt and to the prompt as attention to both: the outputs,
    weighted by the sums of exp of their scores.
    """
    (out, mass), (before, of_before) = behind, prompt
    share = torch.sigmoid(of_before - mass.view(of_before.shape)).to(out.dtype)  # the prompt's
    return out.view(before.shape).lerp_(before, share[..., None])
