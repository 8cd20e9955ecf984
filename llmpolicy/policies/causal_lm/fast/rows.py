"""Rows of prompts and completions, the groups that they form, and passes over whole groups of
bounded size.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from llmpolicy.policies.causal_lm.fast.packed_prompts import common_start

Group = list[int]
"""Rows that have one prompt."""


class Rows:
    """Prompts and completions of B rows, taken from padded tensors, and the groups that they
    form.
    """

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
        by_prompt: dict[tuple[int, ...], Group] = {}
        for row in rows:
            if self.completions[row]:
                by_prompt.setdefault(tuple(self.prompts[row]), []).append(row)
        return list(by_prompt.values())

    def _tokens(self, group: Group, start: int) -> int:
        """What a group adds to a pass that has read the first ``start`` tokens of its prompt."""
        return (
            len(self.prompts[group[0]])
            - start
            + sum(len(self.completions[row]) - 1 for row in group)
        )

    def batches(self, rows: Sequence[int], budget: int, *, once: bool = True) -> list[list[int]]:
        """Split rows into batches of whole groups of at most ``budget`` tokens, those of like
        length together.

        A group above the budget is split, and its prompt read again; a row above it stands alone.
        What all prompts have in common at their start is read ``once`` a batch, or with each of
        them.
        """
        groups = self.groups(rows)
        parts = [part for group in groups for part in self._split(group, budget)]
        start = (
            common_start([self.prompts[group[0]] for group in groups]) if once else 0
        )  # or more, for some of them
        sized = [
            (max(len(self.completions[row]) for row in part), self._tokens(part, start), part)
            for part in parts
        ]
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
