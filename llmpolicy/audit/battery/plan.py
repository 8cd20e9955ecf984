"""Which attacks and controls mean anything to a reward: its topics are found by trying them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llmpolicy.audit.battery.record import (
    LETTERS,
    NUMBERS,
    TEXTS,
    Attack,
    Case,
    Control,
    Pair,
    Topic,
)
from llmpolicy.rewards.declare import COMMON_FORMATS, Contract

Paid = Callable[[str, Mapping[str, Any]], bool]
"""Whether a reward pays a completion of a row with these columns."""

_PAIRS: Mapping[Topic, tuple[Pair, ...]] = {"number": NUMBERS, "text": TEXTS, "letter": LETTERS}
_SHAPES: Sequence[tuple[Topic, str]] = (
    ("think", "<think>Two and two.</think>four"),
    ("tags", "<think>Two and two.</think><answer>four</answer>"),
    ("box", "\\boxed{4}"),
    ("json", '{"a": 1}'),
)
_NAMED: tuple[Topic, ...] = (
    "repetition",
    "language",
    "tool",
    "citation",
    "judge",
    "schema",
    "instructions",
)
_BUILT = ("completion", "answer", "prompt", "choices")


class Plan:
    """The topics and formats of one reward, and the cases that follow from them."""

    def __init__(
        self,
        contract: Contract,
        names: Iterable[str],
        paid: Paid,
        words: str,
        row: Mapping[str, Any],
        endpoint: str = "",
    ) -> None:
        """``names`` are the reward's parameters, ``words`` its module and name, ``row`` one
        with its other columns.

        ``endpoint`` is where a judge may be asked.
        """
        self.contract, self.paid, self.endpoint = contract, paid, endpoint
        self.names = set(names)
        self.others = {key: value for key, value in row.items() if key not in _BUILT}
        self.answers = contract.kind == "answer" or (
            contract.kind is None and "answer" in self.names
        )
        self.formats = self._formats() if self.answers else ["{}"]
        self.topics = {
            *self._named(words),
            *(self._answers() if self.answers else ()),
            *self._shapes(),
        }

    @property
    def silent(self) -> bool:
        """Whether a reward that reads answers pays no plain gold answer in any format, and says by
        no example what it pays.
        """
        return self.answers and not self.topics and not self.contract.passes

    def attacks(self, attacks: Iterable[Attack]) -> list[Case]:
        """Every rendering of every attack that this reward can be asked about."""
        return [case for attack in attacks for case in self._attacked(attack)]

    def controls(self, controls: Iterable[Control]) -> list[Case]:
        """Every control that this reward can be asked about, in each format it reads."""
        return [
            case
            for control in controls
            if control.topic in self.topics
            for case in self._right(control)
        ]

    def _right(self, control: Control) -> list[Case]:
        if control.topic == "judge":
            return [
                Case(control, control.gold, control.text, columns) for columns in self._judged()
            ]
        if control.of_example:
            return [
                Case(
                    control,
                    str(example["completion"]),
                    control.render(str(example["completion"])),
                    _columns_of(example),
                )
                for example in self.contract.passes
                if control.fits(str(example.get("completion", "")))
            ]
        texts = (
            [control.text]
            if control.whole
            else [form.replace("{}", control.text) for form in self.formats]
        )
        return [Case(control, control.gold, text, self._columns(control.gold)) for text in texts]

    def _judged(self) -> list[Mapping[str, Any]]:
        """The columns of a judge that can be sent to an endpoint: those of its first example, else
        what is needed.
        """
        if not self.endpoint or "base_url" not in self.names:
            return []
        example = next(iter([*self.contract.passes, *self.contract.fails]), {"model": "none"})
        return [{**_columns_of(example), "base_url": self.endpoint}]

    def right(self, gold: str) -> list[str]:
        """The gold answer in each of the formats."""
        return [form.replace("{}", gold) for form in self.formats]

    def _attacked(self, attack: Attack) -> list[Case]:
        cases = []
        for gold, wrong, columns in self._rows(attack):
            text = attack.render(gold, wrong)
            texts = (
                [text]
                if attack.whole
                else [text, *(form.replace("{}", text) for form in self.formats)]
            )
            cases += [Case(attack, gold, rendered, columns) for rendered in dict.fromkeys(texts)]
        return cases

    def _rows(self, attack: Attack) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Gold, wrong answer and columns: built here for answers, taken from the contract's
        examples for the rest.
        """
        topics = [topic for topic in attack.topics if topic in self.topics]
        # Bombs are large, and cost the same for any gold.
        topics = topics[:1] if attack.family == "I" else topics
        pairs = [pair for topic in topics for pair in _PAIRS.get(topic, ())]
        if attack.pairs and pairs:
            pairs = [pair for pair in attack.pairs if self._pays(pair[0])]
        rows = [(gold, wrong, self._columns(gold)) for gold, wrong in pairs]
        if "judge" in topics:
            rows += [
                (gold, wrong, columns)
                for gold, wrong in (NUMBERS[0], TEXTS[0])
                for columns in self._judged()
            ]
            topics.remove("judge")
        if any(topic not in _PAIRS for topic in topics):
            rows += [
                (str(example["completion"]), "", _columns_of(example))
                for example in self.contract.passes
                if "completion" in example
            ] or ([] if "answer" in self.names else [("", "", self.others)])
        return rows

    def _columns(self, gold: str) -> Mapping[str, Any]:
        return {**self.others, "answer": gold} if "answer" in self.names else self.others

    def _pays(self, gold: str, text: str | None = None) -> bool:
        return any(
            self.paid(form.replace("{}", text or gold), self._columns(gold))
            for form in self.formats
        )

    def _formats(self) -> list[str]:
        if tuple(self.contract.formats) != ("{}",):
            return list(self.contract.formats)
        golds = [pairs[0][0] for pairs in _PAIRS.values()]
        paid = [
            form
            for form in COMMON_FORMATS
            if any(self.paid(form.replace("{}", gold), self._columns(gold)) for gold in golds)
        ]
        return paid or ["{}"]

    def _answers(self) -> Iterable[Topic]:
        plain = [
            topic
            for topic, pairs in _PAIRS.items()
            if sum(self._pays(gold) for gold, _ in pairs) >= 2
        ]
        yield from plain
        if "number" in plain and self._pays("42", "42.0"):
            yield "equal"
        if "number" in plain and self._pays("x^2+2x+1", "(x+1)^2"):
            yield "algebra"
        if len(self.formats) > 1 and "number" in plain:
            yield "chat"
            yield "sums"
        if len(self.formats) > 1 and plain == ["letter"]:
            yield "choice"

    def _shapes(self) -> Iterable[Topic]:
        if self.contract.kind in (None, "format") and "answer" not in self.names:
            shaped = [topic for topic, text in _SHAPES if self.paid(text, self.others)]
            # One that pays any text, such as a length, does not look at shapes.
            if shaped and (self.contract.kind == "format" or not self.paid("four", self.others)):
                yield shaped[0]

    def _named(self, words: str) -> Iterable[Topic]:
        """The topics of the other families, which a reward's kind, name or parameters tell."""
        if self.contract.kind == "code":
            yield "code"
        parts = re.findall("[a-z]+", words.lower())
        for topic in _NAMED:
            if topic in parts or topic in self.names or self.contract.kind == topic:
                yield topic


def _columns_of(example: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in example.items() if key != "completion"}
