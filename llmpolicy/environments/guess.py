"""A game of several turns for the bundled model: a number is to be found, and the partner says
whether it is higher or lower.
"""

import random
from collections.abc import Iterator

from llmpolicy.environments.conversation import Answer, Done
from llmpolicy.messages import Message


class Guess:
    """A number from ``low`` to ``high``, both included; found in its nth turn it pays 1 − (n − 1) ·
    ``cost``, and a guess that may be right pays ``agreed`` times the share of numbers it rules out.
    """

    def __init__(self, low: int = 0, high: int = 9, cost: float = 0.1, agreed: float = 0.3) -> None:
        self.low, self.high, self.cost, self.agreed = low, high, cost, agreed

    def reset(self, seed: int) -> str:
        """The range that the number is in."""
        self.number, self.turn = random.Random(seed).randint(self.low, self.high), 0
        self.left = range(self.low, self.high + 1)
        return f"{self.low}-{self.high}?"

    def step(self, reply: str) -> Answer | Done:
        """Higher, lower, or the end."""
        self.turn += 1
        if not (reply.isdecimal() and reply.isascii()):
            return Done(0.0, "no number")
        guess, paid = int(reply), 0.0
        if guess == self.number:
            return Done(1.0 - self.cost * (self.turn - 1), "found")
        if guess in self.left:
            before, cut = len(self.left), guess - self.left.start
            self.left = self.left[cut + 1 :] if self.number > guess else self.left[:cut]
            paid = self.agreed * (before - len(self.left)) / before
        return Answer(">" if self.number > guess else "<", paid)

    def get_reward(self) -> float:
        """Nothing for a number that was not found."""
        return 0.0


def found(completion: str, ended: str) -> float:
    """1 where the number was found: the game has ended, and with a number."""
    return float(ended == "done" and completion.isdecimal() and completion.isascii())


def games(
    n: int = 4_000, low: int = 0, high: int = 9, turns: int = 4, seed: int = 0
) -> Iterator[dict[str, list[Message]]]:
    """n dialogues of up to so many turns in which the player names any number of the range: what to
    say, and nothing of how to find the number.
    """
    draw = random.Random(f"games:{seed}")
    for _ in range(n):
        number, guess = draw.randint(low, high), 0
        messages: list[Message] = [{"role": "user", "content": f"{low}-{high}?"}]
        for turn in range(draw.randrange(turns) + 1):
            if turn:
                answer = ">" if number > guess else "<"
                messages.append({"role": "user", "content": answer})
            guess = draw.randint(low, high)
            messages.append({"role": "assistant", "content": str(guess)})
        yield {"messages": messages}
