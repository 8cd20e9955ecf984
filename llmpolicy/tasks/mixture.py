"""All tasks of a recipe as one list to train on and one that training never sees."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmpolicy.errors import TaskError, nearest
from llmpolicy.tasks.question import rule_name
from llmpolicy.tasks.rows import Row, make_rows
from llmpolicy.tasks.sources import read_rows
from llmpolicy.tasks.spec import Example, TaskSpec
from llmpolicy.tasks.split import (
    check_disjoint,
    hold_out,
    lowest,
    mix,
    shares,
    without,
)

log = logging.getLogger("llmpolicy")


@dataclass(frozen=True)
class Tasks:
    """The rows of a recipe: ``columns`` are the ones that every row has."""

    train: list[Row]
    held_out: list[Row]
    columns: tuple[str, ...]

    @property
    def by_task(self) -> dict[str, tuple[str, ...]]:
        """For each task, the columns that every row of it has."""
        rows: dict[str, list[Row]] = {}
        for row in [*self.train, *self.held_out]:
            rows.setdefault(row.task, []).append(row)
        return dict(zip(rows, map(_columns, rows.values()), strict=True))


def load_task(spec: TaskSpec | Mapping[str, Any], base_dir: Path | None = None) -> list[Row]:
    """All rows of one task; relative paths start from ``base_dir``. Raises TaskError in one
    sentence.
    """
    return _rows(_checked(spec), base_dir)


def _rows(
    spec: TaskSpec, base_dir: Path | None, examples: Sequence[Example] | None = None
) -> list[Row]:
    return make_rows(spec, read_rows(spec, base_dir), base_dir, examples)


def load_tasks(
    specs: Sequence[TaskSpec | Mapping[str, Any]],
    base_dir: Path | None = None,
    *,
    seed: int = 0,
    held_out: int = 0,
    held_out_task: TaskSpec | Mapping[str, Any] | None = None,
) -> Tasks:
    """The rows of several tasks, mixed in proportion to their weights, and ``held_out`` questions
    that none of them keeps.

    The held-out questions come from the tasks themselves in the same proportions or, with
    ``held_out_task``, from a dataset of their own, and then a question that is on both sides raises
    TaskError.
    """
    checked = list(map(_checked, specs))
    names = [spec.label for spec in checked]
    if not checked or len(set(names)) < len(names):
        raise TaskError(f"expected one or more tasks with different names, found {names}")
    proportions = {spec.label: spec.weight for spec in checked}
    examples: list[Example] = []
    for spec in checked:
        examples += spec.few_shot
    tasks = {spec.label: _rows(spec, base_dir, examples) for spec in checked}
    if held_out_task is None:
        held = _hold_out(tasks, proportions, held_out)
    else:
        apart = _by_the_same_rule(_checked(held_out_task), checked)
        held = lowest(_rows(apart, base_dir, examples), held_out)
    train = mix(tasks, proportions, seed)
    check_disjoint(train, held)
    used = Counter(row.task for row in train)
    unused = "task %r: %d of %d rows are used, to keep the tasks' proportions"
    for name, rows in tasks.items():
        if used[name] < len(rows):
            log.info(unused, name, used[name], len(rows))
    return Tasks(train, held, _columns([*train, *held]))


def _checked(spec: TaskSpec | Mapping[str, Any]) -> TaskSpec:
    if isinstance(spec, TaskSpec):
        return spec
    try:
        return TaskSpec.model_validate(spec)
    except ValidationError as error:
        fault = error.errors()[0]
        *_, name = "sources", *fault["loc"]
        if fault["type"] == "extra_forbidden":
            raise TaskError(
                f"task: unknown key {name!r}{nearest(str(name), TaskSpec.model_fields)}"
            ) from error
        raise TaskError(f"task, {name}: {fault['msg'].removeprefix('Value error, ')}") from error


def _by_the_same_rule(held_out: TaskSpec, tasks: Sequence[TaskSpec]) -> TaskSpec:
    """The held-out task with the canonical rule of the others: by two rules one question could be
    on both sides.
    """
    rules = {rule_name(spec): spec.canonical or rule_name(spec) for spec in tasks}
    if held_out.canonical is None and len(rules) == 1:
        [rule] = rules.values()
        return held_out.model_copy(update={"canonical": rule})
    if set(rules) != {rule_name(held_out)}:
        raise TaskError(
            f"the held-out task {held_out.label!r} has the canonical rule {rule_name(held_out)!r}"
            f" and training has {', '.join(sorted(rules))}; expected one rule for all, or questions"
            " of both sides cannot be compared"
        )
    return held_out


def _hold_out(
    tasks: dict[str, list[Row]], proportions: Mapping[str, float], count: int
) -> list[Row]:
    """Take questions out of each task, ``count`` in these proportions; one of two tasks is taken
    out of both.
    """
    held: list[Row] = []
    if count:
        for name, number in shares(proportions, count).items():
            held += hold_out(without(tasks[name], held), number)[1]
    for name, rows in tasks.items():
        tasks[name] = without(rows, held)
        if not tasks[name]:
            raise TaskError(
                f"task {name!r}: all its questions are held out for another task, none is left to"
                " train on"
            )
    return held


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns that every one of these rows has, in order of the alphabet."""
    if not rows:
        return ()
    return tuple(sorted(set(rows[0].columns).intersection(*(row.columns for row in rows))))
