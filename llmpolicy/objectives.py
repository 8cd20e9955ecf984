"""Pure tensor functions of rewards and log-probabilities, each with its source. None of them asks
which policy acted.

Shapes: N episodes of at most L steps; P prompts of G completions; B rows of at most T decisions.
Masks are from positions.
"""

import torch
from torch import Tensor

GROUP_EPSILON = 1e-4
"""Added to a group's standard deviation, as TRL does."""


def policy_gradient_loss(log_prob: Tensor, weight: Tensor, mask: Tensor, count: float) -> Tensor:
    """A number whose gradient, for actions that were just sampled, is minus the policy gradient ∇J
    = E[Σ_t ∇log π(a_t) · w_t].

    Williams 1992, "Simple statistical gradient-following algorithms", Machine Learning 8:229-256,
    eq. 11: −(1/count) Σ mask · w · log π. It is no measure of success: its value may stay near 0
    while its gradient does the work. ``log_prob`` and ``mask`` are (B, T); ``weight`` is (B, T), or
    (B, 1) when all decisions of a row share it, and is a constant. ``count`` says what the mean is
    over: episodes for ∇J itself, decisions for a mean over tokens.
    """
    chosen = torch.where(mask.bool(), log_prob * weight.detach(), 0.0)  # (B, T)
    return -chosen.sum() / count


def return_to_go(
    rewards: Tensor, mask: Tensor, gamma: float, final_value: Tensor | None = None
) -> Tensor:
    """What each step still earns until its episode ends: G_t = r_t + γ G_{t+1}, and 0 behind the
    end.

    Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., eq. 3.9. ``rewards`` and ``mask`` are
    (N, L), right-padded; ``final_value`` (N,) is what the state behind the last step is worth: 0
    where the episode terminated, and a value estimate where it was only cut off (truncated).
    Returns (N, L).
    """
    following = torch.zeros_like(rewards[:, 0]) if final_value is None else final_value  # (N,)
    returns = torch.zeros_like(rewards)  # (N, L)
    for t in reversed(range(rewards.shape[1])):
        following = torch.where(mask[:, t], rewards[:, t] + gamma * following, following)
        returns[:, t] = following
    return returns * mask


def group_advantages(rewards: Tensor, *, scale: bool = True) -> Tensor:
    """How much better than its group each completion was: A_i = (r_i − mean r) / (std r + 1e-4), 0
    where r_i is NaN.

    Shao et al. 2024, arXiv 2402.03300, section 4.1.2 (outcome supervision), with the unbiased
    standard deviation; without ``scale`` A_i = r_i − mean r (Liu et al. 2025, arXiv 2503.20783).
    ``rewards`` is (P, G), NaN for a completion that could not be judged, which then counts in
    neither mean nor deviation. Returns (P, G).

    In expectation, with one update a generation and a constant denominator: without ``scale`` the
    policy gradient times 1 − 1/G; with it each prompt's gradient times a factor of its own, for
    rewards of 0 and 1 near 1/√(p (1 − p)), so hard and easy prompts count more (tests/oracle).
    """
    judged = ~rewards.isnan()  # (P, G)
    count = judged.sum(1, keepdim=True)  # (P, 1)
    centred = torch.where(judged, rewards - rewards.nanmean(1, keepdim=True), 0.0)  # (P, G)
    if not scale:
        return centred
    std = (centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()  # (P, 1)
    return centred / (std + GROUP_EPSILON)


def k3(log_prob: Tensor, reference_log_prob: Tensor) -> Tensor:
    """An unbiased estimate, never negative, of KL(π ‖ reference) at each sampled decision: q/p − 1
    − log(q/p).

    Schulman 2020, "Approximating KL divergence" (k3); Shao et al. 2024, arXiv 2402.03300, eq. 4. p
    is π's and q the reference's probability of the sampled action; both arguments and the result
    are (B, T), in nats.

    That is its value. Its slope in log π estimates the gradient of KL(reference ‖ π) of the next
    token; weighed by π / π_old, as TRL's loss does by default, that of KL(π ‖ reference). Neither
    is ∇KL of whole completions, which moves the prefixes too (tests/oracle/test_divergence.py).
    """
    log_ratio = reference_log_prob - log_prob  # (B, T)
    return torch.expm1(log_ratio) - log_ratio
