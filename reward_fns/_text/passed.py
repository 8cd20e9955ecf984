"""The score of an answer that is right or not."""

from llmpolicy.rewards import Score


def passed(right: bool, why: str, parsed: str | None = None) -> Score:
    """1.0 where it is right; else 0.0, and why."""
    if right:
        return Score(1.0, parsed=parsed)
    return Score(0.0, parsed=parsed, why=why)
