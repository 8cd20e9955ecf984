"""The scorer by groups: log π(token|context) of the completions of several prompts, each prompt read once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.frequencies import by_context
from llmpolicy.policies.causal_lm.group_attention import attending, packed_forward
from llmpolicy.policies.causal_lm.head import scoring_head
from llmpolicy.policies.causal_lm.norm import quick_norms
from llmpolicy.policies.causal_lm.pack import pack
from llmpolicy.policies.causal_lm.prompts import common_start
from llmpolicy.policies.causal_lm.score import Scored

Group = list[int]
"""Rows that have one prompt."""


class Rows:
    """Prompts and completions of B rows, taken from padded tensors, and the groups that they form."""

    def __init__(self, input_ids: Tensor, attention_mask: Tensor, keep: int) -> None:
        width = input_ids.shape[1] - keep
        ids, masks = input_ids.tolist(), attention_mask.bool()
        there = masks.tolist()
        pairs = [
            [token for token, is_there in zip(row, mask, strict=True) if is_there]
            for row, mask in zip(ids, there, strict=True)
        ]
        prompt_lengths = masks[:, :width].sum(1).tolist()
        self.prompts = [row[:length] for row, length in zip(pairs, prompt_lengths, strict=True)]
        self.completions = [row[length:] for row, length in zip(pairs, prompt_lengths, strict=True)]
        self.places = masks[:, width:]  # (B, keep)

    def groups(self, rows: Sequence[int]) -> list[Group]:
        """These of the rows, by prompt; a row without completion is left out."""
        found: dict[tuple[int, ...], Group] = {}
        for row in rows:
            if self.completions[row]:
                found.setdefault(tuple(self.prompts[row]), []).append(row)
        return list(found.values())

    def _tokens(self, group: Group, start: int) -> int:
        """What a group adds to a pass that has read the first ``start`` tokens of its prompt."""
        return len(self.prompts[group[0]]) - start + sum(len(self.completions[row]) - 1 for row in group)

    def batches(self, rows: Sequence[int], budget: int) -> list[list[int]]:
        """Split rows into batches of whole groups of at most ``budget`` tokens, those of like length together.

        A group above the budget is split, and its prompt read again; a row above it stands alone.
        """
        groups = self.groups(rows)
        parts = [part for group in groups for part in self._split(group, budget)]
        start = common_start([self.prompts[group[0]] for group in groups])  # no longer than that of some of them
        sized = [(max(len(self.completions[row]) for row in part), self._tokens(part, start), part) for part in parts]
        batches: list[list[int]] = []
        room = 0
        for _, tokens, part in sorted(sized):
            if not batches or tokens > room:
                batches.append([])
                room = budget - start
            batches[-1] += part
            room -= tokens
        return batches

    def _split(self, group: Group, budget: int) -> Iterator[Group]:
        part: Group = []
        for row in sorted(group, key=lambda row: len(self.completions[row])):
            if part and self._tokens([*part, row], 0) > budget:
                yield part
                part = []
            part.append(row)
        yield part


def score_groups(
    model: nn.Module,
    rows: Rows,
    temperature: float,
    *,
    entropy: bool = False,
    budget: int | None = None,
    held: ExitStack | None = None,
) -> Scored:
    """Score all rows under softmax(logits / temperature), (B, keep); 0 where there is no token.

    ``budget`` bounds the tokens of one pass. The entropy has no gradient. A backward that recomputes activations must
    find attention as the forward did: pass ``held``, one pass without a budget, and close it after the backward.
    """
    everything = range(len(rows.prompts))
    batches = [list(everything)] if budget is None else rows.batches(everything, budget)
    shape, device = rows.places.shape, rows.places.device
    log_prob = torch.zeros(shape.numel(), device=device)
    entropies = torch.zeros_like(log_prob) if entropy else None
    inner = rows.places.flatten().nonzero()[:, 0]  # where the tokens are, row after row
    starts = [0, *torch.tensor([len(ids) for ids in rows.completions]).cumsum(0).tolist()]
    for batch in batches:
        groups = rows.groups(batch)
        if not groups:
            continue
        found = _pass(model, rows, groups, temperature, entropy, held)  # (S, 2)
        order = [place for group in groups for row in group for place in range(starts[row], starts[row + 1])]
        places = inner[torch.tensor(order, device=device)]  # (S,)
        log_prob = log_prob.index_copy(0, places, found[:, 0])
        if entropies is not None:
            entropies = entropies.index_copy(0, places, found[:, 1].detach())
    return Scored(log_prob.view(shape), None if entropies is None else entropies.view(shape))


def _pass(
    model: nn.Module, rows: Rows, groups: list[Group], temperature: float, entropy: bool, held: ExitStack | None
) -> Tensor:
    """Log-probability and entropy of each completion token, (S, 2), row after row of group after group."""
    device = rows.places.device
    packed = pack([(rows.prompts[group[0]], [rows.completions[row] for row in group]) for group in groups], device)
    with ExitStack() as own:
        (held or own).enter_context(attending(model, packed.attend))
        (held or own).enter_context(quick_norms(model))
        (held or own).enter_context(scoring_head(model, packed.labels, temperature, entropy))
        contexts = packed.position_ids[0, packed.keep] + 1  # (S,)
        return by_context(
            model,
            packed.position_ids,
            contexts,
            lambda places: packed_forward(model, packed.token_ids, places, packed.keep).logits[0],
        )
