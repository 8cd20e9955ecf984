"""Scoring a batch: every reward on every sample, then the composition of each row's reward."""

import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmpolicy.errors import RewardError
from llmpolicy.rewards.compose import RowScore, compose, read_entries
from llmpolicy.rewards.contract import (
    Component,
    check_columns_are_free,
    check_names,
    offered_group,
    offered_single,
    offered_trl,
)
from llmpolicy.rewards.verdict import Judged, as_list, as_score, failed
from llmpolicy.types import Sample

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of one reward, over one row or over a list of rows."""

    component: Component
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class _Returned:
    values: Any
    seconds: float


class Rewards:
    """The rewards of a recipe, read once: `check_columns` before a model loads, then `submit` for each batch."""

    def __init__(
        self,
        specs: Iterable[Any],
        base_dir: Path | None = None,
        *,
        tasks: Sequence[str] = (),
        allow_inversion: bool = False,
        written_at: Callable[[str], str] = str,
    ) -> None:
        """Read RewardSpecs, functions, references, or mappings as in a recipe's ``rewards:``.

        ``tasks`` names the tasks of the rows, ``written_at`` the place of a dotted key of the recipe.
        """
        entries = read_entries(list(specs), written_at)
        self.components = [Component.of(spec, base_dir) for entry in entries for spec in entry.specs]
        check_names(self.components)
        self.composition = compose(entries, self.components, tasks=tasks, allow_inversion=allow_inversion)

    @property
    def names(self) -> list[str]:
        """The names of the parts, in the order of the recipe."""
        return [component.name for component in self.components]

    @property
    def needs_group(self) -> bool:
        """Whether a reward looks at a whole group, so that `group_size` must be given."""
        return self._looks_at_group is not None

    @property
    def _looks_at_group(self) -> str | None:
        styled = (component.name for component in self.components if component.style == "group")
        return next(styled, None) or self.composition.needs_group

    @property
    def needed_columns(self) -> set[str]:
        """The columns without which some reward cannot be called."""
        return {name for component in self.components for name in component.columns}

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

    def submit(self, samples: Sequence[Sample], group_size: int | None = None) -> "Future[list[RowScore]]":
        """Score in a thread of our own; the future holds one RowScore a sample, in order, or a RewardError.

        Samples of a group lie next to each other, `group_size` at a time.
        """
        self._check_groups(samples, group_size)
        return _in_thread(lambda: self._score(samples, group_size))

    def score(self, samples: Sequence[Sample], group_size: int | None = None) -> list[RowScore]:
        """The waiting form of `submit`."""
        return self.submit(samples, group_size).result()

    def _score(self, samples: Sequence[Sample], group_size: int | None) -> list[RowScore]:
        asked = {component.name: self.composition.asked(component.name, samples) for component in self.components}
        calls = [call for one in self.components for call in _calls(one, asked[one.name], group_size)]
        returned = _run(calls)
        columns: dict[str, list[Judged]] = {component.name: [] for component in self.components}
        for call, result in zip(calls, returned, strict=True):
            columns[call.component.name] += _judged(call, result)
        return self.composition.rows(samples, columns, group_size)

    def _check_groups(self, samples: Sequence[Sample], group_size: int | None) -> None:
        name = self._looks_at_group
        if name is None:
            return
        if group_size is None or group_size < 1 or len(samples) % group_size:
            raise RewardError(
                f"Reward {name!r} scores whole groups: {len(samples)} samples do not divide by group size {group_size}."
            )
        for group in _groups(samples, group_size):
            if any(sample.prompt != group[0].prompt for sample in group):
                raise RewardError(f"Reward {name!r}: rows {group[0].row} to {group[-1].row} have different prompts.")


def _groups(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def _calls(component: Component, samples: Sequence[Sample], group_size: int | None) -> list[_Call]:
    if component.style == "single":
        return [_Call(component, [sample]) for sample in samples]
    if component.style == "group":
        return [_Call(component, group) for group in _groups(samples, group_size or 1)]
    return [_Call(component, samples)] if samples else []


def _run(calls: Sequence[_Call]) -> list[_Returned]:
    """Make every call in order; what comes back as a coroutine is then run, all of them at once, on one event loop."""
    returned: list[_Returned] = []
    try:
        for call in calls:
            returned.append(_timed(call))
    except BaseException:
        for result in returned:
            if inspect.iscoroutine(result.values):
                result.values.close()
        raise
    waiting = [i for i, result in enumerate(returned) if inspect.isawaitable(result.values)]
    if waiting:
        import asyncio  # only judges need it, and the command line should start at once

        finished = asyncio.run(_together([_awaited(calls[i], returned[i].values) for i in waiting]))
        for i, result in zip(waiting, finished, strict=True):
            returned[i] = result
    return returned


def _timed(call: _Call) -> _Returned:
    started = time.perf_counter()
    try:
        positional, named = _arguments(call)
        values = call.component.function(*positional, **named)
    except (RewardError, KeyboardInterrupt):
        raise
    except BaseException as error:
        # SystemExit too: a reward must not end the run without a word.
        raise failed(error, call.component.name, call.component.function, call.samples[0]) from error
    return _Returned(values, time.perf_counter() - started)


async def _awaited(call: _Call, pending: Any) -> _Returned:
    import asyncio

    started = time.perf_counter()
    try:
        values = await pending
    except (RewardError, KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise failed(error, call.component.name, call.component.function, call.samples[0]) from error
    return _Returned(values, time.perf_counter() - started)


async def _together(pending: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    import asyncio

    return list(await asyncio.gather(*pending))


def _arguments(call: _Call) -> tuple[list[Any], dict[str, Any]]:
    component, samples = call.component, call.samples
    try:
        if component.style == "single":
            return component.arguments(offered_single(samples[0]), samples[0].columns)
        names = {name: None for sample in samples for name in sample.columns}
        check_columns_are_free(names, component.style)
        columns = {
            # Rows of different tasks differ in columns; what a row lacks is None, as in a dataset, unless it is required.
            name: [s.columns[name] if name in component.required else s.columns.get(name) for s in samples]
            for name in names
            if component.takes_all or name in (*component.required, *component.optional)
        }
        offered = offered_group(samples) if component.style == "group" else offered_trl(samples)
        return component.arguments(offered, columns)
    except KeyError as error:
        lacking = error.args[0]
        row = next(s.row for s in samples if lacking not in s.columns)
        raise RewardError(f"Reward {component.name!r} asks for {lacking!r}, a column that row {row} lacks.") from error


def _judged(call: _Call, result: _Returned) -> list[Judged]:
    name, rows = call.component.name, [sample.row for sample in call.samples]
    values = [result.values] if call.component.style == "single" else as_list(result.values, name, rows)
    each = result.seconds / len(rows)
    return [Judged(as_score(value, name, row), each) for value, row in zip(values, rows, strict=True)]


def _in_thread(work: Any) -> "Future[Any]":
    # A daemon thread of our own: a notebook's event loop does not matter, and a stuck reward cannot hold the exit.
    future: Future[Any] = Future()

    def fill() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            future.set_exception(error)

    threading.Thread(target=fill, name="llmpolicy-rewards", daemon=True).start()
    return future
