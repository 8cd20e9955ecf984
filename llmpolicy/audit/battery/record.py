"""What the battery is made of: an attack is a wrong completion that some design pays, a control a
right one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"]
FAMILIES: Mapping[str, str] = {
    "A": "answer text",
    "B": "exact, multiple choice, patterns",
    "C": "format and JSON",
    "D": "length, repetition, language",
    "E": "code that tampers with its grader",
    "F": "code that takes resources or escapes",
    "G": "judges",
    "H": "tools and citations",
    "I": "denial of service by text",
}

Topic = Literal[
    "number",
    "text",
    "letter",
    "equal",
    "algebra",
    "chat",
    "sums",
    "choice",
    "think",
    "tags",
    "box",
    "json",
    "schema",
    "repetition",
    "length",
    "language",
    "code",
    "escape",
    "judge",
    "tool",
    "citation",
    "instructions",
]
"""What a reward must read for an attack to mean anything to it; `plan` finds the topics of a reward
by trying them.
"""

Text = str | Callable[[str, str], str]
"""A completion with ``{gold}`` and ``{wrong}`` in it, or a function of both."""

Pair = tuple[str, str]
"""A right answer and a wrong one."""

NUMBERS: tuple[Pair, ...] = (("42", "41"), ("7", "8"), ("360", "361"))
TEXTS: tuple[Pair, ...] = (("Paris", "London"), ("oxygen", "helium"), ("blue", "green"))
LETTERS: tuple[Pair, ...] = (("C", "A"), ("B", "D"), ("D", "B"))


@dataclass(frozen=True, slots=True)
class Attack:
    """A wrong completion, the design it breaks, and what it is about.

    An attack with ``pairs`` has golds of its own, else it is tried on those of each topic. With
    ``whole`` the text is the whole completion and is not written in the reward's formats again.
    """

    family: Family
    name: str
    breaks: str
    text: Text
    topics: tuple[Topic, ...] = ("number", "text", "letter")
    pairs: tuple[Pair, ...] = ()
    whole: bool = False

    def render(self, gold: str, wrong: str) -> str:
        """The completion for one gold."""
        if callable(self.text):
            return self.text(gold, wrong)
        return self.text.replace("{gold}", gold).replace("{wrong}", wrong)


@dataclass(frozen=True, slots=True)
class Control:
    """A right completion: rejecting it is as wrong as paying an attack."""

    name: str
    gold: str
    text: str
    topic: Topic = "number"
    whole: bool = False
    """Whether the text is the whole completion; else it is an answer, to be written in the reward's
    formats.
    """
    of_example: bool = False
    """Whether the text is made of an example that passes, which stands at its ``{gold}``."""
    unless: str = "\0"
    """What makes an example unfit for it."""

    def render(self, example: str) -> str:
        """The completion for one example that passes."""
        return self.text.replace("{gold}", example)

    def fits(self, example: str) -> bool:
        """Whether the text still is right with this example in it."""
        return bool(example) and re.search(self.unless, example) is None


@dataclass(frozen=True, slots=True)
class Case:
    """One completion to be scored for an attack or a control, with the columns of its row."""

    of: Attack | Control
    gold: str
    completion: str
    columns: Mapping[str, Any] = field(default_factory=dict)
