"""Scoring a batch: every reward on every sample, then the composition of each row's reward."""

import itertools
import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.calls import Call, make_here
from llmpolicy.rewards.compose import compose, read_entries
from llmpolicy.rewards.contract import (
    Component,
    check_columns_are_free,
    check_names,
    offered_group,
    offered_single,
    offered_trl,
)
from llmpolicy.rewards.health import Health
from llmpolicy.rewards.verdict import Outcome
from llmpolicy.rewards.workers.crossing import Crossed, crossed, stays
from llmpolicy.types import Judged, RowScore, Sample, Score, TrainerSnapshot

if TYPE_CHECKING:
    from llmpolicy.rewards.workers.pool import Part

_CANNOT = (pickle.PickleError, TypeError, AttributeError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One reward's calls for a batch, and the place of the call that answers each of them: of
    equal calls only the first is made.

    ``reward`` is None where they are made in this process.
    """

    component: Component
    calls: Sequence[Call]
    samples: Sequence[Sequence[Sample]]
    answers: Sequence[int]
    reward: Crossed | None = None
    pickled: Sequence[bytes] = ()

    @property
    def distinct(self) -> list[int]:
        """The places of the calls that are made; the others repeat one of them."""
        return sorted(set(self.answers))

    def begin(self, stop: threading.Event, pace: float | None) -> "list[Part] | None":
        """Have the distinct calls made by workers; None where they are to be made here."""
        if self.reward is None:
            return None
        from llmpolicy.rewards.workers import pool

        messages = [(self.pickled[index], self.calls[index].rows) for index in self.distinct]
        return pool.start(self.reward, messages, stop, pace)


class Rewards:
    """The rewards of a recipe, read once: `check_columns` before a model loads, then `submit` for
    each batch.

    They run in worker processes that are killed when a completion takes longer than its reward's
    timeout, so what a function changes outside itself is not seen here; ``isolate=False`` calls
    them in this process, unguarded.
    """

    def __init__(
        self,
        specs: Iterable[Any],
        base_dir: Path | None = None,
        *,
        tasks: Sequence[str] = (),
        allow_inversion: bool = False,
        written_at: Callable[[str], str] = str,
        isolate: bool = True,
        stops: bool = True,
    ) -> None:
        """Read RewardSpecs, functions, references, or mappings as in a recipe's ``rewards:``.

        ``tasks`` names the tasks of the rows, ``written_at`` the place of a dotted key of the
        recipe. Without ``stops`` no number of faults is too many.
        """
        entries = read_entries(list(specs), written_at)
        self.components: list[Component] = []
        for entry in entries:
            self.components += [Component.of(spec, base_dir) for spec in entry.specs]
        check_names(self.components)
        self.composition = compose(
            entries, self.components, tasks=tasks, allow_inversion=allow_inversion
        )
        self.isolate, self.stops = isolate, stops
        self.health = {component.name: Health(component) for component in self.components}
        self.trainer_state: TrainerSnapshot | None = None
        """What rewards of TRL's style see of the trainer; it sets this before each batch."""
        self.repeated = dict.fromkeys(self.health, 0)
        self._pace: dict[str, float] = {}
        self._crossed: dict[str, Crossed | None] = {}

    @property
    def names(self) -> list[str]:
        """The names of the parts, in the order of the recipe."""
        return [component.name for component in self.components]

    @property
    def needs_group(self) -> bool:
        """Whether a reward looks at a whole group, so that `group_size` must be given."""
        return self._looks_at_group is not None

    @cached_property
    def _looks_at_group(self) -> str | None:
        """The name of a reward, or of a node, that looks at a whole group."""
        for component in self.components:
            if component.style == "group":
                return component.name
        return self.composition.needs_group

    def check_columns(self, columns: Iterable[str], task: str | None = None) -> None:
        """Raise RewardError for a column with a reserved name, or a parameter that nothing fills.

        With ``task``, only the rewards are looked at that rows of this task have.
        """
        present = list(columns)
        check_columns_are_free(present)
        for component in self.components:
            if task is None or self.composition.asks(component.name, task):
                check_columns_are_free(present, component.style)
                component.check(present)

    def submit(
        self, samples: Sequence[Sample], group_size: int | None = None
    ) -> "Future[list[RowScore]]":
        """Start to score; the future holds one RowScore a sample, in order, or a RewardError.

        Samples of a group lie next to each other, `group_size` at a time. A completion that a
        reward could not judge by a fault of its own is None; RewardError when that happens too
        often, or for a value that is no score.
        """
        _check_samples(samples)
        if self._looks_at_group is not None:
            _check_groups(self._looks_at_group, samples, group_size)
        stop = threading.Event()
        return _in_thread(partial(self._score, samples, group_size, stop), stop)

    def score(self, samples: Sequence[Sample], group_size: int | None = None) -> list[RowScore]:
        """The waiting form of `submit`."""
        return waited(self.submit(samples, group_size))

    @property
    def apart(self) -> bool:
        """Whether every reward is called in processes of its own, so that other work may go on
        meanwhile.
        """
        return None not in map(self._guarded, self.components)

    @property
    def first_fault(self) -> str:
        """What happened the first time that a reward failed; an empty text if none did."""
        for health in self.health.values():
            if False in health.first:
                return health.first[False]
        return ""

    def take_faults(self) -> list[dict[str, Any]]:
        """The records of faults since the last time, to be kept with a run."""
        taken = []
        for health in self.health.values():
            taken += health.records
            health.records = []
        return taken

    def _score(
        self, samples: Sequence[Sample], group_size: int | None, stop: threading.Event
    ) -> list[RowScore]:
        batches = []
        for component in self.components:
            asked = self.composition.asked(component.name, samples)
            batches.append(self._batch(component, asked, group_size))
        columns = {}
        for batch, outcomes in zip(batches, self._outcomes(batches, stop), strict=True):
            columns[batch.component.name] = self._judged(batch, outcomes)
        return self.composition.rows(samples, columns, group_size)

    def _outcomes(self, batches: Sequence[_Batch], stop: threading.Event) -> list[list[Outcome]]:
        """What came of the distinct calls of each batch: in workers, and meanwhile those that stay
        here.
        """
        from llmpolicy.rewards.workers import pool  # of no use to who only reads a recipe

        try:
            started = [batch.begin(stop, self._pace.get(batch.component.name)) for batch in batches]
            local = iter(_made_here([batch for batch in batches if batch.reward is None]))
            outcomes = []
            for parts in started:
                if parts is None:
                    outcomes.append(next(local))
                else:
                    outcomes.append(pool.outcomes(parts))
            return outcomes
        except BaseException:
            stop.set()
            raise

    def _batch(
        self, component: Component, samples: Sequence[Sample], group_size: int | None
    ) -> _Batch:
        """The calls of one reward; of those with equal arguments one is made, unless the reward
        draws lots.
        """
        rows = _rows(component, samples, group_size)
        calls = []
        for some in rows:
            chosen = _chosen(component, some, self.trainer_state)
            calls.append(Call(chosen, [sample.row for sample in some]))
        reward = self._guarded(component)
        try:
            pickled = [pickle.dumps(call.chosen, pickle.HIGHEST_PROTOCOL) for call in calls]
        except _CANNOT as error:
            if reward is not None:
                stays(component.name, error)
                self._crossed[component.name] = reward = None
            pickled = []
        answers = list(range(len(calls)))
        if component.contract.deterministic and pickled:
            places: dict[bytes, int] = {}
            answers = list(map(places.setdefault, pickled, answers))
        return _Batch(component, calls, rows, answers, reward, pickled)

    def _guarded(self, component: Component) -> Crossed | None:
        """The reward as it crosses to a worker, or None where it is called here."""
        if not self.isolate or os.environ.get("LLMPOLICY_REWARD_WORKERS") == "0":
            return None
        if component.name not in self._crossed:
            self._crossed[component.name] = crossed(component)
        return self._crossed[component.name]

    def _judged(self, batch: _Batch, outcomes: Sequence[Outcome]) -> list[Judged]:
        """One verdict a sample, faults counted; FaultBudgetError when they are too many."""
        name, outcome_of = batch.component.name, dict(zip(batch.distinct, outcomes, strict=True))
        health, verdicts, spent = self.health[name], list[Judged](), list[bool]()
        if outcomes:
            self._pace[name] = sum(outcome.seconds for outcome in outcomes) / len(outcomes)
        for index, answer in enumerate(batch.answers):
            outcome, rows = outcome_of[answer], len(batch.calls[index].rows)
            seconds = outcome.seconds / rows
            if index != answer:
                self.repeated[name] += 1
                seconds = 0.0
            elif outcome.blame is not None:
                self._note(health, outcome, batch.calls[index], batch.samples[index][0])
            verdicts += _verdicts(outcome, rows, seconds)
            spent += [outcome.blame == "model"] * rows
        if self.stops:
            health.check([verdict.fault is not None for verdict in verdicts], spent)
        return verdicts

    def _note(self, health: Health, outcome: Outcome, call: Call, sample: Sample) -> None:
        if not health.counts and self.stops:
            logging.getLogger("llmpolicy").warning(
                "Reward %r %s on row %s; it is counted from here on",
                *(health.component.name, outcome.why, sample.row),
            )
        health.note(outcome, call.chosen, sample)


def _check_groups(name: str, samples: Sequence[Sample], group_size: int | None) -> None:
    if group_size is None or group_size < 1 or len(samples) % group_size:
        raise RewardError(
            f"Reward {name!r} scores whole groups: {len(samples)} samples do not divide by"
            f" group size {group_size}."
        )
    for group in _groups(samples, group_size):
        if any(sample.prompt != group[0].prompt for sample in group):
            raise RewardError(
                f"Reward {name!r}: rows {group[0].row} to {group[-1].row} have different prompts."
            )


def _check_samples(samples: Sequence[Sample]) -> None:
    for sample in samples:
        if not isinstance(sample, Sample):
            raise RewardError(
                f"Rewards score Samples, not {sample!r:.60}; write Sample(completion, columns)."
            )


def _groups(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def _rows(
    component: Component, samples: Sequence[Sample], group_size: int | None
) -> list[Sequence[Sample]]:
    """The samples of each call of a reward."""
    sizes = {"single": 1, "group": group_size or 1, "trl": len(samples) or 1}
    return _groups(samples, sizes[component.style])


def _made_here(batches: Sequence[_Batch]) -> list[list[Outcome]]:
    """What comes of the calls of each batch in this process; RewardError for one that is
    refused.
    """
    calls = []
    for batch in batches:
        calls += [(batch.component, batch.calls[index]) for index in batch.distinct]
    outcomes = make_here(calls)
    for outcome in outcomes:
        if outcome.blame == "refused":
            raise RewardError(outcome.why)
    ordered = iter(outcomes)
    return [list(itertools.islice(ordered, len(batch.distinct))) for batch in batches]


def _verdicts(outcome: Outcome, rows: int, seconds: float) -> list[Judged]:
    """One verdict a row, each of which took so many seconds."""
    if outcome.scores is not None:
        return [Judged(score, seconds) for score in outcome.scores]
    fault: Any = outcome.blame
    if fault == "memory":
        # Only an isolated call knows its memory cap; here, memory that ran out may be anyone's.
        fault = "error"
    return [Judged(Score(None, why=outcome.why), seconds, fault)] * rows


def _chosen(
    component: Component, samples: Sequence[Sample], state: TrainerSnapshot | None
) -> dict[str, Any]:
    """What one call gets beside the fixed arguments; RewardError for a column that a row lacks."""
    try:
        if component.style == "single":
            return component.chosen(offered_single(samples[0]), samples[0].columns)
        names: dict[str, None] = {}
        for sample in samples:
            names |= dict.fromkeys(sample.columns)
        check_columns_are_free(names, component.style)
        columns = {}
        for name in names:
            # Rows of different tasks differ in columns; what a row lacks is None, as in a dataset,
            # unless it is required.
            if name in component.required:
                columns[name] = [sample.columns[name] for sample in samples]
            elif component.takes_all or name in component.optional:
                columns[name] = [sample.columns.get(name) for sample in samples]
        if component.style == "group":
            return component.chosen(offered_group(samples), columns)
        return component.chosen(offered_trl(samples, state), columns)
    except KeyError as error:
        lacking = error.args[0]
        row = next(s.row for s in samples if lacking not in s.columns)
        raise RewardError(
            f"Reward {component.name!r} asks for {lacking!r}, a column that row {row} lacks."
        ) from error


def waited(future: "Future[list[RowScore]]") -> list[RowScore]:
    """What a `submit` gives, when it is done; who is interrupted while waiting stops it."""
    try:
        return future.result()
    except BaseException:
        future.cancel()  # Ctrl-C: the workers must not go on with what nobody waits for
        raise


class _Scoring(Future[Any]):
    """A future that stops its workers when it is cancelled, also after they began."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop

    def cancel(self) -> bool:
        self.stop.set()
        return super().cancel()


def _in_thread(work: Any, stop: threading.Event) -> "Future[Any]":
    # A daemon thread of our own: a notebook's event loop does not matter, and a stuck reward cannot
    # hold the exit.
    future = _Scoring(stop)
    future.set_running_or_notify_cancel()

    def fill() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            future.set_exception(error)

    threading.Thread(target=fill, name="llmpolicy-rewards", daemon=True).start()
    return future
