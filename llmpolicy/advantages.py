"""Advantages for a recipe's ``advantage:``, beside TRL's own (``grpo.scale_rewards``): each takes
the scores of one group, (G,), and returns one number a completion, (G,).

What each estimates is measured against an exact gradient in docs/estimators.md.
"""

import torch
from torch import Tensor


def leave_one_out(scores: Tensor) -> Tensor:
    """A_i = r_i − mean of the others: with one update a generation and a constant denominator an
    unbiased estimate of the policy gradient.

    Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et al. 2024,
    arXiv 2402.14740 (RLOO).
    """
    size = len(scores)
    return (scores - scores.mean()) * size / (size - 1)


def maximum_likelihood(scores: Tensor) -> Tensor:
    """A_i = (r_i − mean r) / mean r, 0 where nothing was paid: for scores of 0 and 1 the gradient
    of Σ pass@k / k over k = 1 ... G − 1, which counts hard prompts more.

    arXiv 2602.02710 (MaxRL). It is meant for scores that are not below 0.
    """
    mean = scores.mean()
    return (scores - mean) / mean if mean > 0 else torch.zeros_like(scores)


def extremes(scores: Tensor) -> Tensor:
    """Of the group the half with the largest variance, centred among itself, twice; 0 for the
    others: noisier than the whole group at an equal number of samples, for half of the updates.

    Xu et al. 2025, arXiv 2504.13818 (PODS): so many of the lowest and so many of the highest.
    """
    size, advantages = len(scores) // 2, torch.zeros_like(scores)
    order = scores.argsort(stable=True)
    halves = [torch.cat([order[:low], order[len(order) - size + low :]]) for low in range(size + 1)]
    best = max(halves, key=lambda half: float(scores[half].var(correction=0)) if size else 0.0)
    advantages[best] = 2 * (scores[best] - scores[best].mean())
    return advantages
