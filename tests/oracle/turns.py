"""What an update gives for dialogues of two turns: the advantages of whole dialogues or of turns, as
the toolkit makes them, in TRL's own loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpolicy.grpo.dialogues import by_mean, weights_of_turns
from tests.oracle import estimators
from tests.oracle.estimators import Asked, Drawn, Estimator, figures
from tests.oracle.talks import Talks
from tests.oracle.world import Floats

Credit = Callable[[Tensor], Tensor]
"""From what a group earned, from some turn on, to advantages: one each."""


def alone(scores: Tensor) -> Tensor:
    """No baseline."""
    return scores


def leave_one_out(scores: Tensor) -> Tensor:
    """Against the mean of the others; of a turn that no other reached, nothing."""
    others = len(scores) - 1
    if not others:
        return torch.zeros_like(scores)
    return (scores - scores.mean()) * (len(scores) / others)


@dataclass(frozen=True)
class OfTurns:
    """A loss of TRL whose advantages are those of turns, ``credit``, or of whole dialogues."""

    estimator: Estimator
    credit: Credit | None = None


WHOLE, TURNS = "whole dialogue", "turn"
ESTIMATORS = {
    f"{WHOLE}, no baseline": OfTurns(Estimator(estimators.none)),
    f"{WHOLE}, mean of the group": OfTurns(Estimator(estimators.centred)),
    f"{WHOLE}, RLOO": OfTurns(Estimator(estimators.leave_one_out)),
    f"{WHOLE}, spread of the group": OfTurns(Estimator(estimators.scaled)),
    f"{WHOLE}, DAPO": OfTurns(Estimator(estimators.scaled, "dapo")),
    f"{TURNS}, no baseline": OfTurns(Estimator(estimators.none), alone),
    f"{TURNS}, mean of the group": OfTurns(Estimator(estimators.none), by_mean(False)),
    f"{TURNS}, leave one out": OfTurns(Estimator(estimators.none), leave_one_out),
    f"{TURNS}, spread of the group": OfTurns(Estimator(estimators.none), by_mean(True)),
    f"{TURNS}, DAPO": OfTurns(Estimator(estimators.none, "dapo"), by_mean(True)),
}


def of_tokens(talks: Talks, group: Drawn, credit: Credit) -> Floats:
    """The weight of every token of a group's dialogues, (G, T)."""
    weights = weights_of_turns([talks.rewards[y] for y in group], credit, len(group))
    table = np.array([[*row, 0.0][:2] for row in weights])  # (G, 2)
    of = talks.turn[group].astype(int)
    return np.take_along_axis(table, of, 1) * talks.mask[group]


def estimate(asked: Asked, talks: Talks, group: Drawn, credit: Credit | None) -> Floats:
    """One step's estimate of ∇J, (P,)."""
    if credit is None:
        return asked.gradient(group[None])
    rows = [(0, int(y)) for y in group]
    slope = asked._coefficients(rows, of_tokens(talks, group, credit))
    return np.asarray(slope.ravel() @ talks.score[group].reshape(slope.size, -1))


def cell(folder: Path, of: OfTurns, talks: Talks, size: int, steps: int) -> dict[str, float]:
    """The figures of an estimator over so many steps of one group, with a fixed seed."""
    asked, random = Asked(folder, of.estimator, [talks]), np.random.default_rng(size)
    groups = [estimators.one(talks, size, random) for _ in range(steps)]
    controls = np.stack([estimators.unbiased([talks], [talks], group[None]) for group in groups])
    found = np.stack([estimate(asked, talks, group, of.credit) for group in groups])
    return figures(found, controls, talks.gradient)


def of_turn(talks: Talks, turn: int) -> Floats:
    """The part of ∇J that goes through one turn, (P,): Σ π(y) (reward from it on) Σ ∇log π of its
    tokens.
    """
    to_go = np.array([sum(paid[turn:]) for paid in talks.rewards])
    score = (talks.score * (talks.turn == turn)[..., None]).sum(1)
    return np.asarray((talks.probability * to_go) @ score)


def reaches(talks: Talks) -> float:
    """How likely a dialogue has a second turn."""
    return float(talks.probability @ [len(paid) == 2 for paid in talks.rewards])


def shortened(size: int, q: float) -> tuple[float, float]:
    """What is left of both turns' parts when each has itself in its group's mean: 1 − 1/n for the n
    that came so far, of the second in expectation over the others, of whom a share q do.
    """
    return 1 - 1 / size, 1 - (1 - (1 - q) ** size) / (size * q)


def turned(talks: Talks, size: int) -> float:
    """How far that turns the estimate away from ∇J, exactly."""
    first, second = shortened(size, reaches(talks))
    mean, truth = first * of_turn(talks, 0) + second * of_turn(talks, 1), talks.gradient
    along = mean @ truth / (truth @ truth)
    return float(np.linalg.norm(mean - along * truth) / along / np.linalg.norm(truth))


def expectation(talks: Talks, credit: Credit, size: int) -> Floats:
    """E[Σ A ∇log π / G] over every group, (P,): what a dialogue is paid takes few values, so groups
    of these are all written down, each turn's score in the mean of its kind.
    """
    kinds = sorted(set(talks.rewards))
    member = np.array([[one == kind for one in talks.rewards] for kind in kinds])
    chance = member @ talks.probability
    # (kinds, 2, P): the mean score of a turn over the dialogues of a kind
    score = np.stack(
        [
            [
                (talks.probability * of)
                @ (talks.score * (talks.turn == turn)[..., None]).sum(1)
                / p
                for turn in range(2)
            ]
            for of, p in zip(member, chance, strict=True)
        ]
    )
    groups = np.stack(np.meshgrid(*[np.arange(len(kinds))] * size, indexing="ij"), -1)
    groups = groups.reshape(-1, size)
    rewards = [kinds[kind] for group in groups for kind in group]
    weights = weights_of_turns(rewards, credit, size)
    table = np.array([[*row, 0.0][:2] for row in weights]).reshape(*groups.shape, 2)
    likely = chance[groups].prod(1)
    return np.asarray(np.einsum("n,ngt,ngtp->p", likely, table, score[groups]) / size)
