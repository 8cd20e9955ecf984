"""The tool that both sides of the bench's dialogues call, and what they are paid."""

ANSWERED = 9
"""Words of what is said to the model."""


def look(at: str) -> str:
    """Look at places.

    Args:
        at: The places to look at, one word each.

    Returns:
        What is there.
    """
    return " " + " ".join(at.split()[:ANSWERED])


def paid(completion: str) -> float:
    """What a dialogue earns: the bench has advantages of its own."""
    return 1.0
