"""A class that plays another library's episodes hears the turn in which its tools are called, and
the last one that nobody answered.
"""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmpolicy.environments.conversation import Reply, ToolCall
from llmpolicy.environments.dialogue import Dialogues, Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.episode import Turn
from llmpolicy.messages import Message
from llmpolicy.tasks import Row


class Noting:
    """Says what it has heard."""

    heard: tuple[int, str, int] = (0, "", 0)

    def _hear(self, turn: int, reply: Reply) -> None:
        self.heard = turn, str(reply), len(reply.calls)

    def reset(self, seed: int) -> str:
        return "?"

    def add(self, a: int) -> str:
        """What was heard, and a number."""
        return f"{self.heard} {a}"

    def step(self, reply: str) -> str:
        return f"{self.heard}"

    def get_reward(self) -> float:
        return float(self.heard[0]) + len(self.heard[1]) / 10


class Speech:
    """A policy's words from a list, by the one token of a turn."""

    def __init__(self, *said: tuple[str, list[ToolCall]]) -> None:
        self.said = said

    def opening(self, prompt: Any) -> list[int]:
        return [0]

    def following(self, held: Sequence[int], messages: Sequence[Message], ended: bool) -> list[int]:
        return [0]

    def read(self, turn: Turn) -> tuple[str, list[ToolCall], str]:
        return (*self.said[turn.action[0]], "")


def test_a_class_hears_the_turn_of_its_calls_and_the_last_one() -> None:
    calls = [ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})]
    speech = Speech(("I add.", calls), ("So.", []), ("It was c", []))
    players = Players(f"{Path(__file__).resolve()}:Noting", seconds=20.0)
    limits = Limits(turns=9, tokens=100)
    rows = [Row("go", {}, 0, "go", "t")]
    dialogues = Dialogues(Partner(players, speech, limits, 0, inf), rows, [0])
    try:
        states = dialogues.reset(0)
        for action in range(3):
            turn = Turn(states[0], [action], truncated=action == 2, terminated=action != 2)
            states = dialogues.step([0], SimpleNamespace(turns=[turn])).states  # type: ignore[arg-type]
    finally:
        players.close()
    said = [message["content"] for message in states[0].messages if message["role"] != "assistant"]
    heard = (1, "I add.", 2)
    assert said[-3:] == [f"{heard} 1", f"{heard} 2", f"{heard}"]
    assert (states[0].ended, states[0].paid) == ("tokens", 3.8)
