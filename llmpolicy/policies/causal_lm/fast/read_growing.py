"""How rows are read that grow past a length from which on the model has other frequencies: they are
read anew there.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llmpolicy.policies.causal_lm.fast.read import Reader

Make = Callable[[Sequence[Sequence[int]], Tensor, int], Reader]
"""(prompts, the prompt of each row, tokens to come) to the reader of rows whose contexts have one
set of frequencies.
"""


class GrowingReader:
    """Readers of rows on each side of the limits; a row that crosses one is read whole by a new
    reader.

    ``limits`` are the lengths of contexts above which frequencies are others.
    """

    def __init__(
        self,
        make: Make,
        limits: Sequence[int],
        prompts: Sequence[Sequence[int]],
        prompt_of: Tensor,
        steps: int,
    ) -> None:
        self.make, self.limits, self.distinct, self.steps = make, list(limits), list(prompts), steps
        self.prompt_of, self.device = prompt_of, prompt_of.device
        self.contexts = [list(prompts[prompt]) for prompt in prompt_of.tolist()]
        self.parts: list[tuple[list[int], Reader]] = []  # rows, ascending, and who reads them

    def prompts(self) -> Tensor:
        """The logits after each prompt, (D, V)."""
        sides: dict[int, list[int]] = {}
        for index, prompt in enumerate(self.distinct):
            sides.setdefault(self._side(prompt), []).append(index)
        logits: dict[int, Tensor] = {}
        for places in sides.values():
            of_side: dict[int, int] = {}
            for row, index in enumerate(self.prompt_of.tolist()):
                if index in places:
                    of_side[row] = places.index(index)
            reader = self._begin(of_side, [self.distinct[index] for index in places])
            logits |= zip(places, reader.prompts(), strict=True)
        return _in_order(logits)

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        crossed: list[int] = []
        for row, chosen in enumerate(token.tolist()):
            side = self._side(self.contexts[row])
            self.contexts[row].append(chosen)
            if self._side(self.contexts[row]) != side:
                crossed.append(row)
        self.steps -= 1
        self._keep(sorted({*range(len(self.contexts))} - {*crossed}))
        logits: dict[int, Tensor] = {}
        for rows, reader in self.parts:
            logits |= zip(rows, reader.tokens(token[self._places(rows)]), strict=True)
        if crossed:
            numbers = {row: number for number, row in enumerate(crossed)}
            reader = self._begin(numbers, [self.contexts[row] for row in crossed])
            logits |= zip(crossed, reader.prompts(), strict=True)
        return _in_order(logits)

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        rows = going.tolist()
        self._keep(rows)
        self.contexts = [self.contexts[row] for row in rows]
        for part, _ in self.parts:
            part[:] = map(rows.index, part)

    def _side(self, context: Sequence[int]) -> int:
        return bisect_left(self.limits, len(context))

    def _begin(self, row_of: dict[int, int], prompts: Sequence[Sequence[int]]) -> Reader:
        """Read rows, each with the number of its prompt, by a reader of their own."""
        reader = self.make(prompts, self._places(list(row_of.values())), self.steps)
        self.parts.append((list(row_of), reader))
        return reader

    def _keep(self, rows: Sequence[int]) -> None:
        """Let all other rows leave their readers."""
        kept: list[tuple[list[int], Reader]] = []
        for part, reader in self.parts:
            stays = sorted({*part} & {*rows})
            if len(stays) < len(part) and stays:
                reader.leave(self._places([*map(part.index, stays)]))
            if stays:
                kept.append((stays, reader))
        self.parts = kept

    def _places(self, places: list[int]) -> Tensor:
        return torch.tensor(places, dtype=torch.long, device=self.device)


def _in_order(logits: dict[int, Tensor]) -> Tensor:
    return torch.stack([logits[index] for index in sorted(logits)])
