"""One generation on one process: its episodes, and what TRL asks for between acting and keeping."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmpolicy.episode import Episode, Turn
from llmpolicy.rewards import RowScore, Sample

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer


@dataclass(slots=True)
class Generation:
    """The episodes of a generation, one for each of its ``rows``: places in the rows trained on.

    ``scoring`` is what was submitted early. ``table`` has every term of every row, (B of all
    processes, terms). ``reward_seconds`` are those that the trainer waited.
    """

    rows: Sequence[int] = ()
    episodes: list[Episode] = field(default_factory=list)
    scoring: Future[list[RowScore]] | None = None
    table: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    seconds: float = 0.0
    reward_seconds: float = 0.0


def begin(trainer: "PolicyTrainer", rows: Sequence[int]) -> Generation:
    """A new generation of these rows on this process."""
    trainer.generation = Generation(rows)
    return trainer.generation


def acted(trainer: "PolicyTrainer", turns: Sequence[Turn]) -> list[Episode]:
    """The episodes of this generation's rows, of one turn each, as text too."""
    episodes, codec = [], trainer.policy.codec
    start = trainer.accelerator.process_index * len(turns)
    for number, (row, turn) in enumerate(
        zip(trainer.generation.rows, turns, strict=True), start=start
    ):
        legible = codec.legible(turn)
        legible.version = trainer.state.global_step
        group = number // trainer.group_size
        episodes.append(Episode([legible], group, trainer.rows[row].index))
    return episodes


def samples(trainer: "PolicyTrainer") -> list[Sample]:
    """The episodes of this generation as the rewards see them."""
    pairs = zip(trainer.generation.rows, trainer.generation.episodes, strict=True)
    return [trainer.rows[row].sample(episode) for row, episode in pairs]


def log_probs(episodes: Sequence[Episode]) -> list[Sequence[float | None]] | None:
    """The log-probabilities of all tokens of each episode; None where one has none."""
    noted = []
    for episode in episodes:
        of_episode = episode.log_probs()
        if of_episode is None:
            return None
        noted.append(of_episode)
    return noted
