"""Which prompts a step has, and whose completions: dynamic sampling as the toolkit does it, its
memory, and replay of what an earlier policy wrote, against ∇J of all prompts alike.

All of them have the group's mean as baseline and a constant denominator, which keeps ∇J's direction
where every prompt has a fresh group: what is turned here, the choice has turned.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from llmpolicy.episode import Episode, Turn
from llmpolicy.grpo.sampling import Limits, Memory, filled
from tests.oracle import estimators, world
from tests.oracle.estimators import Drawn, centred, figures, one
from tests.oracle.world import Floats, Prompt

TAKEN, BEFORE = 2, 200
"""Prompts of a step, out of four; steps that the memory has seen before it is looked at."""
MOST = 3.0
"""The largest ratio of a whole completion."""


def graded(completion: tuple[int, ...], prompt: str) -> float:
    """Four prompts of very different difficulty: "c" is mostly right, "d" hardly ever."""
    if prompt in world.PROMPTS:
        return world.right(completion, prompt)
    return float(4 not in completion if prompt == "c" else 1 in completion and 4 in completion)


def four(seed: int = 9) -> list[Prompt]:
    """The four prompts under the tiny policy."""
    network = world.model(seed)
    return [world.enumerated(network, prompt, graded) for prompt in "abcd"]


def of_group(prompt: Prompt, group: Drawn, weight: Floats | float = 1.0) -> Floats:
    """Σ A w ∇log π / G of one group, (P,)."""
    advantage = centred(prompt.reward[group][None])[0] * weight
    return np.asarray(advantage @ prompt.score[group].sum(1) / len(group))


class Choosing:
    """Steps of ``TAKEN`` prompts of four, with or without memory and refill."""

    def __init__(self, prompts: list[Prompt], size: int, *, memory: bool, refill: bool) -> None:
        self.prompts, self.size = prompts, size
        self.random = np.random.default_rng(size)
        self.memory = Memory([str(row) for row in range(len(prompts))]) if memory else None
        self.limits = Limits(size, world.LENGTH, 10**6 if refill else None)

    def step(self) -> Floats:
        """An estimate of ∇J, (P,); its groups are then remembered."""
        order = self._order()
        filling = filled(
            order[:TAKEN], iter(order[TAKEN:]), self._generated, self._is_live, self.limits
        )
        if self.memory is not None:
            self.memory.note(filling.seen)
        parts = []
        for row, group in zip(filling.rows, filling.groups, strict=True):
            parts.append(of_group(self.prompts[row], _drawn(group)))
        return np.asarray(np.mean(parts, axis=0))

    def _order(self) -> list[int]:
        if self.memory is not None:
            return self.memory.order(self.random)
        return [int(row) for row in self.random.permutation(len(self.prompts))]

    def _generated(self, rows: list[int]) -> list[list[Episode]]:
        groups, every = [], world.completions()
        for row in rows:
            drawn = one(self.prompts[row], self.size, self.random)
            groups.append([Episode([Turn((), every[y])], row=row) for y in drawn])
        return groups

    def _is_live(self, group: list[Episode]) -> bool:
        return bool(np.ptp(self.prompts[group[0].row].reward[_drawn(group)]) > 0)


@cache
def _places() -> dict[tuple[int, ...], int]:
    return {completion: y for y, completion in enumerate(world.completions())}


def _drawn(group: list[Episode]) -> Drawn:
    """Which completions a group has."""
    return np.array([_places()[tuple(episode.ids)] for episode in group])


CHOICES = {
    "two prompts at random": partial(Choosing, memory=False, refill=False),
    "refilled": partial(Choosing, memory=False, refill=True),
    "memory": partial(Choosing, memory=True, refill=False),
    "memory, refilled": partial(Choosing, memory=True, refill=True),
}


def chosen(name: str, prompts: list[Prompt], size: int, steps: int) -> dict[str, float]:
    """The figures of a choice of prompts, from a fixed seed."""
    choosing = CHOICES[name](prompts, size)
    for _ in range(BEFORE):
        choosing.step()
    found = np.stack([choosing.step() for _ in range(steps)])
    return figures(found, None, estimators.exact(prompts))


@dataclass(frozen=True)
class Replay:
    """A prompt's completions of an earlier policy beside fresh ones, each half of the estimate
    (``part`` "groups"), or a right one in the place of a fresh one ("one right", as ExGRPO does:
    arXiv 2510.02245), or none ("fresh"). ``live``: only groups of unequal rewards are kept for replay; ``corrected``:
    an old completion weighs π/π_before, at most 3.
    """

    part: str = "groups"
    live: bool = True
    corrected: bool = True

    def step(self, now: Prompt, old: Prompt, size: int, random: np.random.Generator) -> Floats:
        """One prompt's estimate of its ∇J, (P,)."""
        fresh = one(now, size, random)
        if self.part == "fresh":
            return of_group(now, fresh)
        if self.part == "one right":
            right = old.probability * old.reward
            fresh[0] = random.choice(len(right), p=right / right.sum())
            weight = np.where(np.arange(size) == 0, self._ratio(now, old, fresh), 1.0)
            return of_group(now, fresh, weight)
        kept = one(old, size, random)
        while self.live and not np.ptp(old.reward[kept]):
            kept = one(old, size, random)
        again = of_group(now, kept, self._ratio(now, old, kept))
        return (of_group(now, fresh) + again) / 2

    def _ratio(self, now: Prompt, old: Prompt, group: Drawn) -> Floats:
        if not self.corrected:
            return np.ones(len(group))
        return np.minimum(now.probability[group] / old.probability[group], MOST)


REPLAYS = {
    "fresh groups only": Replay("fresh"),
    "all groups, ratio": Replay(live=False),
    "all groups, no ratio": Replay(live=False, corrected=False),
    "live groups, ratio": Replay(),
    "live groups, no ratio": Replay(corrected=False),
    "one right completion, ratio": Replay("one right"),
    "one right completion, no ratio": Replay("one right", corrected=False),
}


def replayed(
    name: str, now: list[Prompt], before: list[Prompt], size: int, steps: int
) -> dict[str, float]:
    """The figures of a replay, from a fixed seed."""
    random, replay = np.random.default_rng(size), REPLAYS[name]
    found = []
    for _ in range(steps):
        pairs = zip(now, before, strict=True)
        found.append(np.mean([replay.step(*pair, size, random) for pair in pairs], axis=0))
    return figures(np.stack(found), None, estimators.exact(now))
