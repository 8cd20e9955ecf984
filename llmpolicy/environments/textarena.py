"""Games of TextArena for one player, by their name."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmpolicy.environments.conversation import Done
from llmpolicy.environments.extras import library
from llmpolicy.errors import RecipeError, nearest
from llmpolicy.messages import Message


class Game:
    """One game, made with TextArena's own ``args``.

    TextArena draws from Python's global generator, which is this process's own and seeded anew for
    each game.
    """

    def __init__(self, name: str, **args: Any) -> None:
        self._library = library("textarena", "textarena")
        games = self._library.envs.registration.ENV_REGISTRY
        if name not in games:
            raise RecipeError(f"textarena has no game {name!r}{nearest(name, games)}")
        try:
            self._game = self._library.make(name, **args)
            self.reset(seed=0)
        except Exception as error:
            raise RecipeError(
                f"textarena {name!r} cannot be played by one player: {_why(error)}"
            ) from error

    def reset(self, seed: int) -> str:
        """The rules."""
        self._game.reset(num_players=1, seed=seed)
        return self._read()

    def step(self, reply: str) -> str | Done:
        """What the game says to a move, or its end."""
        over, _ = self._game.step(action=str(reply))
        if not over:
            return self._read()
        rewards, infos = self._game.close()
        reason = (infos or {}).get(0, {}).get("reason")
        return Done(None if rewards is None else float(rewards[0]), reason or "")

    def get_reward(self) -> float:
        """Nothing for a game that was not played to its end."""
        return 0.0

    def _read(self) -> str:
        """What is new, without the player's own words."""
        inner = self._game
        while isinstance(inner, self._library.Wrapper):  # its wrappers say all again each time
            inner = inner.env
        _, observations = inner.get_observation()
        own = self._library.ObservationType.PLAYER_ACTION
        return "\n".join(message for _, message, kind in observations if kind is not own)


def games(
    name: str, moves: Sequence[str], n: int = 500, seed: int = 0, **args: Any
) -> Iterator[dict[str, list[Message]]]:
    """n dialogues of a player who makes any of the moves, up to one of them, as demonstrations: how
    to speak, and nothing of how to win.
    """
    state = random.getstate()  # which TextArena seeds
    game, draw = Game(name, **args), random.Random(f"games:{seed}")
    for _ in range(n):
        messages: list[Message] = [
            {"role": "user", "content": game.reset(draw.randrange(2**31))},
            {"role": "assistant", "content": draw.choice(moves)},
        ]
        while draw.random() < 0.5:
            said = game.step(messages[-1]["content"])
            if isinstance(said, Done):
                break
            messages += [
                {"role": "user", "content": said},
                {"role": "assistant", "content": draw.choice(moves)},
            ]
        random.setstate(state)
        yield {"messages": messages}


def _why(error: Exception) -> str:
    """What an exception says, in a line; of a dictionary that is not there, what fetches it."""
    if missing := re.search(r"nltk\.download\('(\w+)'\)", str(error)):
        return f"it needs a dictionary; `python -m nltk.downloader {missing[1]}`"
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
