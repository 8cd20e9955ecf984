"""How the generator has prompts and tokens read: by groups, or in padded rows for models that
groups cannot serve.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from llmpolicy.policies.causal_lm.fast.first_pass import FirstPass, HeldRow
from llmpolicy.policies.causal_lm.fast.kv_buffer import KeyValueBuffer
from llmpolicy.policies.causal_lm.fast.patched import Attend, Forward, packed_forward, patched
from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.quick_lora import lora_forwards
from llmpolicy.policies.causal_lm.fast.quick_step import layer_forwards
from llmpolicy.policies.causal_lm.forward import bare, cache_argument, forward, left_pad, positions
from llmpolicy.policies.causal_lm.states import select


class Reader(Protocol):
    """Reads D prompts, then one token of each of b rows at a time, of which some leave for good."""

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        ...

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        ...

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        ...


class GroupReader:
    """Packed tokens: each prompt once and without padding, its keys shared by its rows, a common
    start read once; rows of which something is ``held`` go on behind that.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        prompt_of: Tensor,
        steps: int,
        held: Sequence[HeldRow | None] = (),
    ) -> None:
        self.model, self.device = model, prompt_of.device
        self.prompt_of, self.steps = prompt_of, steps
        self.begun = FirstPass(prompts, held or [None] * len(prompts), self.device)
        self.position_ids = self.begun.lengths[prompt_of] - 1  # (b,)
        self.buffer: KeyValueBuffer  # once that is read
        self.attending: Attend = self.begun.attend

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """The attention of what is now read."""
        return self.attending(layer, q, k, v, scale, window)

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        begun = self.begun
        ids, positions, last = (
            torch.tensor(numbers, device=self.device)
            for numbers in (begun.token_ids, begun.position_ids, begun.last)
        )
        logits = self._read(ids, positions, last)
        self.buffer = begun.buffer(self.prompt_of, self.steps)
        self.attending = self.buffer.attend
        return logits

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        self.position_ids = self.position_ids + 1
        self.buffer.advance()
        return self._read(token, self.position_ids, torch.arange(len(token), device=self.device))

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        self.position_ids = self.position_ids[going]
        self.buffer.leave(going)

    def _read(self, ids: Tensor, position_ids: Tensor, keep: Tensor) -> Tensor:
        logits: Tensor = packed_forward(self.model, ids[None], position_ids[None], keep).logits
        return logits[0]


@contextmanager
def reading_groups(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    prompt_of: Tensor,
    steps: int,
    product: Products,
) -> Iterator[Reader]:
    """A `GroupReader`, whose attention, adapters and layers take the place of the model's while it
    lasts.
    """
    reader = GroupReader(model, prompts, prompt_of, steps)
    with patched(model, reader.attend, group_forwards(model, reader.attend, product)):
        yield reader


def group_forwards(model: nn.Module, attend: Attend, product: Products) -> list[Forward]:
    """Adapters and layers as groups are read by them."""
    return [*lora_forwards(model, product), *layer_forwards(model, attend, product)]


class PaddedReader:
    """Rows padded on the left, and a key-value cache of transformers that is copied when rows
    leave.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        prompt_of: Tensor,
        steps: int,
        pad_id: int,
    ) -> None:
        self.model, self.prompt_of = model, prompt_of
        self.ids, mask = left_pad(prompts, pad_id, prompt_of.device)  # (D, P)
        self.width = mask.shape[1]
        self.position_ids = positions(mask)  # (D, P), then (b, 1)
        self.mask = torch.nn.functional.pad(
            mask, (0, steps), value=1
        )  # (D, P + T), then (b, P + T)
        self.cache = DynamicCache(config=bare(model).config.get_text_config(decoder=True))

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        logits = self._read(self.ids)
        several = len(self.ids)
        self.position_ids = self.position_ids[:, -1:]
        if len(self.prompt_of) > several:
            self.leave(self.prompt_of)
        return logits

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        self.width += 1
        self.position_ids = self.position_ids + 1
        return self._read(token[:, None])

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        select(self.cache, going, len(self.mask))
        self.mask, self.position_ids = self.mask[going], self.position_ids[going]

    def _read(self, ids: Tensor) -> Tensor:
        cache = {str(cache_argument(self.model)): self.cache, "use_cache": True}
        logits, _ = forward(
            self.model, ids, self.mask[:, : self.width], self.position_ids, 1, **cache
        )
        return logits[:, -1]
