"""Checking a reward without a model: its examples, the task's gold answers, determinism, time, and the attack battery."""

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmpolicy.errors import RewardError
from llmpolicy.rewards.battery import ATTACKS, CONTROLS, Attack, Case
from llmpolicy.rewards.battery.gullible import repeating
from llmpolicy.rewards.battery.plan import Plan
from llmpolicy.rewards.contract import RESERVED, Component, RewardSpec
from llmpolicy.rewards.declare import Contract, contract_of
from llmpolicy.rewards.scoring import Rewards
from llmpolicy.types import Sample

MIN_CONTROLS = 0.97
"""The share of right completions that a reward must accept."""

PARTS = ("contract", "battery")
"""What is checked: the examples and gold answers, and the attacks with the controls; determinism over what either asks."""

_SHOWN = 60
_COMPARED = 150
_MAX_ERRORS = 20
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


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reward said of one sample: its value, or what went wrong."""

    value: float | None
    why: str
    seconds: float
    raised: bool = False


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
    topics: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no hole and no error was found."""
        return not self.holes and not self.errors

    def to_dict(self) -> dict[str, Any]:
        """The record that ``--json`` writes."""
        holes = [{key: value for key, value in asdict(hole).items() if key != "breaks"} for hole in self.holes]
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
) -> Report:
    """Check a reward function or reference against its contract, these rows of its task, and the battery.

    RewardError when the reward cannot be found or called at all. Programs that reach for resources (family F) are not run.
    """
    checked = _Checked(reference, args or {}, base_dir)
    if "contract" in parts:
        checked.examples()
        checked.golds(rows)
    if "battery" in parts:
        checked.battery([attack for attack in attacks if attack.family != "F"])
    checked.determinism()
    return checked.finished()


class _Checked:
    """A reward while it is checked: what it was asked, and the report that grows."""

    def __init__(self, reference: str | Any, args: Mapping[str, Any], base_dir: Path | None) -> None:
        component = Component.of(RewardSpec(reference, args=args), base_dir)
        self.contract: Contract = contract_of(component.function)
        style = "group" if self.contract.group else "single"
        self.spec = RewardSpec(reference, args=args, style=style)  # type: ignore[arg-type]
        self.base_dir = base_dir
        self.component = Component.of(self.spec, base_dir)
        self.rewards = Rewards([self.spec], base_dir)
        self.low, self.high = self.contract.range or (0.0, 1.0)
        self.report = Report(self.component.name)
        self.seen: list[Sample] = []
        self.said: dict[str, float | None] = {}
        self.seconds: list[float] = []

    def paid(self, value: float | None) -> bool:
        """Whether a score lies in the upper half of the range."""
        return value is not None and value >= (self.low + self.high) / 2

    def ask(self, samples: Sequence[Sample], rewards: Rewards | None = None) -> list[Answered]:
        """Score samples together; where that stops, one by one, so that the one at fault is named."""
        if not samples:
            return []
        try:
            scored = (rewards or self.rewards).score(samples, 1)
        except RewardError as error:
            if len(samples) == 1:
                return [Answered(None, str(error), 0.0, raised=True)]
            return [answered for sample in samples for answered in self.ask([sample], rewards)]
        parts = [row.parts[self.component.name] for row in scored]
        return [
            Answered(part.value, part.why, row.seconds) for part, row in zip(parts, scored, strict=True)
        ]  # fmt: skip

    def judge(self, samples: Sequence[Sample], rewards: Rewards | None = None) -> list[Answered]:
        """Score samples, and note time, range and what raised."""
        answered = self.ask(samples, rewards)
        for sample, one in zip(samples, answered, strict=True):
            self.seconds.append(one.seconds)
            if one.seconds > self.report.worst_seconds:
                self.report.worst_seconds, self.report.worst = one.seconds, sample.completion[:_SHOWN]
            if one.raised:
                self.error(one.why)
            if one.seconds > self.contract.timeout + _GRACE:
                self.error(
                    f"{one.seconds:.1f} s on {sample.completion[:_SHOWN]!r}; it declares {self.contract.timeout} s"
                )
            if self.contract.range and one.value is not None and not self.low <= one.value <= self.high:
                self.error(
                    f"{one.value} on {sample.completion[:_SHOWN]!r} lies outside its range {self.contract.range}"
                )
        return answered

    def error(self, sentence: str) -> None:
        """Note what is wrong, once."""
        if sentence not in self.report.errors and len(self.report.errors) < _MAX_ERRORS:
            self.report.errors.append(sentence)

    def examples(self) -> None:
        """The contract's examples: those that pass must be paid, those that fail must not."""
        for wanted, examples in (("passes", self.contract.passes), ("fails", self.contract.fails)):
            samples = [_sample(example, self.component) for example in examples]
            self.seen += samples
            for sample, one in zip(samples, self.judge(samples), strict=True):
                self.report.examples += 1
                if one.value is None or self.paid(one.value) != (wanted == "passes"):
                    told = f"{one.value}" + (f" ({one.why})" if one.why else "")
                    self.error(f"an example that {wanted} scored {told}: {sample.completion[:_SHOWN]!r}")

    def golds(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The task's gold answers, written in the first format that the reward reads, must be paid."""
        if not rows or "answer" not in {*self.component.required, *self.component.optional}:
            return
        if "answer" not in rows[0]:
            raise RewardError(f"The rows have no column 'answer'; they have {', '.join(map(str, rows[0]))}.")
        first = self.contract.formats[0]
        samples = [Sample(_written(first, row["answer"]), dict(row), row=i) for i, row in enumerate(rows)]
        free = [name for name in samples[0].columns if name not in RESERVED]
        samples = [Sample(s.completion, {key: s.columns[key] for key in free}, row=s.row) for s in samples]
        self.rewards.check_columns(free)
        self.seen += samples[:_COMPARED]
        self.report.golds = len(rows)
        for sample, one in zip(samples, self.judge(samples), strict=True):
            gold = str(sample.columns["answer"])[-_SHOWN:]
            if one.value is None:
                self.error(f"row {sample.row}: the gold answer {gold!r} cannot be judged: {one.why}")
            elif not self.paid(one.value):
                self.error(f"row {sample.row}: the gold answer {gold!r} itself scored {one.value}: {one.why}")

    def battery(self, attacks: Sequence[Attack]) -> None:
        """Every attack and control that concerns this reward."""
        with repeating([control.text for control in CONTROLS if control.topic == "judge"]) as endpoint:
            self._battery(attacks, endpoint)

    def _battery(self, attacks: Sequence[Attack], endpoint: str) -> None:
        names = {*self.component.required, *self.component.optional}
        words = str(self.spec.fn if isinstance(self.spec.fn, str) else self.report.reward)
        plan = Plan(self.contract, names, self._pays, words, endpoint)
        self.report.topics = sorted(plan.topics)
        if plan.silent:
            self.error("no gold answer is paid in any format known; declare `formats`, or examples that pass")
        attacked, controls = plan.attacks(attacks), plan.controls(CONTROLS)
        self.report.attacks = len({case.of.name for case in attacked})
        self._holes(attacked, self.judge([self._of(case) for case in attacked]))
        self._controls(controls, self.judge([self._of(case) for case in controls]))
        self.seen += [self._of(case) for case in [*attacked, *controls] if len(case.completion) < _LONG]

    def _of(self, case: Case) -> Sample:
        return _sample({**case.columns, "completion": case.completion}, self.component)

    def _pays(self, completion: str, columns: Mapping[str, Any]) -> bool:
        return self.paid(self.ask([Sample(completion, dict(columns))])[0].value)

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
            self.report.holes.append(Hole(case.of.family, case.of.name, case.completion[:2_000], value, case.of.breaks))

    def _controls(self, cases: Sequence[Case], answered: Sequence[Answered]) -> None:
        judged = [(case, one) for case, one in zip(cases, answered, strict=True) if one.value is not None]
        self.report.total = len(judged)
        self.report.accepted = sum(self.paid(one.value) for _, one in judged)
        self.report.rejected = [(case.gold, case.completion) for case, one in judged if not self.paid(one.value)]
        if self.report.accepted < MIN_CONTROLS * self.report.total:
            self.error(f"{self.report.accepted} of {self.report.total} right completions were accepted")

    def determinism(self) -> None:
        """The same scores again, in another order, one by one, in threads and in another process."""
        if not self.contract.deterministic or not self.seen:
            return
        step = max(1, len(self.seen) // _COMPARED)
        samples = self.seen[::step][:_COMPARED]
        first = _values(self.ask(samples, self._fresh()))
        self._same("when it was run again", samples, first, _values(self.ask(samples, self._fresh())))
        turned = self.ask(samples[::-1], self._fresh())[::-1]
        self._same("in another batch order", samples, first, _values(turned))
        if self.component.style == "single" and not self.component.positional:
            with ThreadPoolExecutor(4) as threads:
                self._same("in a thread", samples, first, list(threads.map(self._direct, samples)))
        if isinstance(self.spec.fn, str):
            self._same("in another process", samples, first, self._elsewhere(samples))

    def _fresh(self) -> Rewards:
        return Rewards([self.spec], self.base_dir)

    def _direct(self, sample: Sample) -> float | None:
        known = {**sample.columns, **{name: getattr(sample, name) for name in RESERVED}}
        wanted = known if self.component.takes_all else (*self.component.required, *self.component.optional)
        named = {name: known[name] for name in wanted if name in known} | dict(self.component.fixed)
        try:
            returned = self.component.function(**named)
        except Exception:  # noqa: BLE001 - told by the run that was compared with
            return None
        value = getattr(returned, "value", returned)
        return None if value is None or not isinstance(value, int | float) else float(value)

    def _elsewhere(self, samples: Sequence[Sample]) -> list[float | None]:
        code = "from llmpolicy.rewards.check import answer_there; answer_there()"
        sent = pickle.dumps((self.spec, self.base_dir, list(samples)))
        # Another order of sets and dicts of text than here.
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, input=sent, capture_output=True, env=environment, check=False)
        if done.returncode:
            self.error(f"another process could not score: {done.stderr.decode(errors='replace').strip()[-200:]}")
            return [None] * len(samples)
        return list(pickle.loads(done.stdout))  # our own process wrote it

    def _same(
        self, how: str, samples: Sequence[Sample], first: Sequence[float | None], again: Sequence[float | None]
    ) -> None:
        for sample, one, other in zip(samples, first, again, strict=True):
            if one != other:
                self.error(f"scored {one}, and {other} {how}: {sample.completion[:_SHOWN]!r}")
                return

    def finished(self) -> Report:
        """The report, with the speed per sample."""
        self.report.mean_seconds = math.fsum(self.seconds) / max(1, len(self.seconds))
        return self.report


def answer_there() -> None:
    """What a second process does: read samples from stdin, write their values to stdout."""
    out = sys.stdout.buffer
    spec, base_dir, samples = pickle.loads(sys.stdin.buffer.read())
    sys.stdout = sys.stderr
    style = spec.style
    rewards = Rewards([spec], base_dir)
    scored = rewards.score(samples, 1 if style == "group" else None)
    out.write(pickle.dumps([next(iter(row.parts.values())).value for row in scored]))
    out.flush()


def _written(form: str, answer: Any) -> str:
    """The gold answer in a format; a solution that marks its own answer by a box is written as it is."""
    final = str(answer).rpartition("####")[2].strip()
    return final if "\\boxed" in final else form.replace("{}", final)


def _values(answered: Sequence[Answered]) -> list[float | None]:
    return [one.value for one in answered]


def _sample(example: Mapping[str, Any], component: Component) -> Sample:
    """A call that an example states, as the sample that leads to it."""
    reserved = {key: value for key, value in example.items() if key in RESERVED}
    columns = {key: value for key, value in example.items() if key not in RESERVED and key not in component.fixed}
    return Sample(columns=columns, **{"completion": "", **reserved})
