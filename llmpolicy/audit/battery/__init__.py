"""The attack battery: wrong completions that some design pays, and right ones that some design
rejects.
"""

from llmpolicy.audit.battery import (
    answers,
    bombs,
    judges,
    padding,
    programs,
    shapes,
    texts,
    tools,
)
from llmpolicy.audit.battery.controls import CONTROLS
from llmpolicy.audit.battery.record import (
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
]

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
