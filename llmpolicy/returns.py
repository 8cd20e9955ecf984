"""How well a policy does in an environment: its mean return over fresh episodes, greedy and
sampled, each with its interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from llmpolicy.environments.build import build_environment
from llmpolicy.policies.base import Policy
from llmpolicy.recipe import EnvironmentBlock
from llmpolicy.rollout import rollout
from llmpolicy.statistics import Interval, Z

# Training begins its episodes from 32-bit seeds; a seed above them cannot be one of those.
FRESH = 2**32


@dataclass(frozen=True, slots=True)
class ReturnEvaluation:
    """The undiscounted return of an episode: mean with a 95 % interval, by the mode and by samples
    of the policy.
    """

    greedy: Interval
    sampled: Interval
    episodes: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """As it stands in evaluation.json: ``return`` is greedy, ``sampled_return`` is sampled."""
        means = {"return": self.greedy.to_dict(), "sampled_return": self.sampled.to_dict()}
        return {"schema": 1, "n": self.episodes, "seed": self.seed, "decoding": "greedy", **means}


def evaluate_returns(
    policy: Policy,
    block: EnvironmentBlock,
    *,
    episodes: int = 100,
    seed: int = 0,
    base_dir: Path | None = None,
) -> ReturnEvaluation:
    """Play fresh episodes of a recipe's environment, greedy and sampled from the same
    beginnings.
    """
    environment = build_environment(block.model_copy(update={"count": episodes}), base_dir)

    def mean(greedy: bool) -> Interval:
        experience = rollout(policy, environment, seed=FRESH + seed, greedy=greedy)
        return mean_return([episode.total for episode in experience.episodes])

    return ReturnEvaluation(mean(True), mean(False), episodes, seed)


def mean_return(returns: Sequence[float]) -> Interval:
    """The mean of at least two returns ± 1.96 standard errors (the normal approximation; meant for
    dozens of episodes).
    """
    half = Z * stdev(returns) / math.sqrt(len(returns))
    mean = fmean(returns)
    return Interval(mean, mean - half, mean + half)
