"""Whether a policy over-optimises its reward: the reward it is trained on and the truth, as it
moves away from its start.

Gao, Schulman & Hilton 2022, "Scaling laws for reward model overoptimization" (arXiv 2210.10760):
the reward that is trained on (the proxy) goes on rising with the KL to the start while the truth
turns down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmpolicy.environments.dialogue import Partner
from llmpolicy.episode import Episode
from llmpolicy.evaluation.answers import (
    LanguagePolicy,
    complete,
    evaluating,
    known_mean,
    scored_together,
    values_of,
)
from llmpolicy.rewards import Rewards
from llmpolicy.statistics import Interval, mean_interval
from llmpolicy.tasks import Row


@dataclass(frozen=True, slots=True)
class Look:
    """What sampled replies to held-out prompts come to; ``kl`` is KL(π ‖ start) in nats a
    completion.

    ``proxies`` are what the reward that is trained on says of each reply, ``truths`` what the truth
    says (`truth:`, or ``evaluate.correct``), and ``preferred`` the share of prompts whose reply the
    truth prefers to the start's, ties counted half. None where nothing was judged.
    """

    kl: float
    proxies: Sequence[float | None]
    truths: Sequence[float | None]
    preferred: Interval | None

    @property
    def proxy(self) -> float | None:
        """The mean reward that is trained on."""
        return known_mean(self.proxies)

    @property
    def truth(self) -> float | None:
        """The mean of the truth."""
        return known_mean(self.truths)

    def to_dict(self) -> dict[str, Any]:
        """The figures by name, as they stand in metrics.jsonl."""
        preferred = self.preferred and self.preferred.to_dict()
        return {"kl": self.kl, "proxy": self.proxy, "truth": self.truth, "preferred": preferred}


class Watch:
    """Looks at a policy as it is trained; make it before the first step, since it keeps the start's
    replies.
    """

    def __init__(
        self,
        policy: Any,
        rows: Sequence[Row],
        correct: Rewards,
        rewards: Rewards,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
        partner: Partner | None = None,
    ) -> None:
        self.policy, self.rows, self.correct, self.rewards, self.seed = (
            policy,
            rows,
            correct,
            rewards,
            seed,
        )
        self.how: dict[str, Any] = {
            "batch_size": batch_size,
            "max_new_tokens": max_new_tokens,
            "partner": partner,
        }
        policy.freeze_reference()
        # Another seed than the looks': with the same one the start would agree with itself word for
        # word.
        self.start = values_of(correct, rows, sample(policy, rows, seed + 1, **self.how))

    @torch.no_grad()
    def look(self) -> Look:
        """Sample one reply a prompt and measure it; touches no global random state."""
        replies = sample(self.policy, self.rows, self.seed, **self.how)
        with evaluating(self.policy):
            kl = _kl(self.policy, replies)
        proxies = values_of(self.rewards, self.rows, replies)
        scores = values_of(self.correct, self.rows, replies)
        return Look(kl, proxies, scores, preference(scores, self.start))


@torch.no_grad()
def sample(policy: LanguagePolicy, rows: Sequence[Row], seed: int, **how: Any) -> list[Episode]:
    """One sampled reply a row; the seed alone decides which."""
    with evaluating(policy):
        return complete(policy, rows, generator=torch.Generator().manual_seed(seed), **how)


def preference(after: Sequence[float | None], before: Sequence[float | None]) -> Interval | None:
    """The share of prompts whose score is higher after than before, ties counted half, with its 95
    % interval.
    """
    wins = []
    for new, old in zip(after, before, strict=True):
        if new is not None and old is not None:
            wins.append((new > old) + 0.5 * (new == old))
    if not wins:
        return None
    return mean_interval(wins)


def _kl(policy: Any, replies: Sequence[Episode]) -> float:
    """The mean over replies that π sampled of log π(y) - log start(y): KL(π ‖ start), without bias
    however far apart.
    """
    total = 0.0
    for states, actions in scored_together(replies):
        log_prob, _ = policy.log_prob(states, actions)  # (B, T), 0 behind the end
        start, _ = policy.reference.log_prob(states, actions)  # (B, T)
        total += (log_prob.cpu().double() - start.cpu().double()).sum().item()
    return total / len(replies)
