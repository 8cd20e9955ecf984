"""The attack battery: wrong completions that some design pays, and right ones that some design
rejects.
"""

from llmpolicy.rewards.battery import (
    answers,
    bombs,
    judges,
    padding,
    programs,
    shapes,
    texts,
    tools,
)
from llmpolicy.rewards.battery.controls import CONTROLS
from llmpolicy.rewards.battery.record import (
    FAMILIES,
    LETTERS,
    NUMBERS,
    TEXTS,
    Attack,
    Case,
    Control,
)

ATTACKS: list[Attack] = [
    attack
    for room in (answers, texts, shapes, padding, programs, judges, tools, bombs)
    for attack in room.ATTACKS
]  # fmt: skip

__all__ = [
    "ATTACKS",
    "CONTROLS",
    "FAMILIES",
    "LETTERS",
    "NUMBERS",
    "TEXTS",
    "Attack",
    "Case",
    "Control",
]
