"""Bias and variance of each estimator of the policy gradient against the exact one, of a policy
whose completions can all be written down (tests/oracle).
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scripts.receipts._sources import POLICY
from tests.oracle import estimators, world
from tests.oracle.applied import applied

SOURCES = [
    "tests/oracle/[aew]*.py",
    "tests/training.py",
    "scripts/receipts/estimators.py",
    "llmpolicy/objectives.py",
    *POLICY,
]
SIZES = (2, 4, 8, 16, 32, 64)
STEPS = {2: 1000, 4: 1000, 8: 800, 16: 400, 32: 200, 64: 120}
"""Steps a cell, by the size of a group."""
SEEDS = {"even": 9, "hard": 4}
MOVES = {"small": 0.03, "near": 0.1, "far": 0.4}
"""How far the policy went along ∇J since it acted: the length of Δθ."""
TRUE = ("Dr.GRPO: mean of the group", "RLOO", "GRPO", "DAPO")
Table = dict[str, dict[str, dict[str, float]]]


def measure() -> dict[str, Any]:
    """The exact figures of both policies, the cells on policy and later, and what was applied."""
    with tempfile.TemporaryDirectory() as folder:
        place, even = Path(folder), SEEDS["even"]
        return {
            "steps": STEPS,
            "exact": {name: _exact(seed) for name, seed in SEEDS.items()},
            "on_policy": _table(place, even, SIZES),
            "hard": _table(place, SEEDS["hard"], (8,)),
            "later": {name: _later(place, even, size) for name, size in MOVES.items()},
            "applied": {name: _applied(place, name) for name in TRUE},
        }


def _exact(seed: int) -> dict[str, Any]:
    network = world.model(seed)
    prompts = world.world(network)
    return {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "value": [prompt.value for prompt in prompts],
        "entropy": [prompt.entropy for prompt in prompts],
        "length": [float(prompt.probability @ prompt.mask.sum(1)) for prompt in prompts],
        "gradient": [float(np.linalg.norm(prompt.gradient)) for prompt in prompts],
    }


def _table(place: Path, seed: int, sizes: tuple[int, ...]) -> Table:
    prompts = world.world(world.model(seed))
    return {
        name: {
            str(size): _rounded(
                estimators.cell(place, estimator, prompts, prompts, size, STEPS[size])
            )
            for size in sizes
            if size >= estimator.least
        }
        for name, estimator in estimators.ESTIMATORS.items()
    }


def _later(place: Path, seed: int, move: float) -> dict[str, Any]:
    """Groups of 8 that the policy wrote before it moved, in the loss of the policy after."""
    network = world.model(seed)
    before = world.world(network)
    now = world.world(world.moved(network, estimators.exact(before), move))
    cells = {
        name: _rounded(estimators.cell(place, estimator, now, before, 8, STEPS[8]))
        for name, estimator in estimators.LATER.items()
    }
    return {
        "kl": [old.kl(new) for new, old in zip(now, before, strict=True)],
        "value": [prompt.value for prompt in now],
        "cells": cells,
    }


def _applied(place: Path, name: str) -> dict[str, float]:
    """One step of 256 groups of 8: against the estimate of those completions, and against ∇J."""
    estimator, prompts = estimators.ESTIMATORS[name], world.world(world.model())
    found = applied(place, estimator, 8, 128)
    expected = estimators.Asked(place, estimator, prompts).gradient(found.drawn, found.prompts)
    truth = estimators.exact(prompts)
    off = np.linalg.norm(found.update - expected) / np.linalg.norm(expected)
    norms = np.linalg.norm(found.update) * np.linalg.norm(truth)
    return {"off": float(off), "cosine": float(found.update @ truth / norms)}


def _rounded(cell: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in cell.items()}
