"""From what every reward said of every row to the row's reward, term by term."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
        return [node for term in self.terms for node in term.node.all]

    @cached_property
    def needs_group(self) -> str | None:
        """The name of a node that looks at its whole group."""
        return next((node.name for node in self.nodes if node.relative), None)

    @property
    def kept(self) -> list[str]:
        """The names of all terms, for the record of a row; none where each is a bare reward, whose
        value is kept anyway.
        """
        return [] if all(term.bare for term in self.terms) else self.names

    @cached_property
    def only(self) -> Term | None:
        """The term of a reward that is one bare function; None where anything is put together."""
        alone = len(self.terms) == 1 and self.terms[0].bare and self.terms[0].counted
        return self.terms[0] if alone else None

    @property
    def routed(self) -> list[str]:
        """The tasks that terms are for, in order; `ANY_TASK` alone where none is named."""
        return sorted({task for term in self.terms for task in term.tasks or ()}) or [ANY_TASK]

    def of_task(self, task: str) -> list[Term]:
        """The terms and gates of a task's rows."""
        return [term for term in self.terms if term.applies(task)]

    @cached_property
    def term_of(self) -> dict[str, Term]:
        """The term that a reward is in, by the reward's name."""
        return {node.name: term for term in self.terms for node in term.node.all}

    def asks(self, reward: str, task: str) -> bool:
        """Whether a reward has anything to say of a task's rows."""
        return self.term_of[reward].applies(task)

    def asked(self, reward: str, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples that a reward is asked about."""
        tasks = self.term_of[reward].tasks
        return samples if tasks is None else [row for row in samples if row.task in tasks]

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
        judged: list[dict[str, Judged]] = [{} for _ in samples]
        for name, column in columns.items():
            asked = [index for index, row in enumerate(samples) if self.asks(name, row.task)]
            for index, verdict in zip(asked, column, strict=True):
                judged[index][name] = verdict
        size = (self.needs_group and group_size) or max(len(samples), 1)
        tasks, scores = [sample.task for sample in samples], []
        for start in range(0, len(samples), size):
            group = slice(start, start + size)
            scores += self._group(tasks[group], judged[group], list(columns))
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
        verdicts = {name: [row.get(name, UNASKED) for row in judged] for name in names}
        values = {name: [row.score.value for row in column] for name, column in verdicts.items()}
        nodes: dict[str, list[Interval]] = {}
        terms = self._terms(tasks, values, nodes)
        of_task = {task: self.of_task(task) for task in set(tasks)}
        joined = {task: _joined(of_task[task]) for task in of_task}
        scores = []
        for index, (task, row) in enumerate(zip(tasks, judged, strict=True)):
            known = {term.name: terms[term.name][index].value for term in of_task[task]}
            score = RowScore(
                value=self._sum(of_task[task], known),
                parts={name: column[index].score for name, column in verdicts.items()},
                seconds=sum(verdict.seconds for verdict in row.values()),
                terms=known,
                nodes={name: nodes[name][index].value for name in joined[task]},
                judged=dict(row),
            )
            scores.append(score)
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


def _joined(terms: Sequence[Term]) -> list[str]:
    """The names of the nodes that join others."""
    names = []
    for term in terms:
        names += [node.name for node in term.node.all if node.kind != "reward"]
    return names
