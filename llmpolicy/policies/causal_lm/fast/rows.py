"""Rows of prompts and completions, the groups that they form, and passes over whole groups of
bounded size.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from torch import Tensor

from llmpolicy.policies.causal_lm.fast.packed_prompts import common_start

Group = list[int]
"""Rows that have one prompt."""


class Rows:
    """Prompts and completions of B rows, taken from padded tensors, and the groups that they
    form.
    """

    def __init__(self, input_ids: Tensor, attention_mask: Tensor, keep: int) -> None:
        width, masks = input_ids.shape[1] - keep, attention_mask.bool()
        self.places = masks[:, width:]  # (B, keep)
        self.prompts = _tokens_of(input_ids[:, :width], masks[:, :width])
        self.completions = _tokens_of(input_ids[:, width:], self.places)

    def groups(self, rows: Sequence[int]) -> list[Group]:
        """These of the rows, by prompt; a row without completion is left out."""
        by_prompt: dict[tuple[int, ...], Group] = {}
        for row in rows:
            if self.completions[row]:
                by_prompt.setdefault(tuple(self.prompts[row]), []).append(row)
        return list(by_prompt.values())

    def _tokens(self, group: Group, start: int) -> int:
        """What a group adds to a pass that has read the first ``start`` tokens of its prompt."""
        completions = sum(len(self.completions[row]) - 1 for row in group)
        return len(self.prompts[group[0]]) - start + completions

    def batches(self, rows: Sequence[int], budget: int, *, once: bool = True) -> list[list[int]]:
        """Split rows into batches of whole groups of at most ``budget`` tokens, those of like
        length together.

        A group above the budget is split, and its prompt read again; a row above it stands alone.
        What all prompts have in common at their start is read ``once`` a batch, or with each of
        them.
        """
        groups = self.groups(rows)
        start = 0  # or more, for some of them
        if once:
            start = common_start([self.prompts[group[0]] for group in groups])
        sized: list[tuple[int, int, Group]] = []
        for part in chain.from_iterable(self._split(group, budget) for group in groups):
            sized.append((len(self.completions[part[-1]]), self._tokens(part, start), part))
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
        """Parts of a group, the longest completion last."""
        part: Group = []
        for row in sorted(group, key=lambda row: len(self.completions[row])):
            if part and self._tokens([*part, row], 0) > budget:
                yield part
                part = []
            part.append(row)
        yield part


def _tokens_of(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """The tokens of each row where its mask is; both (B, any)."""
    rows = ids[mask].cpu().split(mask.sum(1).tolist())
    return [row.tolist() for row in rows]
