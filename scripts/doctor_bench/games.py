"""Dialogues of the bench: an environment that fails now and then, and a tool that nobody calls."""

from llmpolicy.environments.conversation import Answer, Done
from llmpolicy.environments.guess import Guess


class Fragile(Guess):
    """A game whose every fourth number it cannot draw."""

    def step(self, reply: str) -> Answer | Done:
        """As in the game, or a fault."""
        if self.number % 4 == self.low % 4:
            raise ConnectionError("the server of the game did not answer")
        return super().step(reply)


def count(letter: str, word: str) -> int:
    """Count a letter in a word.

    Args:
        letter: One letter.
        word: The word that it is looked for in.
    """
    return word.count(letter)
