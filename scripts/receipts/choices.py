"""Bias and variance of what an update learns from (credit by turns in dialogues of two turns, which
prompts, whose completions) against the exact gradient of a policy whose completions can all be
written down.
"""

import tempfile
from pathlib import Path
from typing import Any

from scripts.receipts._sources import POLICY
from tests.oracle import choices, estimators, talks, turns, world

SOURCES = [
    "tests/oracle/choices.py",
    "tests/oracle/estimators.py",
    "tests/oracle/t[au]*.py",
    "tests/oracle/world.py",
    "tests/training.py",
    "scripts/receipts/choices.py",
    "llmpolicy/objectives.py",
    *POLICY,
]
SIZES = (2, 4, 8, 16, 32, 64)
STEPS = {2: 10_000, 4: 8_000, 8: 4_000, 16: 2_000, 32: 1_000, 64: 600}
"""Steps a cell, by the size of a group; of dialogues a quarter, whose draws have a control."""
MOVE = 0.1
"""How far the policy went along ∇J since it wrote what is replayed: "near" in estimators.json."""
Table = dict[str, dict[str, dict[str, float]]]


def measure() -> dict[str, Any]:
    """The exact figures, and a table each for dialogues, for prompts and for replay."""
    network = world.model()
    every, four = talks.talks(network), choices.four()
    before = world.world(network)
    now = world.world(world.moved(network, estimators.exact(before), MOVE))
    with tempfile.TemporaryDirectory() as folder:
        dialogues = _table(
            turns.ESTIMATORS,
            lambda name, size: turns.cell(
                Path(folder), turns.ESTIMATORS[name], every, size, STEPS[size] // 4
            ),
        )
    return {
        "steps": STEPS,
        "exact": {
            "dialogues": len(every.reward),
            "value": every.value,
            "second turn": turns.reaches(every),
            "turned by the mean of those who came so far": {
                str(size): turns.turned(every, size) for size in SIZES
            },
            "prompts": [prompt.value for prompt in four],
            "kl": [old.kl(new) for new, old in zip(now, before, strict=True)],
        },
        "dialogues": dialogues,
        "prompts": _table(
            choices.CHOICES, lambda name, size: choices.chosen(name, four, size, STEPS[size])
        ),
        "replay": _table(
            choices.REPLAYS,
            lambda name, size: choices.replayed(name, now, before, size, STEPS[size]),
        ),
    }


def _table(names: Any, cell: Any) -> Table:
    found: Table = {}
    for name in names:
        sizes = {str(size): cell(name, size) for size in SIZES}
        found[name] = {
            size: {of: round(value, 4) for of, value in one.items()} for size, one in sizes.items()
        }
    return found
