"""What a user writes of a conversation: one plain class, one episode of it an instance.

    class Guess:
        def reset(self, seed): ...          # what the user says first: a text, messages, or None
        def step(self, reply): ...          # the answer: a text, messages, Answer; Done or None
        def look(self, place: str) -> str:  # every other public method is a tool of the model
        def get_reward(self): ...           # what the episode earned, where no Done says it

``reset`` is given what it asks for by name: columns of the row, ``seed``, ``group``. All but
``reset`` may be left out; each may be ``async``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Words = str | Sequence[Mapping[str, Any]]
"""What is said: a text, or chat messages."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool by its name, and what the model hands to it."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Reply(str):
    """What the model said, as a text; ``calls`` are those of tools in it, ``token_ids`` what was
    sampled.
    """

    calls: list[ToolCall]
    token_ids: list[int]

    def __new__(
        cls, text: str, calls: Sequence[ToolCall] = (), token_ids: Sequence[int] = ()
    ) -> "Reply":
        """A text with what it came from."""
        reply = super().__new__(cls, text)
        reply.calls, reply.token_ids = list(calls), list(token_ids)
        return reply


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``step`` says, and what the model's turn earned."""

    content: Words
    reward: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The end: what was earned (None: not known, which is not 0), and why it is over."""

    reward: float | None = None
    why: str = ""
