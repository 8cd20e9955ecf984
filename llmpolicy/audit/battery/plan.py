"""Which attacks and controls mean anything to a reward: its topics are found by trying them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
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
        self.formats = ["{}"]
        self.topics = {*self._named(words)}
        if self.answers:
            self.formats = self._formats()
            self.topics.update(self._answers())
        self.topics.update(self._shapes())

    @property
    def silent(self) -> bool:
        """Whether a reward that reads answers pays no plain gold answer in any format, and says by
        no example what it pays.
        """
        return self.answers and not self.topics and not self.contract.passes

    def attacks(self, attacks: Iterable[Attack]) -> list[Case]:
        """Every rendering of every attack that this reward can be asked about."""
        return list(chain.from_iterable(map(self._attacked, attacks)))

    def controls(self, controls: Iterable[Control]) -> list[Case]:
        """Every control that this reward can be asked about, in each format it reads."""
        cases: list[Case] = []
        for control in controls:
            if control.topic in self.topics:
                cases += self._right(control)
        return cases

    def _right(self, control: Control) -> Iterator[Case]:
        if control.topic == "judge":
            for columns in self._judged():
                yield Case(control, control.gold, control.text, columns)
        elif control.of_example:
            for completion, columns in self._passing():
                if control.fits(completion):
                    yield Case(control, completion, control.render(completion), columns)
        else:
            texts = [control.text] if control.whole else self.right(control.text)
            for text in texts:
                yield Case(control, control.gold, text, self._columns(control.gold))

    def _judged(self) -> list[Mapping[str, Any]]:
        """The columns of a judge that can be sent to an endpoint: those of its first example, else
        what is needed.
        """
        if not self.endpoint or "base_url" not in self.names:
            return []
        example = next(iter([*self.contract.passes, *self.contract.fails]), {"model": "none"})
        return [{**_columns_of(example), "base_url": self.endpoint}]

    def _passing(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The examples that pass, each as its completion and its columns."""
        for example in self.contract.passes:
            if "completion" in example:
                yield str(example["completion"]), _columns_of(example)

    def right(self, gold: str) -> list[str]:
        """The gold answer in each of the formats."""
        return [form.replace("{}", gold) for form in self.formats]

    def _attacked(self, attack: Attack) -> Iterator[Case]:
        for gold, wrong, columns in self._rows(attack):
            text = attack.render(gold, wrong)
            texts = [text]
            if not attack.whole:
                texts += self.right(text)
            for rendered in dict.fromkeys(texts):
                yield Case(attack, gold, rendered, columns)

    def _rows(self, attack: Attack) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Gold, wrong answer and columns: built here for answers, taken from the contract's
        examples for the rest.
        """
        topics = [topic for topic in attack.topics if topic in self.topics]
        if attack.family == "I":  # bombs are large, and cost the same for any gold
            topics = topics[:1]
        pairs: list[Pair] = []
        for topic in topics:
            pairs += _PAIRS.get(topic, ())
        if attack.pairs and pairs:
            pairs = [pair for pair in attack.pairs if self._pays(pair[0])]
        for gold, wrong in pairs:
            yield gold, wrong, self._columns(gold)
        if "judge" in topics:
            for (gold, wrong), columns in product((NUMBERS[0], TEXTS[0]), self._judged()):
                yield gold, wrong, columns
        if set(topics) - {*_PAIRS, "judge"}:
            examples = list(self._passing())
            for completion, columns in examples:
                yield completion, "", columns
            if not examples and "answer" not in self.names:
                yield "", "", self.others

    def _columns(self, gold: str) -> Mapping[str, Any]:
        if "answer" in self.names:
            return {**self.others, "answer": gold}
        return self.others

    def _pays(self, gold: str, text: str | None = None) -> bool:
        columns = self._columns(gold)
        return any(self.paid(rendered, columns) for rendered in self.right(text or gold))

    def _formats(self) -> list[str]:
        if tuple(self.contract.formats) != ("{}",):
            return list(self.contract.formats)
        paid = []
        for form in COMMON_FORMATS:
            golds = (pairs[0][0] for pairs in _PAIRS.values())
            if any(self.paid(form.replace("{}", gold), self._columns(gold)) for gold in golds):
                paid.append(form)
        return paid or ["{}"]

    def _answers(self) -> Iterable[Topic]:
        plain = []
        for topic, pairs in _PAIRS.items():
            if sum(self._pays(gold) for gold, _ in pairs) >= 2:
                plain.append(topic)
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
