"""How prompts and tokens are read by models that padding on the left would change: recurrent and
hybrid ones.

Prompts of one length are read together, without padding. Where the caches can be joined the rows
then go on as one batch.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast.read import PaddedReader, Reader
from llmpolicy.policies.causal_lm.forward import accepts, bare, forward, right_pad, vocabulary
from llmpolicy.policies.causal_lm.score import last_logits
from llmpolicy.policies.causal_lm.states import carried, counts_columns, has_keys, join, select
from llmpolicy.policies.causal_lm.trial import tolerance, weighted_apart

CANNOT = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)
_reasons: WeakKeyDictionary[nn.Module, dict[str, str | None]] = WeakKeyDictionary()
logger = logging.getLogger("llmpolicy")


@dataclass
class _Part:
    """Rows that are read together: their places in the batch, (b,), and the place of their last
    token in its row.
    """

    rows: Tensor
    position_ids: Tensor
    name: str
    state: Any
    mask: Tensor | None = None


class StateReader:
    """What a model carries on after a prompt is copied to the prompt's rows, and selected when rows
    leave.

    ``cache`` gives the arguments with which prompts of one length are read, where the model's own
    cache is not to be used.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        prompt_of: Tensor,
        steps: int,
        cache: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.model, self.device, self.prompt_of, self.steps = (
            model,
            prompt_of.device,
            prompt_of,
            steps,
        )
        self.cache = cache
        self.by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            self.by_length.setdefault(len(prompt), []).append(index)
        self.prompt_ids, self.parts = prompts, list[_Part]()

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        logits: list[Tensor] = [torch.empty(0)] * len(self.prompt_ids)
        for length, places in self.by_length.items():
            rows = [list(self.prompt_ids[index]) for index in places]
            ids = torch.tensor(rows, device=self.device)  # (d, P)
            position_ids = torch.arange(length, device=self.device).expand(len(ids), -1)
            read, output = forward(
                self.model, ids, None, position_ids, 1, use_cache=True, **self.cache()
            )
            for index, row in zip(places, read[:, -1], strict=True):
                logits[index] = row
            self.parts.append(self._part(places, length, *carried(self.model, output)))
        self._join()
        return torch.stack(logits)

    def _part(self, places: list[int], length: int, name: str, state: Any) -> _Part:
        """The rows of some prompts of one length, each with a state of its own."""
        among = torch.full((len(self.prompt_ids),), -1, device=self.device)
        among[torch.tensor(places, device=self.device)] = torch.arange(
            len(places), device=self.device
        )
        source = among[self.prompt_of]  # (B,): -1 for rows of other prompts
        rows = (source >= 0).nonzero()[:, 0]
        last = torch.full_like(rows, length - 1)
        return _Part(rows, last, name, select(state, source[rows], len(places)))

    def _join(self) -> None:
        """Go on with all rows as one batch, if their caches can be joined."""
        if (
            len(self.parts) == 1
            or not accepts(self.model, "position_ids")
            and has_keys(self.parts[0].state)
        ):
            return
        if counts_columns(self.model, max(self.by_length) + self.steps):
            return
        if (state := join([part.state for part in self.parts])) is None:
            return
        position_ids = torch.cat([part.position_ids for part in self.parts])
        width, mask = int(position_ids.max()) + 1, None
        if has_keys(state):
            column = torch.arange(width, device=self.device)
            mask = pad(
                (column >= width - 1 - position_ids[:, None]).long(), (0, self.steps), value=1
            )  # (B, P + T)
        rows = torch.cat([part.rows for part in self.parts])
        self.parts = [_Part(rows, position_ids, self.parts[0].name, state, mask)]

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        return self.read(token[:, None])[:, -1]

    def read(self, ids: Tensor) -> Tensor:
        """The logits after each of each row's next tokens, (b, t) to (b, t, V)."""
        logits = [self._read(part, ids[part.rows]) for part in self.parts]
        return torch.cat(logits)[torch.cat([part.rows for part in self.parts]).argsort()]

    def _read(self, part: _Part, ids: Tensor) -> Tensor:
        width, mask = ids.shape[1], part.mask
        position_ids = part.position_ids[:, None] + torch.arange(
            1, width + 1, device=self.device
        )  # (b, t)
        if mask is not None:
            self.steps -= width
            mask = mask[:, : mask.shape[1] - self.steps]
        arguments = {part.name: part.state, "use_cache": True}
        logits, output = forward(self.model, ids, mask, position_ids, width, **arguments)
        part.position_ids, part.state = position_ids[:, -1], getattr(output, part.name)
        return logits

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        count = sum(len(part.rows) for part in self.parts)
        column = torch.full((count,), -1, device=self.device)
        column[going] = torch.arange(len(going), device=self.device)
        for part in self.parts:
            kept = (column[part.rows] >= 0).nonzero()[:, 0]
            part.state = select(part.state, kept, len(part.rows))
            part.rows, part.position_ids = column[part.rows[kept]], part.position_ids[kept]
            if part.mask is not None:
                part.mask = part.mask[kept]
        self.parts = [part for part in self.parts if len(part.rows)]


class RowsReader:
    """Whole rows are read again for every token: exact for every causal model, whatever it carries,
    and slow.
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
        ids, mask = right_pad(prompts, pad_id, prompt_of.device)  # (D, P)
        self.ids, self.lengths = (
            pad(ids, (0, steps), value=pad_id),
            mask.sum(1),
        )  # (D, P + T), (D,); then (b, ...)

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        logits = self._read()
        self.leave(self.prompt_of)
        return logits

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        self.ids[torch.arange(len(token), device=token.device), self.lengths] = token
        self.lengths = self.lengths + 1
        return self._read()

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        self.ids, self.lengths = self.ids[going], self.lengths[going]

    def _read(self) -> Tensor:
        return last_logits(self.model, self.ids, self.lengths)


def state_reason(model: nn.Module) -> str | None:
    """Why what a model carries cannot be copied to rows, in words, or None if it can; tried out
    once a model.
    """
    return _tried(
        model,
        "state",
        lambda prompts, prompt_of, steps: StateReader(model, prompts, prompt_of, steps),
    )


def cache_reason(model: nn.Module) -> str | None:
    """Why rows padded on the left cannot go on from a model's cache, in words, or None if they can;
    tried out once.
    """
    return _tried(
        model,
        "cache",
        lambda prompts, prompt_of, steps: PaddedReader(model, prompts, prompt_of, steps, 0),
    )


def _tried(
    model: nn.Module, carried: str, reader: Callable[[list[list[int]], Tensor, int], Reader]
) -> str | None:
    reasons, kind = _reasons.setdefault(bare(model), {}), type(bare(model)).__name__
    if carried not in reasons:
        reasons[carried] = None
        try:
            apart = _disagreement(model, reader)
            if apart > tolerance(model, 1e-3, 0.3):
                reasons[carried] = f"its {carried} is not its rows' alone, by {apart:.2g} nats"
        except CANNOT as error:
            reasons[carried] = f"{kind} cannot go on from a {carried} of its own ({error})"
        if reasons[carried] and carried == "cache":
            logger.warning(
                "%s: %s; whole rows are read again for every token, which is slow",
                kind,
                reasons[carried],
            )
    return reasons[carried]


def _disagreement(
    model: nn.Module, reader: Callable[[list[list[int]], Tensor, int], Reader]
) -> float:
    """How far tokens after what was copied, joined and selected are from those after whole rows
    read again, in nats.
    """
    device, tokens = next(model.parameters()).device, vocabulary(model)
    ids = (torch.arange(13) * 7919 % tokens).tolist()
    prompts, prompt_of = [ids[:5], ids[5:8], ids[8:]], torch.tensor([0, 1, 2, 0, 1], device=device)
    readers = reader(prompts, prompt_of, 3), RowsReader(model, prompts, prompt_of, 3, 0)
    worst = [_apart(side.prompts() for side in readers)]
    for kept in ([0, 1, 2, 3, 4], [0, 3, 4], [1, 2]):
        for side in readers:
            side.leave(torch.tensor(kept, device=device))
        worst.append(
            _apart(side.tokens(torch.tensor(ids[: len(kept)], device=device)) for side in readers)
        )
    return max(worst)


def _apart(logits: Iterable[Tensor]) -> float:
    """The largest difference of a row's log-probabilities, weighted by the probabilities
    themselves.
    """
    expected, copied = (torch.log_softmax(side.float(), -1) for side in logits)
    return float(weighted_apart(expected, copied).max())
