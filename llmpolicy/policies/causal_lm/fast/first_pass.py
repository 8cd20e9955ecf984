"""What is read before a token is chosen, packed in one pass: whole prompts, and of rows that go on
the tokens that are new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count

import torch
from torch import Tensor
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast.kv_buffer import (
    Behind,
    KeyValueBuffer,
    Layer,
    Pair,
    at_places,
)
from llmpolicy.policies.causal_lm.fast.packed_prompts import Prompts
from llmpolicy.policies.causal_lm.fast.prompt_queries import PromptQueries, put_together


@dataclass(frozen=True, slots=True)
class HeldPrompt:
    """A prompt that was read: its tokens' number, P, and by layer keys and values (K, P, d)."""

    length: int
    layers: dict[int, Pair]


@dataclass(slots=True)
class HeldRow:
    """What was read of a row: its prompt, how many tokens behind that, L, and by layer their keys
    and values (K, L, d).
    """

    prompt: HeldPrompt
    behind: int
    layers: dict[int, Pair]

    @property
    def length(self) -> int:
        """All tokens that were read."""
        return self.prompt.length + self.behind


class FirstPass:
    """D sequences, of which some go on behind what is held of them: those are read from there.

    ``token_ids`` and ``position_ids`` (N,) say what is read where, ``last`` (D,) where in these
    each sequence ends.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        held: Sequence[HeldRow | None],
        device: torch.device,
    ) -> None:
        whole = [ids for ids, row in zip(sequences, held, strict=True) if row is None]
        self.prompts: Prompts | None = None
        self.token_ids, self.position_ids = list[int](), list[int]()
        self.whole_lengths, last = list[int](), list[int]()
        if whole:
            self.prompts = Prompts(whole, device)
            self.token_ids += self.prompts.token_ids
            self.position_ids += self.prompts.position_ids
            self.whole_lengths += map(len, whole)
            last += self.prompts.last
        self.whole, self.rows, counts = len(self.token_ids), list[HeldRow](), list[int]()
        for ids, row in zip(sequences, held, strict=True):
            if row is not None:
                self.rows.append(row)
                self.token_ids += ids[row.length :]
                self.position_ids += range(row.length, len(ids))
                counts.append(len(ids) - row.length)
        self.kept = list({id(row.prompt): row.prompt for row in self.rows}.values())
        self._number(held, last, counts, device)
        self.lengths = torch.tensor([*map(len, sequences)], device=device)  # (D,)
        self.layers: dict[int, Layer] = {}

    def _number(
        self,
        held: Sequence[HeldRow | None],
        last: list[int],
        counts: list[int],
        device: torch.device,
    ) -> None:
        """Each sequence's last token, its prompt, and its row among those that go on; and the
        queries of these.
        """
        ends = [self.whole + end - 1 for end in accumulate(counts)]
        number_of = dict(zip(map(id, self.kept), count(len(last)), strict=False))
        whole, going = enumerate(last), enumerate(ends)
        self.last, self.prompt_of, self.row_of = list[int](), list[int](), list[int]()
        for row in held:
            if row is None:
                number, end = next(whole)
                self.prompt_of.append(number)
                self.row_of.append(-1)
            else:
                number, end = next(going)
                self.prompt_of.append(number_of[id(row.prompt)])
                self.row_of.append(number)
            self.last.append(end)
        lengths = [*self.whole_lengths, *(prompt.length for prompt in self.kept)]
        self.prompt_lengths = torch.tensor(lengths, device=device)
        if self.rows:
            self.new = _New(self.rows, counts, device)
            of_row = torch.tensor([number_of[id(row.prompt)] for row in self.rows], device=device)
            self.queries = PromptQueries(of_row[self.new.row], self.prompt_lengths)
            self.queries.stand(self.new.behind)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """Prompts see themselves, new tokens their prompt, what is held of their row, and each
        other; (N, H, d).
        """
        parts: list[Tensor] = []
        prompts: list[Pair] = []
        if self.prompts is not None:
            begun = q[: self.whole], k[: self.whole], v[: self.whole]
            seen, key, value = self.prompts.attend(*begun, scale, window)  # key (D, P, K, d)
            parts.append(seen)
            prompts.append((key.transpose(1, 2).contiguous(), value.transpose(1, 2).contiguous()))
        if not self.rows:
            self.layers[layer] = Layer(prompts[0])
            return parts[0]
        prompts += [_stacked([held.layers[layer] for held in self.kept])]
        self.layers[layer] = held = Layer(_joined(prompts))
        new = q[self.whole :], k[self.whole :], v[self.whole :]
        held.written, out, mass = self.new.attend(layer, *new, scale, window)
        of_prompt = self.queries.attend(new[0], held.prompt, window, scale)
        parts.append(put_together((out, mass), of_prompt).reshape(-1, *q.shape[1:]))
        return torch.cat(parts)

    def held_prompts(self) -> list[HeldPrompt]:
        """The prompts that were read, and those that rows had, as they may be held."""
        prompts: list[HeldPrompt] = []
        for index, length in enumerate(self.whole_lengths):
            layers: dict[int, Pair] = {}
            for number, layer in self.layers.items():
                keys, values = layer.prompt
                layers[number] = keys[index, :, :length], values[index, :, :length]
            prompts.append(HeldPrompt(length, layers))
        return prompts + self.kept

    def buffer(self, sequence_of: Tensor, steps: int) -> KeyValueBuffer:
        """Keys and values of rows (B,) of these sequences, to which come ``steps`` tokens each."""
        device = sequence_of.device
        prompt_of = torch.tensor(self.prompt_of, device=device)[sequence_of]
        row_of = torch.tensor(self.row_of, device=device)[sequence_of]  # (B,)
        behind = torch.zeros_like(row_of)
        if self.rows:
            behind = torch.where(row_of >= 0, self.new.ends[row_of], 0)
            if row_of.tolist() != list(range(len(self.rows))):
                for layer in self.layers.values():
                    assert layer.written is not None
                    layer.written = at_places(layer.written, row_of.clamp(min=0))
        return KeyValueBuffer(self.layers, self.prompt_lengths, prompt_of, behind, steps)


class _New:
    """The new tokens of R rows, packed row after row: ``row`` (N,) is whose each is, ``behind``
    (N,) how many tokens lie between it and its prompt; ``ends`` (R,) is how many there are then.
    """

    def __init__(
        self, rows: Sequence[HeldRow], counts: Sequence[int], device: torch.device
    ) -> None:
        self.rows, self.width = rows, max(counts)
        several = torch.tensor(counts, device=device)  # (R,)
        held = torch.tensor([row.behind for row in rows], device=device)  # (R,)
        self.row = torch.arange(len(rows), device=device).repeat_interleave(several)
        start = (several.cumsum(0) - several)[self.row]
        self.step = torch.arange(len(self.row), device=device) - start  # (N,): in its row
        self.behind, self.ends = held[self.row] + self.step, held + several
        behind = torch.zeros(len(rows), self.width, dtype=torch.long, device=device)
        behind[self.row, self.step] = self.behind
        self.seen = Behind(behind, 0, int(self.ends.max()) - 1)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> tuple[Pair, Tensor, Tensor]:
        """Keys and values of all behind the prompts, (R, K, C, d); and what the tokens see of it,
        (N, K, H/K, d), with the log of the sum of exp of its scores, (N, K, H/K).
        """
        whole = self._with_held(layer, 0, k), self._with_held(layer, 1, v)
        asked = q.new_zeros(len(self.rows), self.width, *q.shape[1:])  # (R, T, H, d)
        asked[self.row, self.step] = q
        out, mass = self.seen.attend(asked, whole, window, scale)
        return whole, out[self.row, self.step], mass[self.row, self.step]

    def _with_held(self, layer: int, side: int, new: Tensor) -> Tensor:
        """Keys, or values, of rows as far as they were held, and the new ones behind them."""
        room = self.seen.most + 1
        whole = new.new_zeros(len(self.rows), new.shape[1], room, new.shape[2])
        for index, row in enumerate(self.rows):
            whole[index, :, : row.behind] = row.layers[layer][side]
        whole[self.row, :, self.behind] = new
        return whole


def _stacked(prompts: Sequence[Pair]) -> Pair:
    """Keys and values (K, P, d) of several P as (D, K, P, d), filled on the right."""
    return _joined([(keys[None], values[None]) for keys, values in prompts])


def _joined(parts: Sequence[Pair]) -> Pair:
    """Keys and values of prompts (d, K, P, d) of several P in one, filled on the right."""
    longest = max(keys.shape[2] for keys, _ in parts)

    def filled(side: Tensor) -> Tensor:
        return pad(side, (0, 0, 0, longest - side.shape[2]))

    keys, values = zip(*parts, strict=True)
    return torch.cat([*map(filled, keys)]), torch.cat([*map(filled, values)])
