"""Composition: from what each reward says of a row to the row's reward, checked before training,
measured during it.
"""

from llmpolicy.rewards.compose.composition import Composition
from llmpolicy.rewards.compose.entries import COMPOSITES, Entry, compose, read_entries
from llmpolicy.rewards.compose.text import NO_CORRECTNESS, NORMALISED, facts, formula, sentences

__all__ = [
    "COMPOSITES",
    "NORMALISED",
    "NO_CORRECTNESS",
    "Composition",
    "Entry",
    "compose",
    "facts",
    "formula",
    "read_entries",
    "sentences",
]
