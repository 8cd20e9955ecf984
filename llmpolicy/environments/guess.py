"""A game of several turns for the bundled model: a number is to be found, and the partner says
whether it is higher or lower.
"""

import random

from llmpolicy.environments.conversation import Done


class Guess:
    """A number from ``low`` to ``high``, both included; found in its nth turn it pays 1 − (n − 1) ·
    ``cost``.
    """

    def __init__(self, low: int = 10, high: int = 25, cost: float = 0.1) -> None:
        self.low, self.high, self.cost = low, high, cost

    def reset(self, seed: int) -> str:
        """The range that the number is in."""
        self.number, self.turn = random.Random(seed).randint(self.low, self.high), 0
        return f"{self.low}-{self.high}?"

    def step(self, reply: str) -> str | Done:
        """Higher, lower, or the end."""
        self.turn += 1
        if not (reply.isdecimal() and reply.isascii()):
            return Done(0.0, "no number")
        guess = int(reply)
        if guess == self.number:
            return Done(1.0 - self.cost * (self.turn - 1), "found")
        return ">" if self.number > guess else "<"

    def get_reward(self) -> float:
        """Nothing for a number that was not found."""
        return 0.0
