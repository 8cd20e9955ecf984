"""What a run has left, as the checks read it: its steps, and its completions by group."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.errors import RunError
from llmpolicy.run import Run
from llmpolicy.run.answers import read_answers

Record = Mapping[str, Any]

HEAVY = ("raw", "token_ids", "log_probs", "schema", "mode", "terminated", "seconds", "environment")
"""What of rows is not read: a hundred thousand of them must fit."""
LATE = 0.25
"""The share of a run that is its end."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What was written once. ``place`` is STEP:NUMBER, its number among the completions of that
    step; ``text`` is a dialogue's whole, ``parts`` are the rewards by name, ``calls`` the answers
    of tools in it.
    """

    place: str
    step: int
    group: int
    row: int | None
    prompt: str
    text: str
    reward: float | None
    parts: Mapping[str, float | None]
    advantage: float | None
    truncated: bool
    ended: str = ""
    why: str = ""
    calls: int = 0


@dataclass(frozen=True)
class Evidence:
    """The lines of a run's metrics in order of step, its completions, its recipe as it was asked
    for and as TRL had it, what it reached, and the prompts that were held out.
    """

    steps: Sequence[Record]
    completions: Sequence[Completion]
    looks: Sequence[Record] = ()
    recipe: Record = field(default_factory=dict)
    settings: Record = field(default_factory=dict)
    evaluation: Record | None = None
    held_out: Sequence[str] = ()

    def column(self, name: str) -> list[tuple[int, float]]:
        """Step and value of a figure, where it is a number, infinities and NaN left out."""
        pairs = [(int(line["step"]), number_of(line.get(name))) for line in self.steps]
        return [(step, value) for step, value in pairs if value is not None]

    def values(self, name: str) -> list[float]:
        """The values of a figure, in order of step."""
        return [value for _, value in self.column(name)]

    @cached_property
    def interval(self) -> int:
        """How many steps lie from one line to the next, as a rule."""
        steps = [int(line["step"]) for line in self.steps]
        apart = [later - step for step, later in itertools.pairwise(steps)]
        return int(median(apart)) if apart else 1

    @cached_property
    def last_step(self) -> int:
        """The last step that anything is known of."""
        known = [line["step"] for line in self.steps] + [
            completion.step for completion in self.completions
        ]
        return max(known, default=0)

    @cached_property
    def groups(self) -> list[list[Completion]]:
        """Completions of one prompt that were compared, in order of step."""
        ordered = sorted(self.completions, key=_group)
        return [list(members) for _, members in itertools.groupby(ordered, _group)]

    @cached_property
    def late(self) -> list[list[Completion]]:
        """The groups of the last quarter of the steps."""
        first = self.last_step * (1 - LATE)
        return [group for group in self.groups if group[0].step > first]

    @cached_property
    def early(self) -> list[list[Completion]]:
        """The groups of the first quarter of the steps."""
        last = max(self.last_step * LATE, 1)
        return [group for group in self.groups if group[0].step <= last]

    @cached_property
    def _paid(self) -> list[float]:
        return [
            completion.reward for completion in self.completions if completion.reward is not None
        ]

    @cached_property
    def top(self) -> float:
        """The largest reward that was paid; 0 where none was."""
        return max(self._paid, default=0.0)

    @cached_property
    def bottom(self) -> float:
        """The smallest reward that was paid; 0 where none was."""
        return min(self._paid, default=0.0)

    def until(self, step: int) -> "Evidence":
        """What was there after a step: what is measured at the end only where that is the last
        one.
        """
        return replace(
            self,
            steps=[line for line in self.steps if line["step"] <= step],
            completions=[completion for completion in self.completions if completion.step <= step],
            looks=[look for look in self.looks if look["step"] <= step],
            evaluation=self.evaluation if step >= self.last_step else None,
        )


def of_run(run: Run, completions: Sequence[Completion] | None = None) -> Evidence:
    """What a run of ours has left, with these completions of it or all; RunError where it has
    neither steps nor completions.
    """
    lines = run.metrics()
    steps = [line for line in lines if line["mode"] == "train" and "reward" in line]
    if completions is None:
        completions = list(completions_of(run.rollouts("train", without=HEAVY)))
    if not steps and not completions:
        raise RunError(f"{run.path} has no steps of training yet: nothing can be said of it")
    return Evidence(
        steps,
        completions,
        [line for line in lines if line["mode"] == "eval"],
        run.recipe,
        _settings(run.path),
        run.evaluation(),
        _held_out(run.path),
    )


def _settings(folder: Path) -> Record:
    """The trainer's options; none where they were not written, or cannot be read."""
    try:
        settings = load_json((folder / "grpo_config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _held_out(folder: Path) -> list[str]:
    """The prompts that answers were kept of."""
    try:
        return [answer["prompt"] for answer in read_answers(folder)]
    except RunError:
        return []


def completions_of(rows: Iterable[Record]) -> Iterator[Completion]:
    """The completions of rows of a run, which are in order of step."""
    for step, of_step in itertools.groupby(rows, itemgetter("step")):
        names = list[str]()
        for number, row in enumerate(of_step):
            if number == 0:  # the rows of a step have the same columns
                names = [name for name in row if name.startswith("reward/")]
            yield _completion(row, step, number, names)


def _completion(row: Record, step: int, number: int, names: Sequence[str]) -> Completion:
    parts = {name.removeprefix("reward/"): number_of(row.get(name)) for name in names}
    turns, group = row.get("turns") or (), row.get("group")
    talk = " | ".join([turn["text"] for turn in turns[1:]])
    return Completion(
        place=f"{step}:{number}",
        step=step,
        group=number if group is None else group,
        row=row.get("row"),
        prompt=row.get("prompt") or "",
        text=talk or row.get("completion") or "",
        reward=number_of(row.get("reward")),
        parts=parts,
        advantage=number_of(row.get("advantage")),
        truncated=bool(row.get("truncated")),
        ended=row.get("ended") or "",
        why=row.get("why") or "",
        calls=[turn["role"] for turn in turns].count("tool"),
    )


def late_of(values: Sequence[float]) -> Sequence[float]:
    """The last quarter of some values, one at least."""
    return values[-max(1, int(len(values) * LATE)) :]


def _group(completion: Completion) -> tuple[int, int]:
    return completion.step, completion.group


def number_of(value: Any) -> float | None:
    """A finite number, or None: NaN, infinities and what is no number say nothing."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    except OverflowError:  # an integer beyond every float
        return None
