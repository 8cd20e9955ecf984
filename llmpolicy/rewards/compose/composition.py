"""From what every reward said of every row to the row's reward, term by term."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpolicy.errors import RewardError
from llmpolicy.rewards.compose.interval import ANYTHING, Interval, smallest
from llmpolicy.rewards.compose.tree import YES, Role, Term, both
from llmpolicy.types import Judged, RowScore, Sample, Score


@dataclass(frozen=True)
class Composition:
    """The terms of a reward, in the order of the recipe; a plain weighted sum is one whose terms
    are bare rewards.
    """

    terms: tuple[Term, ...]
    allow_inversion: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the terms and gates: one column each."""
        return [term.name for term in self.terms]

    @property
    def weights(self) -> list[float]:
        """The weight of each column in the sum; 0 for a gate, which acts in the terms that it
        closes.
        """
        return [term.weight if term.counted else 0.0 for term in self.terms]

    @property
    def needs_group(self) -> str | None:
        """The name of a node that looks at its whole group."""
        return next(
            (node.name for term in self.terms for node in term.node.all if node.relative), None
        )

    @property
    def kept(self) -> list[str]:
        """The names of all terms, for the record of a row; none where each is a bare reward, whose
        value is kept anyway.
        """
        changed = (
            term.role == "gate" or term.when_correct or term.tasks
            or term.node.kind != "reward" or term.node.clip != ANYTHING or term.node.relative
            for term in self.terms
        )  # fmt: skip
        return self.names if any(changed) else []

    def of_task(self, task: str) -> list[Term]:
        """The terms and gates of a task's rows."""
        return [term for term in self.terms if term.applies(task)]

    def asks(self, reward: str, task: str) -> bool:
        """Whether a reward has anything to say of a task's rows."""
        return any(
            term.applies(task)
            for term in self.terms
            if any(node.name == reward for node in term.node.all)
        )

    def asked(self, reward: str, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples that a reward is asked about."""
        asks = {task: self.asks(reward, task) for task in {sample.task for sample in samples}}
        return [sample for sample in samples if asks[sample.task]]

    def rows(
        self,
        samples: Sequence[Sample],
        columns: Mapping[str, Sequence[Judged]],
        group_size: int | None,
    ) -> list[RowScore]:
        """Every row's reward. ``columns`` holds the verdicts of each reward on the samples that it
        was `asked` about.

        Raises RewardError for a sum that is not finite.
        """
        judged: list[dict[str, Judged]] = [{} for _ in samples]
        for name, column in columns.items():
            asks = {task: self.asks(name, task) for task in {sample.task for sample in samples}}
            rows = [row for row, sample in zip(judged, samples, strict=True) if asks[sample.task]]
            for row, one in zip(rows, column, strict=True):
                row[name] = one
        size = group_size if self.needs_group and group_size else max(len(samples), 1)
        tasks, scores = [sample.task for sample in samples], []
        for start in range(0, len(samples), size):
            scores += self._group(
                tasks[start : start + size], judged[start : start + size], list(columns)
            )
        return scores

    def _group(
        self, tasks: Sequence[str], judged: Sequence[Mapping[str, Judged]], names: Sequence[str]
    ) -> list[RowScore]:
        unasked = Judged(Score(None, why="this reward is not for the row's task"))
        parts = [{name: row.get(name, unasked).score for name in names} for row in judged]
        found: dict[str, list[Interval]] = {}
        terms = self._terms(
            tasks, {name: [row[name].value for row in parts] for name in names}, found
        )
        own = {task: self.of_task(task) for task in set(tasks)}
        joined = {
            task: [n.name for t in own[task] for n in t.node.all if n.kind != "reward"]
            for task in own
        }
        scores = []
        for place, (task, row) in enumerate(zip(tasks, judged, strict=True)):
            values = {term.name: terms[term.name][place].value for term in own[task]}
            score = RowScore(
                value=self._sum(own[task], values),
                parts=parts[place],
                seconds=sum(one.seconds for one in row.values()),
                terms=values,
                nodes={name: found[name][place].value for name in joined[task]},
                judged=dict(row),
            )
            scores.append(score)
        return scores

    def _terms(
        self,
        tasks: Sequence[str],
        values: Mapping[str, Sequence[float | None]],
        found: dict[str, list[Interval]],
    ) -> dict[str, list[Interval]]:
        """Each term's value in each row, after its gates and its condition."""
        always = [True] * len(tasks)
        first = [term for term in self.terms if term.role != "shaping" or not term.counted]
        terms = {term.name: term.node.evaluate(values, always, found) for term in first}
        is_open = self._hold("gate", terms, tasks)
        is_right = self._hold("correctness", terms, tasks)
        for term in self.terms:
            if not term.counted:
                continue
            states = (
                [both(a, b) for a, b in zip(is_open, is_right, strict=True)]
                if term.when_correct
                else is_open
            )
            if term.name not in terms:
                counting = [
                    state == YES and term.applies(task)
                    for state, task in zip(states, tasks, strict=True)
                ]
                terms[term.name] = term.node.evaluate(values, counting, found)
            terms[term.name] = [
                term.counts(x, state) for x, state in zip(terms[term.name], states, strict=True)
            ]
        return terms

    def _hold(
        self, role: Role, values: Mapping[str, Sequence[Interval]], tasks: Sequence[str]
    ) -> list[Interval]:
        """Whether all gates of a row are open, or whether its answer is right."""
        terms = [term for term in self.terms if term.role == role]
        return [
            smallest(
                [
                    YES,
                    *(term.holds(values[term.name][place]) for term in terms if term.applies(task)),
                ]
            )
            for place, task in enumerate(tasks)
        ]

    def _sum(self, terms: Sequence[Term], values: Mapping[str, float | None]) -> float | None:
        """Σ w·term over the terms of a row; None when one is not known, or when the recipe's terms
        are all for other tasks.
        """
        counted = [term for term in terms if term.counted]
        if not counted and any(term.counted for term in self.terms):
            return None
        reward = 0.0
        for term in counted:
            value = values[term.name]
            if value is None:
                return None
            reward += term.weight * value
        if not math.isfinite(reward):
            raise RewardError(
                f"The weighted sum of {', '.join(self.names)} is {reward}; scale the rewards down."
            )
        return reward
