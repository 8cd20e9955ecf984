"""The reward as a tree: rewards, min, product and sum of them, each clipped or taken relative to
its group; then terms.

R = floor where a gate is closed, else Σ w·term. A term that does not count (its gate is closed; it
waits for a right answer) is at the lowest that it can bring, so the floor is the lowest reward
there is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Literal

from llmpolicy.rewards.compose.interval import (
    ANYTHING,
    Interval,
    clipped,
    difference,
    hull,
    point,
    product,
    scaled,
    smallest,
    total,
)

Kind = Literal["reward", "min", "product", "sum"]
Role = Literal["correctness", "gate", "shaping"]

NO, YES = point(0.0), point(1.0)
"""Whether something holds: certainly not, certainly, or (an interval from 0 to 1) not known."""


@dataclass(frozen=True)
class Node:
    """One reward, by its name, or min, product or weighted sum of nodes; then moved into ``clip``,
    then less its group's mean.

    A reward is first moved into the range that it ``declared``.
    """

    name: str
    kind: Kind = "reward"
    children: tuple["Node", ...] = ()
    weights: tuple[float, ...] = ()
    declared: Interval = ANYTHING
    clip: Interval = ANYTHING
    relative: bool = False

    @cached_property
    def bounds(self) -> Interval:
        """What the node may be before its group's mean is taken off."""
        if self.kind == "reward":
            return clipped(self.declared, self.clip)
        return clipped(self.join([child.range for child in self.children]), self.clip)

    @cached_property
    def range(self) -> Interval:
        """What the node may be."""
        if self.relative:
            return difference(self.bounds)
        return self.bounds

    @property
    def all(self) -> Iterator["Node"]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.all

    def join(self, parts: Sequence[Interval]) -> Interval:
        """The children's values, joined by the node's operation."""
        if self.kind == "min":
            return smallest(parts)
        if self.kind == "product":
            return product(parts)
        return total(map(scaled, parts, self.weights))

    def evaluate(
        self,
        judged: Mapping[str, Sequence[float | None]],
        counting: Sequence[bool],
        nodes: dict[str, list[Interval]],
    ) -> list[Interval]:
        """The node's value in each row of one group, kept in ``nodes`` for it and all below it.

        ``judged`` holds the rows of each reward, None where it could not judge: then it may be
        anything in its range, and the node is known only where that makes no difference. The
        group's mean is that of the rows that are ``counting``.
        """
        if self.kind == "reward":
            values = list(map(self._within, judged[self.name]))
        else:
            below = [child.evaluate(judged, counting, nodes) for child in self.children]
            values = [clipped(self.join(parts), self.clip) for parts in zip(*below, strict=True)]
        if self.relative:
            values = self._relative(values, counting)
        nodes[self.name] = values
        return values

    def _within(self, value: float | None) -> Interval:
        """A reward's value within its range; the range where it could not judge."""
        if value is None:
            return self.bounds
        return clipped(point(value), self.bounds)

    def _relative(self, values: Sequence[Interval], counting: Sequence[bool]) -> list[Interval]:
        known = []
        for x in compress(values, counting):
            if x.value is not None:
                known.append(x.low)
        mean = sum(known) / max(len(known), 1)
        less = []
        for x in values:
            if x.value is None:
                less.append(self.range)
            else:
                less.append(clipped(point(x.low - mean), self.range))
        return less


@dataclass(frozen=True)
class Term:
    """One entry of the outermost sum, or a gate that closes all of it; for rows of ``tasks`` only,
    where they are named.
    """

    node: Node
    weight: float = 1.0
    role: Role = "shaping"
    when_correct: bool = False
    tasks: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The name of its node."""
        return self.node.name

    @property
    def bare(self) -> bool:
        """Whether it is a reward's value as it is, in every row."""
        changed = self.when_correct or self.role == "gate" or self.tasks
        return not changed and self.node == Node(self.name, declared=self.node.declared)

    @property
    def counted(self) -> bool:
        """Whether it is part of the sum, and neither a gate nor only logged."""
        return self.role != "gate" and self.weight != 0

    @property
    def lowest(self) -> float:
        """The value that brings the least reward."""
        low, high = self.node.range
        return low if self.weight > 0 else high

    @property
    def top(self) -> float:
        """The value at which a gate is open, or an answer right: the highest of its range, 1 where
        it declares none.
        """
        if self.node.range.finite:
            return self.node.range.high
        return 1.0

    def holds(self, x: Interval) -> Interval:
        """Whether a value reaches the top."""
        return Interval(float(x.low >= self.top), float(x.high >= self.top))

    def applies(self, task: str) -> bool:
        """Whether rows of this task have the term."""
        return self.tasks is None or task in self.tasks

    def counts(self, x: Interval, state: Interval) -> Interval:
        """The value of a term that counts, does not, or may."""
        if state == YES:
            return x
        if state == NO:
            return point(self.lowest)
        return hull(x, point(self.lowest))


def counted(terms: Iterable[Term]) -> list[Term]:
    """Those that are part of the sum."""
    return [term for term in terms if term.counted]


def of_role(terms: Iterable[Term], role: Role) -> list[Term]:
    """Those of one role."""
    return [term for term in terms if term.role == role]


def both(x: Interval, y: Interval) -> Interval:
    """Whether two things hold."""
    return smallest((x, y))
