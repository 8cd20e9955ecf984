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
        row_of = self.prompt_of.tolist()
        for places in sides.values():
            rows = [row for row, index in enumerate(row_of) if index in places]
            reader = self._begin(
                rows,
                [self.distinct[index] for index in places],
                [places.index(row_of[r]) for r in rows],
            )
            logits |= zip(places, reader.prompts(), strict=True)
        return torch.stack([logits[index] for index in range(len(self.distinct))])

    def tokens(self, token: Tensor) -> Tensor:
        """The logits after each row's next token, (b,) to (b, V)."""
        before = [self._side(context) for context in self.contexts]
        for context, chosen in zip(self.contexts, token.tolist(), strict=True):
            context.append(chosen)
        self.steps -= 1
        crossed = [
            row for row, context in enumerate(self.contexts) if self._side(context) != before[row]
        ]
        self._keep([row for row in range(len(self.contexts)) if row not in crossed])
        logits: dict[int, Tensor] = {}
        for rows, reader in self.parts:
            logits |= zip(rows, reader.tokens(token[self._places(rows)]), strict=True)
        if crossed:
            reader = self._begin(
                crossed, [self.contexts[row] for row in crossed], list(range(len(crossed)))
            )
            logits |= zip(crossed, reader.prompts(), strict=True)
        return torch.stack([logits[row] for row in range(len(self.contexts))])

    def leave(self, going: Tensor) -> None:
        """Go on with the rows at these places."""
        rows = going.tolist()
        self._keep(rows)
        self.contexts = [self.contexts[row] for row in rows]
        number = {row: index for index, row in enumerate(rows)}
        self.parts = [([number[row] for row in part], reader) for part, reader in self.parts]

    def _side(self, context: Sequence[int]) -> int:
        return bisect_left(self.limits, len(context))

    def _begin(
        self, rows: list[int], prompts: Sequence[Sequence[int]], row_of: list[int]
    ) -> Reader:
        reader = self.make(prompts, self._places(row_of), self.steps)
        self.parts.append((rows, reader))
        return reader

    def _keep(self, rows: Sequence[int]) -> None:
        """Let all other rows leave their readers."""
        kept: list[tuple[list[int], Reader]] = []
        for part, reader in self.parts:
            stays = [index for index, row in enumerate(part) if row in set(rows)]
            if len(stays) < len(part) and stays:
                reader.leave(self._places(stays))
            if stays:
                kept.append(([part[index] for index in stays], reader))
        self.parts = kept

    def _places(self, places: list[int]) -> Tensor:
        return torch.tensor(places, dtype=torch.long, device=self.device)
