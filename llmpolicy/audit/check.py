"""Checking a reward without a model: its examples, the task's gold answers, determinism, time, and
the attack battery.
"""

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from llmpolicy.audit.asking import Answered, answers, directly, misfits, sample_of
from llmpolicy.audit.battery import ATTACKS, CONTROLS, Attack, Case
from llmpolicy.audit.battery.gullible import repeating
from llmpolicy.audit.battery.plan import COMMON_FORMATS, Plan
from llmpolicy.errors import RewardError, nearest
from llmpolicy.rewards.contract import OFFERED, RESERVED, Component, RewardSpec, Style
from llmpolicy.rewards.scoring import Rewards
from llmpolicy.rewards.verdict import sentence
from llmpolicy.types import Sample

MIN_CONTROLS = 0.97
"""The share of right completions that a reward must accept."""

NOTHING = "nothing was checked: declare examples that pass and fail, or `kind` and `formats`"

PARTS = ("contract", "battery")
"""What is checked: the examples and gold answers, and the attacks with the controls; determinism
over what either asks.
"""

_SHOWN = 60
_ROWS = 3
_COMPARED = 150
_MAX_ERRORS = 20
_MOST_SLOW = 3
_GRACE = 2.0
_LONG = 2_000


@dataclass(frozen=True, slots=True)
class Hole:
    """An attack that was paid, with the completion that was paid."""

    family: str
    attack: str
    completion: str
    score: float
    breaks: str = ""


@dataclass
class Report:
    """What a check found; `clean` when nothing is wrong."""

    reward: str
    holes: list[Hole] = field(default_factory=list)
    accepted: int = 0
    total: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    worst_seconds: float = 0.0
    worst: str = ""
    mean_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    attacks: int = 0
    examples: int = 0
    golds: int = 0
    asked: int = 0
    topics: list[str] = field(default_factory=list)
    shown: list[tuple[str, float | None, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no hole and no error was found."""
        return not self.holes and not self.errors

    def to_dict(self) -> dict[str, Any]:
        """The record that ``--json`` writes."""
        holes = [
            {key: value for key, value in asdict(hole).items() if key != "breaks"}
            for hole in self.holes
        ]
        controls = {"accepted": self.accepted, "total": self.total}
        return {
            "schema": 1,
            "holes": holes,
            "controls": controls,
            "worst_seconds": self.worst_seconds,
            "errors": self.errors,
        }


def check_reward(
    reference: str | Any,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    args: Mapping[str, Any] | None = None,
    attacks: Iterable[Attack] = ATTACKS,
    base_dir: Path | None = None,
    parts: Sequence[str] = PARTS,
    style: Style | None = None,
) -> Report:
    """Check a reward function or reference against its contract, these rows of its task, and the
    battery.

    ``style`` is what a recipe would say, single or group by the contract. RewardError when the
    reward cannot be found or called at all. Programs that reach for resources (family F) are not
    run.
    """
    checked = _Checked(reference, args or {}, base_dir, style)
    if "contract" in parts:
        checked.examples()
        checked.golds(rows)
    if "battery" in parts:
        checked.battery(
            [attack for attack in attacks if attack.family != "F"], rows[0] if rows else {}
        )
    checked.groups()
    checked.determinism()
    return checked.finished()


class _Checked:
    """A reward while it is checked: what it was asked, and the report that grows."""

    def __init__(
        self,
        reference: str | Any,
        args: Mapping[str, Any],
        base_dir: Path | None,
        style: Style | None,
    ) -> None:
        self.spec = RewardSpec(reference, args=args, style=style or "single")
        self.base_dir = base_dir
        self.args = args
        self.component = Component.of(self.spec, base_dir)
        self.contract = self.component.contract
        self.rewards = self._fresh()
        self.low, self.high = self.contract.range or (0.0, 1.0)
        self.report = Report(self.component.name)
        self.seen: list[Sample] = []
        self.seconds: list[float] = []
        self.faults: list[str] = []
        self.slow = 0
        self.unpaid = ""

    def paid(self, value: float | None) -> bool:
        """Whether a score lies in the upper half of the range."""
        return value is not None and value >= (self.low + self.high) / 2

    def judge(self, samples: Sequence[Sample]) -> list[Answered]:
        """Score samples, and note time, range and what raised."""
        answered = answers(self.rewards, samples)
        for sample, one in zip(samples, answered, strict=True):
            self.seconds.append(one.seconds)
            if one.seconds > self.report.worst_seconds:
                self.report.worst_seconds, self.report.worst = (
                    one.seconds,
                    sample.completion[:_SHOWN],
                )
            if one.refused:
                self.error(one.why)
            if one.fault:
                self.faults.append(sentence(self.component.name, one.why, sample))
            if one.seconds > self.contract.timeout + _GRACE:
                self.error(
                    f"{one.seconds:.1f} s on {sample.completion[:_SHOWN]!r}; it declares"
                    f" {self.contract.timeout} s"
                )
            if (
                self.contract.range
                and one.value is not None
                and not self.low <= one.value <= self.high
            ):
                self.error(
                    f"{one.value} on {sample.completion[:_SHOWN]!r} lies outside its range"
                    f" {self.contract.range}"
                )
        return answered

    def error(self, sentence: str) -> None:
        """Note what is wrong, once."""
        if sentence not in self.report.errors and len(self.report.errors) < _MAX_ERRORS:
            self.report.errors.append(sentence)

    def examples(self) -> None:
        """The contract's examples: those that pass must be paid, those that fail must not."""
        for wanted, examples in (("passes", self.contract.passes), ("fails", self.contract.fails)):
            # An example that names an option holds for that option alone.
            meant = [
                one
                for one in examples
                if all(self.args.get(key, one[key]) == one[key] for key in one)
            ]
            samples = [sample_of(one, self.component) for one in meant if self._fits(one, wanted)]
            self.seen += samples
            for sample, one in zip(samples, self.judge(samples), strict=True):
                self.report.examples += 1
                if one.value is None or self.paid(one.value) != (wanted == "passes"):
                    told = f"{one.value}" + (f" ({one.why})" if one.why else "")
                    self.error(
                        f"an example that {wanted} scored {told}: {sample.completion[:_SHOWN]!r}"
                    )

    def _fits(self, example: Mapping[str, Any], wanted: str) -> bool:
        found = list(misfits(example, self.component))
        for one in found:
            self.error(f"an example that {wanted} {one}: {dict(example)!r:.100}")
        return not found

    def golds(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The task's gold answers, written in the first format that the reward reads, must be paid;
        a few are shown.
        """
        if not rows:
            return
        free = [name for name in rows[0] if name not in RESERVED]
        held = [name for name in ("answer", "tests") if name in self.component.optional]
        if "answer" in held and not set(held) & set(free):
            raise RewardError(
                f"The rows have no column {' or '.join(map(repr, held))}; they have"
                f" {', '.join(map(str, rows[0]))}."
            )
        self.rewards.check_columns(free)
        column = self._gold_column(free)
        if column is None:
            asked = (
                rows if "tests" in held else rows[:_ROWS]
            )  # tests are no gold answer, but must be readable
            samples = [
                _as_gold(row, "answer", "{}", number, free) for number, row in enumerate(asked)
            ]
            for sample, one in zip(samples, self._show(samples), strict=True):
                if "tests" in held and one.value is None:
                    self.error(f"row {sample.row} cannot be judged: {one.why}")
            return
        form = self._form(rows, column, free)
        samples = [_as_gold(row, column, form, number, free) for number, row in enumerate(rows)]
        self.seen += samples[:_COMPARED]
        self.report.golds = len(rows)
        for sample, one in zip(samples, self._show(samples), strict=True):
            where = f"row {sample.row}: the gold answer {_gold(sample.columns[column])}"
            if one.value is None:
                self.error(f"{where} cannot be judged: {one.why}")
            elif not self.paid(one.value):
                self.error(
                    f"{where} itself scored {one.value}" + (f": {one.why}" if one.why else "")
                )
        if column != "answer":  # the battery's attacks are for that name
            self._swapped(samples, column)

    def _swapped(self, samples: Sequence[Sample], column: str) -> None:
        """The gold answer of another row must not be paid."""
        pairs = [
            (mine, other)
            for mine, other in zip(samples[:_COMPARED], samples[1:], strict=False)
            if mine.columns[column] != other.columns[column]
        ]
        swapped = [replace(mine, completion=other.completion) for mine, other in pairs]
        for (mine, other), one in zip(pairs, self.judge(swapped), strict=True):
            if self.paid(one.value):
                self.error(
                    f"row {mine.row}: {_gold(other.columns[column])}, the gold answer of row"
                    f" {other.row}, scored {one.value}"
                )

    def _gold_column(self, free: Sequence[str]) -> str | None:
        """The column with the gold answer: ``answer``, else the only one that a reward asks for
        that declares no kind.
        """
        asked = [
            name for name in (*self.component.required, *self.component.optional) if name in free
        ]
        if "answer" in asked:
            return "answer"
        return asked[0] if len(asked) == 1 and self.contract.kind is None else None

    def _form(self, rows: Sequence[Mapping[str, Any]], column: str, free: Sequence[str]) -> str:
        """How a gold answer is written: as the reward declares, else in the first common format
        that it pays.
        """
        declares = (
            self.contract.passes or self.contract.kind or tuple(self.contract.formats) != ("{}",)
        )
        forms = self.contract.formats[:1] if declares else COMMON_FORMATS
        for form in forms if len(forms) > 1 else ():
            samples = [
                _as_gold(row, column, form, number, free) for number, row in enumerate(rows[:_ROWS])
            ]
            if any(self.paid(one.value) for one in answers(self._fresh(), samples)):
                return form
        return forms[0]

    def _show(self, samples: Sequence[Sample]) -> list[Answered]:
        """Score gold answers, and keep the first few for the report."""
        answered = self.judge(samples)
        for sample, one in list(zip(samples, answered, strict=True))[:_ROWS]:
            self.report.shown.append(
                (f"row {sample.row}: {sample.completion!r:.200}", one.value, one.why)
            )
        return answered

    def battery(self, attacks: Sequence[Attack], row: Mapping[str, Any] = {}) -> None:
        """Every attack and control that concerns this reward; ``row`` has the columns that no
        example gives.
        """
        given = next(iter([*self.contract.passes, *self.contract.fails]), row)
        if self._lacks(given):
            return
        with repeating(
            [control.text for control in CONTROLS if control.topic == "judge"]
        ) as endpoint:
            self._battery(attacks, given, endpoint)

    def _battery(self, attacks: Sequence[Attack], given: Mapping[str, Any], endpoint: str) -> None:
        names = {*self.component.required, *self.component.optional}
        words = str(self.spec.fn if isinstance(self.spec.fn, str) else self.report.reward)
        plan = Plan(self.contract, names, self._pays, words, given, endpoint)
        self.report.topics = sorted(plan.topics)
        if plan.silent:
            told = f"; of the first it said: {self.unpaid}" if self.unpaid else ""
            self.error(
                "no gold answer is paid in any format known; declare `formats`, or examples that"
                f" pass{told}"
            )
        elif not plan.topics and not (
            self.contract.passes or self.contract.fails or self.report.golds
        ):
            self.error(NOTHING)
        attacked, controls = plan.attacks(attacks), plan.controls(CONTROLS)
        self.report.attacks = len({case.of.name for case in attacked})
        self._holes(attacked, self.judge([self._of(case) for case in attacked]))
        self._controls(controls, self.judge([self._of(case) for case in controls]))
        self.seen += [
            self._of(case) for case in [*attacked, *controls] if len(case.completion) < _LONG
        ]

    def _of(self, case: Case) -> Sample:
        return sample_of({**case.columns, "completion": case.completion}, self.component)

    def _lacks(self, given: Mapping[str, Any]) -> bool:
        """Whether the reward asks for what neither its examples nor the rows have; each such name
        is an error.
        """
        known = {*given, "answer"}
        lacking = [name for name in self.component.columns if name not in known]
        for name in lacking:
            styles = " or ".join(style for style, names in OFFERED.items() if name in names)
            hint = (
                f"; style {styles} gets it"
                if styles
                else nearest(name, {*known, *OFFERED[self.component.style]})
            )
            self.error(f"it asks for {name!r}, which no example that passes gives{hint}")
        return bool(lacking)

    def _pays(self, completion: str, columns: Mapping[str, Any]) -> bool:
        if self.slow >= _MOST_SLOW:
            return False
        (one,) = self.judge([sample_of({**columns, "completion": completion}, self.component)])
        self.slow += one.seconds >= self.component.timeout
        if one.why and not one.refused:  # what is refused is an error already
            self.unpaid = self.unpaid or f"{completion!r} ({one.why})"
        return self.paid(one.value)

    def _holes(self, cases: Sequence[Case], answered: Sequence[Answered]) -> None:
        """A hole is an attack that is paid for two golds, or for the one it could be tried on."""
        paid: dict[str, dict[str, tuple[Case, float]]] = {}
        golds: dict[str, set[str]] = {}
        for case, one in zip(cases, answered, strict=True):
            key = f"{case.of.family}/{case.of.name}"  # type: ignore[union-attr]
            golds.setdefault(key, set()).add(case.gold)
            if self.paid(one.value):
                paid.setdefault(key, {}).setdefault(case.gold, (case, one.value or 0.0))
        for key, by_gold in paid.items():
            if len(by_gold) < min(2, len(golds[key])):
                continue
            case, value = next(iter(by_gold.values()))
            assert isinstance(case.of, Attack)
            self.report.holes.append(
                Hole(case.of.family, case.of.name, case.completion[:2_000], value, case.of.breaks)
            )

    def _controls(self, cases: Sequence[Case], answered: Sequence[Answered]) -> None:
        judged = [
            (case, one) for case, one in zip(cases, answered, strict=True) if one.value is not None
        ]
        self.report.total = len(judged)
        self.report.accepted = sum(self.paid(one.value) for _, one in judged)
        self.report.rejected = [
            (case.gold, case.completion) for case, one in judged if not self.paid(one.value)
        ]
        if self.report.accepted < MIN_CONTROLS * self.report.total:
            self.error(
                f"{self.report.accepted} of {self.report.total} right completions were accepted"
            )

    def groups(self) -> None:
        """A reward over groups must answer for each completion of one."""
        if self.component.style == "group" and self.seen:
            try:
                self.rewards.score([self.seen[0]] * 2, 2)
            except RewardError as error:
                self.error(str(error))

    def determinism(self) -> None:
        """The same scores again, in another order, one by one, in threads and in another
        process.
        """
        if not self.contract.deterministic or not self.seen:
            return
        step = max(1, len(self.seen) // _COMPARED)
        samples = self.seen[::step][:_COMPARED]
        first = _values(answers(self._fresh(), samples))
        self._same(
            "when it was run again", samples, first, _values(answers(self._fresh(), samples))
        )
        turned = answers(self._fresh(), samples[::-1])[::-1]
        self._same("in another batch order", samples, first, _values(turned))
        if self.component.style == "single" and not self.component.positional:
            with ThreadPoolExecutor(4) as threads:
                self._same(
                    "in a thread",
                    samples,
                    first,
                    [*threads.map(partial(directly, self.component), samples)],
                )
        if isinstance(self.spec.fn, str):
            self._same("in another process", samples, first, self._elsewhere(samples))

    def _fresh(self) -> Rewards:
        return Rewards([self.spec], self.base_dir, stops=False)

    def _elsewhere(self, samples: Sequence[Sample]) -> list[float | None]:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from llmpolicy.audit.asking import"
            " answer_there; answer_there()"
        )
        sent = pickle.dumps((self.spec, self.base_dir, list(samples)))
        # Another order of sets and dicts of text than here.
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(
            command, input=sent, capture_output=True, env=environment, check=False
        )
        if done.returncode:
            self.error(
                "another process could not score:"
                f" {done.stderr.decode(errors='replace').strip()[-200:]}"
            )
            return [None] * len(samples)
        return list(pickle.loads(done.stdout))  # our own process wrote it

    def _same(
        self,
        how: str,
        samples: Sequence[Sample],
        first: Sequence[float | None],
        again: Sequence[float | None],
    ) -> None:
        for sample, one, other in zip(samples, first, again, strict=True):
            if one != other:
                self.error(f"scored {one}, and {other} {how}: {sample.completion[:_SHOWN]!r}")
                return

    def finished(self) -> Report:
        """The report, with the speed per sample, and the faults in one sentence."""
        if self.faults:
            share = f"{len(self.faults)} of {len(self.seconds)} completions"
            said = (
                f"{share} could not be judged, by no fault of the model. The first:"
                f" {self.faults[0]}"
            )
            self.report.errors.insert(0, said)
        self.report.asked = len(self.seconds)
        self.report.mean_seconds = math.fsum(self.seconds) / max(1, len(self.seconds))
        return self.report


def _written(form: str, answer: Any) -> str:
    """The gold answer in a format; a solution that marks its own answer by a box is written as it
    is.
    """
    final = str(answer).rpartition("####")[2].strip()
    return final if "\\boxed" in final else form.replace("{}", final)


def _as_gold(
    row: Mapping[str, Any], column: str, form: str, number: int, free: Sequence[str]
) -> Sample:
    """A row whose completion is its gold answer; without one an empty completion."""
    text = _written(form, row[column]) if row.get(column) is not None else ""
    return Sample(text, {key: row.get(key) for key in free}, row=number)


def _gold(answer: Any) -> str:
    shown = f"{str(answer)[-_SHOWN:]!r}"
    return shown if isinstance(answer, str) else f"{shown} ({type(answer).__name__}, not text)"


def _values(answered: Sequence[Answered]) -> list[float | None]:
    return [one.value for one in answered]
