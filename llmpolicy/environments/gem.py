"""Environments of GEM by their name."""

from typing import Any

from llmpolicy.environments.conversation import Answer, Done
from llmpolicy.environments.extras import library
from llmpolicy.errors import RecipeError, nearest


class Game:
    """One environment, made with GEM's own ``args``; each turn earns what its ``step`` pays."""

    def __init__(self, name: str, **args: Any) -> None:
        gem = library("gem", "gem")
        games = gem.envs.registration.ENV_REGISTRY
        if name not in games:
            raise RecipeError(f"gem has no environment {name!r}{nearest(name, games)}")
        try:
            self._game = gem.make(name, **args)
        except Exception as error:
            words = " ".join(f"{error or type(error).__name__}".split())
            raise RecipeError(f"gem {name!r} cannot be played: {words:.300}") from error

    def reset(self, seed: int) -> str:
        """The rules."""
        observation, _ = self._game.reset(seed=seed)
        return str(observation)

    def step(self, reply: str) -> Answer | Done:
        """What the environment says to a turn, and what that earned."""
        observation, reward, terminated, truncated, info = self._game.step(str(reply))
        if terminated or truncated:
            return Done(float(reward), str(observation))
        words = [str(observation), str(info.get("suffix", ""))]
        return Answer("\n".join(filter(None, words)), float(reward))

    def get_reward(self) -> float:
        """Nothing more for an episode that was not played to its end."""
        return 0.0
