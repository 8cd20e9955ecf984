"""Keys and values while completions are written on a CPU: a prompt's once for all of its rows, a
row's own in room made ahead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast.group_attention import fold
from llmpolicy.policies.causal_lm.fast.packed_prompts import Prompts

_ROOM = 32
_FEWER = 7 / 8
"""Rows that have left are cut out of the buffers once they are an eighth: cutting costs as much as
reading twice.
"""


@dataclass(slots=True)
class _Layer:
    """Of one layer: prompts' keys and values (D, K, P, d), rows' own (S, K, room, d)."""

    prompt: tuple[Tensor, Tensor]
    written: tuple[Tensor, Tensor] | None = None


class KeyValueBuffer:
    """The attention of a generation: first of D packed prompts, then of one new token a row, step
    after step.

    ``prompt_of`` (B,) is each row's prompt. Rows keep their slot in the buffers until enough have
    left.
    """

    def __init__(self, prompts: Prompts, prompt_of: Tensor, steps: int) -> None:
        self.prompts, self.steps = prompts, steps
        self.layers: dict[int, _Layer] = {}
        self.step = -1  # tokens that each row has chosen and had read, less one
        self.lengths, self.prompt_of = prompts.lengths, prompt_of  # (D,), (b,)
        self.slots, self.slot_of = (
            len(prompt_of),
            torch.arange(len(prompt_of), device=prompt_of.device),
        )  # (b,)
        self.masks: dict[int | None, Tensor | None] = {}  # of this step, by window
        self._place_queries()

    # which rows are there

    def advance(self) -> None:
        """Begin the step that reads one more token of each row, which writes to the buffers at
        ``step``.
        """
        self.step += 1
        self.masks.clear()

    def leave(self, going: Tensor) -> None:
        """Go on with these of the rows, (b,) places in ascending order."""
        self.prompt_of, self.slot_of = self.prompt_of[going], self.slot_of[going]
        if len(going) < self.slots * _FEWER:
            self._cut_rows()
        self._place_queries()

    def _cut_rows(self) -> None:
        for layer in self.layers.values():
            if layer.written is not None:
                layer.written = tuple(side.index_select(0, self.slot_of) for side in layer.written)  # type: ignore[assignment]
        self.slots, self.slot_of = (
            len(self.slot_of),
            torch.arange(len(self.slot_of), device=self.slot_of.device),
        )
        used, self.prompt_of = self.prompt_of.unique(return_inverse=True)
        if len(used) < len(self.lengths) * _FEWER:
            self.lengths = self.lengths[used]
            for layer in self.layers.values():
                layer.prompt = tuple(side.index_select(0, used) for side in layer.prompt)  # type: ignore[assignment]
        else:
            self.prompt_of = used[self.prompt_of]

    def _place_queries(self) -> None:
        """Rows as a rectangle of prompts x the most rows that one has: (D, G) places of rows, (b,)
        places in it.
        """
        several = len(self.lengths)
        order = self.prompt_of.argsort(stable=True)  # (b,)
        counts = torch.bincount(self.prompt_of, minlength=several)  # (D,)
        self.most = int(counts.max())
        rank = (
            torch.arange(len(order), device=order.device)
            - (counts.cumsum(0) - counts)[self.prompt_of[order]]
        )
        self.in_rectangle = torch.empty_like(order)
        self.in_rectangle[order] = self.prompt_of[order] * self.most + rank  # (b,)
        self.of_rectangle = torch.zeros(
            several * self.most, dtype=torch.long, device=order.device
        )  # (D G,)
        self.of_rectangle[self.in_rectangle] = torch.arange(len(order), device=order.device)
        self.is_even = several * self.most == len(order) and bool(
            (self.in_rectangle[1:] > self.in_rectangle[:-1]).all()
        )

    # attention

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """The prompts at first, then one token a row; (N, H, d)."""
        if self.step < 0:
            return self._read_prompts(layer, q, k, v, scale, window)
        held = self.layers[layer]
        self._write(held, k, v)
        assert held.written is not None
        oldest = 0 if window is None else max(0, self.step + 1 - window)
        keys, values = (side[:, :, oldest : self.step + 1] for side in held.written)
        slotted = self._to_slots(q)
        by_key = slotted.view(self.slots, k.shape[1], -1, k.shape[2])  # (S, K, H/K, d)
        out, mass = attend_with_mass(by_key, keys, values, None, scale)
        if slotted is not q:
            out, mass = out[self.slot_of], mass[self.slot_of]
        if window is not None and self.step >= window - 1:
            return out.reshape(q.shape)  # the window has left the prompt behind
        before, of_before = self._attend_prompt(
            held, q, scale, window
        )  # as own and mass, rows in one dimension or two
        share = torch.sigmoid(of_before - mass.view(of_before.shape)).to(
            q.dtype
        )  # of both sums of exp, the prompt's
        return out.view(before.shape).lerp_(before, share[..., None]).reshape(q.shape)

    def _read_prompts(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        seen, key, value = self.prompts.attend(q, k, v, scale, window)
        self.layers[layer] = _Layer(
            (key.transpose(1, 2).contiguous(), value.transpose(1, 2).contiguous())
        )
        return seen

    def _write(self, held: _Layer, k: Tensor, v: Tensor) -> None:
        if held.written is None or self.step >= held.written[0].shape[2]:
            had = 0 if held.written is None else held.written[0].shape[2]
            more = min(max(had, _ROOM), max(self.steps - had, 1))
            shape = (self.slots, k.shape[1], 0, k.shape[2])
            sides = held.written or (k.new_empty(shape), v.new_empty(shape))
            held.written = (pad(sides[0], (0, 0, 0, more)), pad(sides[1], (0, 0, 0, more)))
        for side, new in zip(held.written, (k, v), strict=True):
            if new.shape[0] == self.slots:
                side[:, :, self.step] = new
            else:
                side[self.slot_of, :, self.step] = new

    def _to_slots(self, q: Tensor) -> Tensor:
        if q.shape[0] == self.slots:
            return q
        return q.new_zeros(self.slots, *q.shape[1:]).index_copy_(0, self.slot_of, q)

    def _attend_prompt(
        self, held: _Layer, q: Tensor, scale: float, window: int | None
    ) -> tuple[Tensor, Tensor]:
        """What the rows see of their prompts (b, K, H/K, d), and the log of the sum of exp of its
        scores (b, K, H/K).

        Where every prompt has as many rows these are two dimensions, D and G.
        """
        keys, values = held.prompt
        several, heads = keys.shape[:2]
        rows = q if self.is_even else q[self.of_rectangle]
        rows = rows.view(several, self.most, *q.shape[1:])  # (D, G, H, d)
        if window not in self.masks:
            self.masks[window] = self._mask(keys.shape[2], window, q.dtype)
        mask = self.masks[window]
        mask = None if mask is None else mask.expand(-1, 1, self.most * q.shape[1] // heads, -1)
        out, mass = attend_with_mass(
            fold(rows, heads), keys, values, mask, scale
        )  # (D, K, H/K G, d or none)
        out = out.view(several, heads, -1, self.most, q.shape[2]).permute(
            0, 3, 1, 2, 4
        )  # (D, G, K, H/K, d)
        mass = mass.view(several, heads, -1, self.most).permute(0, 3, 1, 2)
        if self.is_even:
            return out, mass
        return out.flatten(0, 1)[self.in_rectangle], mass.flatten(0, 1)[self.in_rectangle]

    def _mask(self, longest: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """What rows see of their prompts, as numbers to add, (D, 1, 1, P); None if they see all."""
        if window is None and self.prompts.rest.is_full:
            return None
        column = torch.arange(longest, device=self.lengths.device)
        seen = column < self.lengths[:, None]  # (D, P)
        if window is not None:
            seen = seen & (self.lengths[:, None] + self.step - column < window)
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
            ~seen, float("-inf")
        )
        return mask[:, None, None]


def attend_with_mass(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention (R, K, L, d) and, in float32, log Σ exp of the scores, (R, K, L), with which parts
    are put together.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, attn_mask=mask, scale=scale
    )
