"""The losses of GRPO's family in 64-bit numpy, written from their papers: no torch, nothing of TRL.

Shapes: B completions of at most T tokens; what belongs to a whole completion is (B, 1). Each loss
comes with its slope in every log π and every entropy, worked out by hand: what a paper holds
constant has no slope. Where TRL reads a paper in its own way, the line says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Log-probabilities of the policy, of the one that acted and of the reference, and the
    policy's ``entropy``, (B, T) each; ``mask`` (B, T) is 1 where a token counts; ``advantage`` and
    ``sampler`` (a weight for the engine that wrote) are (B, 1) or (B, T).
    """

    log_prob: Floats
    old: Floats
    reference: Floats
    entropy: Floats
    mask: Floats
    advantage: Floats
    sampler: Floats


@dataclass(frozen=True)
class Objective:
    """A loss with its settings, under TRL's names in short: ``low`` and ``high`` are its epsilons,
    ``sequence`` its importance sampling level, ``top`` the share of tokens with the most entropy
    that learn, ``bonus`` the weight of the entropy, ``stale`` the threshold of off-policy masking.
    """

    name: str = "grpo"
    low: float = 0.2
    high: float = 0.2
    delta: float = np.inf
    sequence: bool = False
    beta: float = 0.0
    corrected: bool = True
    top: float = 1.0
    bonus: float = 0.0
    stale: float = np.inf
    length: int = 4
    accumulation: int = 1


class Term(NamedTuple):
    """What each token costs, (B, T), and its slopes: in its own log π, and in the logarithm of its
    importance weight.
    """

    cost: Floats
    direct: Floats
    through: Floats


class Answer(NamedTuple):
    """A loss, and its slopes in log π and in the entropy of every token, (B, T)."""

    loss: float
    of_log_prob: Floats
    of_entropy: Floats


def clipped(ask: Objective, batch: Batch, ratio: Floats) -> Term:
    """−min(r A, clip(r, 1 − ε_low, 1 + ε_high) A): Shao et al. 2024, arXiv 2402.03300, eq. 3, with
    two epsilons of Yu et al. 2025, arXiv 2503.14476. ``delta`` bounds r from above for A < 0
    too: Prime Intellect 2025, arXiv 2505.07291.
    """
    free, held = np.minimum(ratio, ask.delta), np.clip(ratio, 1 - ask.low, 1 + ask.high)
    is_free = free * batch.advantage < held * batch.advantage
    moves = np.where(is_free, ratio <= ask.delta, held == ratio)
    cost = -np.minimum(free * batch.advantage, held * batch.advantage)
    return Term(cost, 0 * cost, -ratio * batch.advantage * moves)


def cispo(ask: Objective, batch: Batch, ratio: Floats) -> Term:
    """−sg(min(r, ε)) A log π: MiniMax 2025, arXiv 2506.13585. TRL's ``epsilon_high`` is
    the bound itself, as in arXiv 2510.13786, not 1 + ε.
    """
    weight = -np.minimum(ratio, ask.high) * batch.advantage
    return Term(weight * batch.log_prob, weight + 0 * batch.log_prob, 0 * batch.log_prob)


def sapo(_: Objective, batch: Batch, ratio: Floats) -> Term:
    """−(4/τ) σ(τ (r − 1)) A, τ 1 for A > 0 and 1.05 else: arXiv 2511.20347."""
    steep = np.where(batch.advantage > 0, 1.0, 1.05)
    gate = 1 / (1 + np.exp(-steep * (ratio - 1)))
    slope = -4 * gate * (1 - gate) * ratio * batch.advantage
    return Term(-4 / steep * gate * batch.advantage, 0 * slope, slope)


def vespo(_: Objective, batch: Batch, ratio: Floats) -> Term:
    """−sg(φ(w)) A log π with φ(w) = w^k e^(λ (1 − w)), w the ratio of the whole completion times the
    sampler's; k, λ = 2, 3 for A ≥ 0 and 3, 2 else: arXiv 2602.10693.
    """
    whole = ((batch.log_prob - batch.old) * batch.mask).sum(1, keepdims=True)
    whole = np.exp(whole + np.log(batch.sampler).sum(1, keepdims=True))
    good = batch.advantage >= 0
    power, rate = np.where(good, 2.0, 3.0), np.where(good, 3.0, 2.0)
    weight = -(whole**power) * np.exp(rate * (1 - whole)) * batch.advantage
    return Term(weight * batch.log_prob, weight + 0 * batch.log_prob, 0 * batch.log_prob)


COSTS: dict[str, Callable[[Objective, Batch, Floats], Term]] = {
    **dict.fromkeys(("grpo", "dr_grpo", "dapo", "bnpo", "luspo"), clipped),
    "cispo": cispo, "sapo": sapo, "vespo": vespo,
}  # fmt: skip


def divergence(ask: Objective, batch: Batch, ratio: Floats) -> Term:
    """q/p − 1 − log(q/p), q the reference's: arXiv 2402.03300, eq. 4; ``corrected`` times r:
    DeepSeek-AI 2025, arXiv 2512.02556.
    """
    away = np.exp(batch.reference - batch.log_prob)
    cost = away - 1 - np.log(away)
    if not ask.corrected:
        return Term(cost, 1 - away, 0 * cost)
    return Term(ratio * cost, ratio * (1 - away), ratio * cost)


def shares(ask: Objective, batch: Batch) -> Floats:
    """What each token counts in the mean, (B, T): a mean of completions' means (GRPO, SAPO), over
    all tokens (DAPO, CISPO, VESPO; BNPO those of a micro-batch), by a constant (Liu et al. 2025,
    arXiv 2503.20783), or of completions' sums (LUSPO: arXiv 2602.05261).
    """
    mask, rows = batch.mask, len(batch.mask)
    if ask.name in ("grpo", "sapo"):
        return mask / np.maximum(mask.sum(1, keepdims=True), 1) / rows
    if ask.name == "dr_grpo":
        return mask / (rows * ask.length)
    return mask / (rows if ask.name == "luspo" else max(mask.sum(), 1))


def learns(ask: Objective, batch: Batch) -> Floats:
    """What the advantage's part of each token is multiplied by, beside its share: the sampler's
    weight; 0 for tokens of little entropy (Wang et al. 2025, arXiv 2506.01939) and for bad
    completions that went far from the policy (arXiv 2512.02556).
    """
    kept = (
        np.ones_like(batch.mask)
        if ask.name == "vespo"
        else batch.sampler * np.ones_like(batch.mask)
    )
    if ask.top < 1:
        least = np.quantile(batch.entropy[batch.mask > 0], 1 - ask.top)
        kept = kept * (batch.entropy >= least)
    if np.isfinite(ask.stale):
        drift = ((batch.old - batch.log_prob) * batch.mask).sum(1, keepdims=True)
        drift = drift / np.maximum(batch.mask.sum(1, keepdims=True), 1)
        kept = kept * ((batch.advantage >= 0) | (drift <= ask.stale))
    return kept


def answer(ask: Objective, batch: Batch) -> Answer:
    """The loss of a batch, of which the tokens that count are those of its mask."""
    count = np.maximum(batch.mask.sum(1, keepdims=True), 1)
    log_weight = (batch.log_prob - batch.old) * batch.mask
    if ask.sequence:  # the geometric mean: Zheng et al. 2025, arXiv 2507.18071
        log_weight = log_weight.sum(1, keepdims=True) / count
    ratio = np.exp(log_weight) + np.zeros_like(batch.mask)
    objective, kl = COSTS[ask.name](ask, batch, ratio), divergence(ask, batch, ratio)
    share, kept = shares(ask, batch) / ask.accumulation, learns(ask, batch)
    cost, direct, through = (
        share * (kept * of + ask.beta * other) for of, other in zip(objective, kl, strict=True)
    )
    if ask.sequence:  # every token of a completion moves the weight of them all
        through = batch.mask / count * through.sum(1, keepdims=True)
    bonus = _bonus(ask, batch)
    loss = cost.sum() - (bonus * batch.entropy).sum()
    return Answer(float(loss), direct + through, -bonus)


def _bonus(ask: Objective, batch: Batch) -> Floats:
    """What the entropy of each token is rewarded with: a mean over the tokens that learn."""
    acts = batch.mask
    if ask.top < 1:
        acts = acts * (batch.entropy >= np.quantile(batch.entropy[acts > 0], 1 - ask.top))
    return np.asarray(ask.bonus * acts / max(acts.sum(), 1) / ask.accumulation)


def advantages(
    rewards: Floats, weights: Floats, size: int, scale: str = "group", each: bool = False
) -> Floats:
    """How much better than its group each completion was, (B,), of ``rewards`` (B, terms), NaN where
    a term does not judge: a completion that none judges has 0 and counts in no mean.

    (r − mean) / (std + 1e-4), arXiv 2402.03300, section 4.1.2; ``scale`` "none": arXiv 2503.20783;
    "batch": arXiv 2508.08221. ``each``: every term by itself within its group, then
    their sum within the batch: GDPO, arXiv 2601.05242.
    """
    unjudged = np.isnan(rewards).all(1)
    if each:
        groups = rewards.reshape(-1, size, rewards.shape[1])
        rewards = _whitened(groups, 1).reshape(rewards.shape)
    total = np.nansum(rewards * weights, 1)
    total[unjudged] = np.nan
    if each:
        return np.nan_to_num(_whitened(total[None], 1)[0])
    groups = total.reshape(-1, size)
    centred = groups - np.nanmean(groups, 1, keepdims=True)
    spread = np.nanstd(groups, 1, ddof=1, keepdims=True)
    if scale == "batch":
        spread = np.nanstd(total, ddof=1)
    found = centred if scale == "none" else centred / (spread + 1e-4)
    return np.asarray(np.nan_to_num(found).ravel())


def _whitened(values: Floats, axis: int) -> Floats:
    spread = np.nanstd(values, axis, ddof=1, keepdims=True)
    return np.asarray((values - np.nanmean(values, axis, keepdims=True)) / (spread + 1e-4))


def correction(
    old: Floats, sampler: Floats, mask: Floats, mode: str, low: float | None, high: float | None
) -> Floats:
    """What a completion, (B, 1), or a token, (B, T), weighs because another engine wrote it: the
    ratio of the trainer's to the engine's probability, cut off at bounds ("truncate") or 0 outside
    them ("mask"): Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training", and Liu et al. 2025, "When speed kills stability".
    """
    away = (old - sampler) * mask
    ratio = np.exp(away.sum(1, keepdims=True) if mode.startswith("sequence") else away)
    bottom, above = (-np.inf if low is None else low), (np.inf if high is None else high)
    if mode.endswith("truncate"):
        return np.clip(ratio, bottom, above)
    return np.asarray(ratio * ((ratio >= bottom) & (ratio <= above)))
