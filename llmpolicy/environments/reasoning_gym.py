"""Questions of reasoning-gym by the name of their generator, each judged by its own rule."""

import re
from typing import Any

from llmpolicy.environments.conversation import Done
from llmpolicy.errors import RecipeError, nearest

_MARKED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class Questions:
    """One question, with the generator's own ``args``; a reply that is not fully right is told so
    until ``tries`` are spent. Where a reply has <answer> marks, what stands in the last is judged.
    """

    def __init__(self, name: str, tries: int = 1, **args: Any) -> None:
        from reasoning_gym.factory import DATASETS as generators

        if name not in generators:
            raise RecipeError(f"reasoning-gym has no generator {name!r}{nearest(name, generators)}")
        self._name, self._tries, self._args = name, tries, args
        try:
            self.reset(seed=0)
        except (AssertionError, TypeError, ValueError, LookupError) as error:
            words = " ".join(f"{error or type(error).__name__}".split())
            raise RecipeError(f"reasoning-gym {name!r} refuses these args: {words:.300}") from error

    def reset(self, seed: int) -> str:
        """The question of a seed."""
        from reasoning_gym import create_dataset

        args = {**self._args, "seed": seed, "size": 1}
        self._questions = create_dataset(self._name, **args)
        self._entry, self._tried = self._questions[0], 0
        return str(self._entry["question"])

    def step(self, reply: str) -> str | Done:
        """The score of a reply, or another try."""
        self._tried += 1
        marked = _MARKED.findall(reply)
        answer = (marked[-1] if marked else str(reply)).strip()
        score = float(self._questions.score_answer(answer, self._entry))
        if score >= 1 or self._tried >= self._tries:
            return Done(score, "right" if score >= 1 else "wrong")
        return "That is not right; try again."

    def get_reward(self) -> float:
        """Nothing for a question that was not answered."""
        return 0.0
