"""Which prompts gave a signal: a record of each, and an order of the prompts that prefers those
likely to give one.

A prompt's group has a signal with probability θ. Of its groups so far s had one and f had none,
each counted 2^(−age / 20) with its age in generations, since the policy moves on: θ ~ Beta(1 + s, 1
+ f). Thompson (1933) draws one θ a prompt and takes the largest; the discount is that of Raj &
Kalyani 2017, arXiv 1707.09727.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

HALF_LIFE = 20
"""Generations after which what was seen of a prompt counts half."""


class Memory:
    """For each prompt, by its key, how many of its groups had a signal and how many had none,
    discounted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self.counts = np.zeros((len(self.keys), 2))  # (rows, with and without a signal)

    def order(self, draw: np.random.Generator) -> list[int]:
        """All rows, those first for which the drawn probability of a signal is highest."""
        theta = draw.beta(1 + self.counts[:, 0], 1 + self.counts[:, 1])  # (rows,)
        order: list[int] = np.argsort(-theta, kind="stable").tolist()
        return order

    def note(self, groups: Iterable[tuple[int, bool]]) -> None:
        """Age what is known by one generation, and add its groups: the row of each, and whether it
        had a signal.
        """
        self.counts *= 0.5 ** (1 / HALF_LIFE)
        for row, live in groups:
            self.counts[row, 0 if live else 1] += 1

    def state(self) -> dict[str, list[float]]:
        """The counts of the prompts that were seen, as plain data."""
        return {
            key: pair
            for key, pair in zip(self.keys, self.counts.tolist(), strict=True)
            if any(pair)
        }

    def load(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from a `state`; a prompt that it does not name was not seen."""
        self.counts = np.array([state.get(key, (0.0, 0.0)) for key in self.keys])
