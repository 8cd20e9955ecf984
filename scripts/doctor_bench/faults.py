"""Faults that no recipe can ask for: they are put into the trainer's own seams."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def other_temperature() -> Iterator[None]:
    """A sampler that draws at another temperature than the scorer computes with, and a run that
    goes on with that.
    """
    from llmpolicy.grpo import parity, step

    usual = step.generate

    def generate(*arguments: Any, temperature: float, **how: Any) -> Any:
        return usual(*arguments, temperature=2.0 * temperature, **how)

    with patch.object(step, "generate", generate), patch.object(parity, "EXACT", 100.0):
        yield
