"""Keys and values while completions are written on a CPU: a prompt's once for all of its rows, what
a row has behind it in room made ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast.group_attention import fold, numbers_to_add
from llmpolicy.policies.causal_lm.fast.prompt_queries import (
    PromptQueries,
    attend_with_mass,
    put_together,
)

_ROOM = 32
_FEWER = 7 / 8
"""Rows that have left are cut out of the buffers once they are an eighth: cutting costs as much as
reading twice.
"""

Pair = tuple[Tensor, Tensor]
"""Keys and values."""


def of_both(change: Callable[[Tensor], Tensor], pair: Pair) -> Pair:
    """The same done to keys and to values."""
    keys, values = pair
    return change(keys), change(values)


def at_places(pair: Pair, places: Tensor) -> Pair:
    """Keys and values of these of their rows."""
    return of_both(lambda side: side.index_select(0, places), pair)


@dataclass(slots=True)
class Layer:
    """Of one layer: prompts' keys and values (D, K, P, d), rows' behind them (S, K, room, d)."""

    prompt: Pair
    written: Pair | None = None

    def grow(self, width: int, most: int, slots: int) -> Pair:
        """Rows' keys and values with room for so many tokens, and if possible for more, up to
        ``most``.
        """
        written = self.written or of_both(
            lambda side: side.new_empty(slots, side.shape[1], 0, side.shape[3]), self.prompt
        )
        had = written[0].shape[2]
        if had < width:
            more = max(min(max(had, _ROOM), most - had), width - had)
            written = of_both(lambda side: pad(side, (0, 0, 0, more)), written)
        self.written = written
        return written


@dataclass(slots=True)
class Behind:
    """R rows of up to T tokens each, and what they see of what is written behind prompts.

    ``count`` (R, T) is how many tokens of its row lie between each token and the prompt, at least
    ``least`` and at most ``most``.
    """

    count: Tensor
    least: int
    most: int
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def attend(
        self, q: Tensor, written: Pair, window: int | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Tokens (R, T, H, d) to what they see (R, T, K, H/K, d), and the log of the sum of exp of
        its scores (R, T, K, H/K).
        """
        oldest = 0
        if window is not None:
            oldest = max(0, self.least + 1 - window)
        keys, values = of_both(lambda side: side[:, :, oldest : self.most + 1], written)
        (rows, width, _, size), heads = q.shape, keys.shape[1]
        if window not in self.masks:
            self.masks[window] = self._mask(oldest, window, q.shape[2] // heads, q.dtype)
        out, mass = attend_with_mass(
            fold(q, heads), keys, values, self.masks[window], scale
        )  # (R, K, H/K T, d or none)
        out = out.view(rows, heads, -1, width, size).permute(0, 3, 1, 2, 4)
        return out, mass.view(rows, heads, -1, width).permute(0, 3, 1, 2)

    def _mask(
        self, oldest: int, window: int | None, repeats: int, dtype: torch.dtype
    ) -> Tensor | None:
        """As numbers to add, (R, 1, H/K T, C); None if all see all."""
        if self.least == self.most:
            return None
        column = torch.arange(oldest, self.most + 1, device=self.count.device)
        apart = self.count[..., None] - column  # (R, T, C)
        seen = (apart >= 0) & (apart < (window or self.most + 1))
        return numbers_to_add(seen.repeat(1, repeats, 1), dtype)[:, None]


class KeyValueBuffer:
    """The attention of a generation, of one new token a row, step after step.

    ``layers`` hold what was read before, of D prompts and of rows that go on; ``prompt_of`` (B,) is
    each row's prompt, ``behind`` (B,) how many tokens it has behind it, to which come ``steps``.
    Rows keep their slot in the buffers until enough have left.
    """

    def __init__(
        self,
        layers: dict[int, Layer],
        lengths: Tensor,
        prompt_of: Tensor,
        behind: Tensor,
        steps: int,
    ) -> None:
        self.layers, self.lengths, self.prompt_of = layers, lengths, prompt_of  # (D,), (b,)
        self.behind = behind - 1  # (b,): of the token that is read, once one is
        self.least, self.most = _ends(self.behind)
        self.end = self.most + 1 + steps
        self.slots = len(prompt_of)
        self.slot_of = torch.arange(self.slots, device=prompt_of.device)  # (b,)
        self.queries = PromptQueries(prompt_of, lengths)

    # which rows are there

    def advance(self) -> None:
        """Begin the step that reads one more token of each row."""
        self.behind = self.behind + 1
        self.least, self.most = self.least + 1, self.most + 1
        self.queries.stand(self.least if self.least == self.most else self.behind)
        count = self.behind.new_full((self.slots, 1), self.most)
        count[self.slot_of, 0] = self.behind
        self.rows = Behind(count, self.least, self.most)

    def leave(self, going: Tensor) -> None:
        """Go on with these of the rows, (b,) places in ascending order."""
        self.behind, self.prompt_of = self.behind[going], self.prompt_of[going]
        self.slot_of = self.slot_of[going]
        self.least, self.most = _ends(self.behind)
        if len(going) < self.slots * _FEWER:
            self._cut_rows()
        self.queries = PromptQueries(self.prompt_of, self.lengths)

    def row(self, index: int) -> dict[int, Pair]:
        """What lies behind the prompt of a row, by layer, (K, L, d)."""
        slot, length = int(self.slot_of[index]), int(self.behind[index]) + 1
        layers: dict[int, Pair] = {}
        for number, layer in self.layers.items():
            written = layer.grow(0, 0, self.slots)
            layers[number] = of_both(lambda side: side[slot, :, :length].clone(), written)
        return layers

    def _cut_rows(self) -> None:
        for layer in self.layers.values():
            if layer.written is not None:
                layer.written = at_places(layer.written, self.slot_of)
        self.slots = len(self.slot_of)
        self.slot_of = torch.arange(self.slots, device=self.slot_of.device)
        used, self.prompt_of = self.prompt_of.unique(return_inverse=True)
        if len(used) < len(self.lengths) * _FEWER:
            self.lengths = self.lengths[used]
            for layer in self.layers.values():
                layer.prompt = at_places(layer.prompt, used)
        else:
            self.prompt_of = used[self.prompt_of]

    # attention

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """One token a row; (N, H, d)."""
        held = self.layers[layer]
        written = held.grow(self.most + 1, self.end, self.slots)
        self._write(written, k, v)
        slotted = self._to_slots(q)
        out, mass = self.rows.attend(slotted[:, None], written, window, scale)
        out, mass = out[:, 0], mass[:, 0]
        if slotted is not q:
            out, mass = out[self.slot_of], mass[self.slot_of]
        if window is not None and self.least >= window - 1:
            return out.reshape(q.shape)  # the window has left the prompts behind
        of_prompt = self.queries.attend(q, held.prompt, window, scale)
        return put_together((out, mass), of_prompt).reshape(q.shape)

    def _write(self, written: Pair, k: Tensor, v: Tensor) -> None:
        for side, new in zip(written, (k, v), strict=True):
            if self.least < self.most:
                side[self.slot_of, :, self.behind] = new
            elif new.shape[0] == self.slots:
                side[:, :, self.most] = new
            else:
                side[self.slot_of, :, self.most] = new

    def _to_slots(self, q: Tensor) -> Tensor:
        if q.shape[0] == self.slots:
            return q
        return q.new_zeros(self.slots, *q.shape[1:]).index_copy_(0, self.slot_of, q)


def _ends(numbers: Tensor) -> tuple[int, int]:
    return int(numbers.min()), int(numbers.max())
