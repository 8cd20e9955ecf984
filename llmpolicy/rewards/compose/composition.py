"""From what every reward said of every row to the row's reward, term by term."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from llmpolicy.errors import RewardError
from llmpolicy.rewards.compose.interval import Interval
from llmpolicy.rewards.compose.tree import YES, Node, Role, Term, both, counted, of_role
from llmpolicy.types import Judged, RowScore, Sample, Score

ANY_TASK = ""
UNASKED = Judged(Score(None, why="this reward is not for the row's task"))


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

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes of all terms, each before those below it."""
        return list(chain.from_iterable(term.node.all for term in self.terms))

    @cached_property
    def needs_group(self) -> str | None:
        """The name of a node that looks at its whole group."""
        for node in self.nodes:
            if node.relative:
                return node.name
        return None

    @property
    def kept(self) -> list[str]:
        """The names of all terms, for the record of a row; none where each is a bare reward, whose
        value is kept anyway.
        """
        if all(term.bare for term in self.terms):
            return []
        return self.names

    @cached_property
    def only(self) -> Term | None:
        """The term of a reward that is one bare function; None where anything is put together."""
        if len(self.terms) == 1 and self.terms[0].bare and self.terms[0].counted:
            return self.terms[0]
        return None

    @property
    def routed(self) -> list[str]:
        """The tasks that terms are for, in order; `ANY_TASK` alone where none is named."""
        named = set[str]().union(*(term.tasks or () for term in self.terms))
        return sorted(named) or [ANY_TASK]

    def of_task(self, task: str) -> list[Term]:
        """The terms and gates of a task's rows."""
        return [term for term in self.terms if term.applies(task)]

    @cached_property
    def term_of(self) -> dict[str, Term]:
        """The term that a reward is in, by the reward's name."""
        return {node.name: term for term in self.terms for node in term.node.all}

    @cached_property
    def joined(self) -> dict[str, list[str]]:
        """The names of the nodes that join others, by the name of their term."""
        joined: dict[str, list[str]] = {name: [] for name in self.names}
        for node in self.nodes:
            if node.kind != "reward":
                joined[self.term_of[node.name].name].append(node.name)
        return joined

    def share(self, reward: str) -> float:
        """The weight of a reward that is a bare term of the sum; 0 for any other."""
        term = self.term_of.get(reward)
        return term.weight if term is not None and term.bare and term.counted else 0.0

    def asks(self, reward: str, task: str) -> bool:
        """Whether a reward has anything to say of a task's rows."""
        return self.term_of[reward].applies(task)

    def asked(self, reward: str, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples that a reward is asked about."""
        term = self.term_of[reward]
        if term.tasks is None:
            return samples
        return [sample for sample in samples if term.applies(sample.task)]

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
        if self.only is not None:
            return self._bare(self.only, columns[self.only.name])
        rows: list[dict[str, Judged]] = [{} for _ in samples]
        for name, column in columns.items():
            asked = [
                row
                for row, sample in zip(rows, samples, strict=True)
                if self.asks(name, sample.task)
            ]
            for row, verdict in zip(asked, column, strict=True):
                row[name] = verdict
        size = (self.needs_group and group_size) or max(len(samples), 1)
        scores = []
        for start in range(0, len(samples), size):
            tasks = [sample.task for sample in samples[start : start + size]]
            scores += self._group(tasks, rows[start : start + size], list(columns))
        return scores

    def _bare(self, term: Term, column: Sequence[Judged]) -> list[RowScore]:
        """What `_group` comes to for one bare function: its value, within its range, times its
        weight.
        """
        name, scores = term.name, []
        for verdict in column:
            value = reward = verdict.score.value
            if value is not None:
                value = term.node.bounds.nearest(value)
                reward = self._finite(term.weight * value)
            parts, judged = {name: verdict.score}, {name: verdict}
            scores.append(RowScore(reward, parts, verdict.seconds, {name: value}, {}, judged))
        return scores

    def _group(
        self, tasks: Sequence[str], judged: Sequence[Mapping[str, Judged]], names: Sequence[str]
    ) -> list[RowScore]:
        values: dict[str, list[float | None]] = {}
        for name in names:
            values[name] = [row.get(name, UNASKED).score.value for row in judged]
        nodes: dict[str, list[Interval]] = {}
        terms = self._terms(tasks, values, nodes)
        of_task = {task: self.of_task(task) for task in set(tasks)}
        scores = []
        for index, (task, row) in enumerate(zip(tasks, judged, strict=True)):
            known, joined = {}, {}
            for term in of_task[task]:
                known[term.name] = terms[term.name][index].value
                for name in self.joined[term.name]:
                    joined[name] = nodes[name][index].value
            parts = {name: row.get(name, UNASKED).score for name in names}
            seconds = sum(verdict.seconds for verdict in row.values())
            value = self._sum(of_task[task], known)
            scores.append(RowScore(value, parts, seconds, known, joined, row))
        return scores

    def _terms(
        self,
        tasks: Sequence[str],
        values: Mapping[str, Sequence[float | None]],
        nodes: dict[str, list[Interval]],
    ) -> dict[str, list[Interval]]:
        """Each term's value in each row, after its gates and its condition."""
        always = [True] * len(tasks)
        terms = {}
        for term in self.terms:
            if term.role != "shaping" or not term.counted:
                terms[term.name] = term.node.evaluate(values, always, nodes)
        is_open = self._hold("gate", terms, tasks)
        is_right = self._hold("correctness", terms, tasks)
        for term in self.terms:
            if not term.counted:
                continue
            states = is_open
            if term.when_correct:
                states = list(map(both, is_open, is_right))
            if term.name not in terms:
                pairs = zip(states, tasks, strict=True)
                counting = [state == YES and term.applies(task) for state, task in pairs]
                terms[term.name] = term.node.evaluate(values, counting, nodes)
            terms[term.name] = list(map(term.counts, terms[term.name], states))
        return terms

    def _hold(
        self, role: Role, values: Mapping[str, Sequence[Interval]], tasks: Sequence[str]
    ) -> list[Interval]:
        """Whether all gates of a row are open, or whether its answer is right."""
        states = [YES] * len(tasks)
        for term in of_role(self.terms, role):
            for index, task in enumerate(tasks):
                if term.applies(task):
                    states[index] = both(states[index], term.holds(values[term.name][index]))
        return states

    def _sum(self, terms: Sequence[Term], values: Mapping[str, float | None]) -> float | None:
        """Σ w·term over the terms of a row; None when one is not known, or when the recipe's terms
        are all for other tasks.
        """
        added = counted(terms)
        if not added and counted(self.terms):
            return None
        reward = 0.0
        for term in added:
            value = values[term.name]
            if value is None:
                return None
            reward += term.weight * value
        return self._finite(reward)

    def _finite(self, reward: float) -> float:
        if not math.isfinite(reward):
            raise RewardError(
                f"The weighted sum of {', '.join(self.names)} is {reward}; scale the rewards down."
            )
        return reward + 0.0
