"""`judge`: the rewards score what one process generated, early where nothing of theirs runs here;
faults of rewards are written down, and end the run on all processes alike.
"""

import logging
import time
from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from llmpolicy.errors import RewardError
from llmpolicy.grpo.generation import samples
from llmpolicy.rewards import RowScore, Sample
from llmpolicy.rewards.health import replay_command
from llmpolicy.rewards.scoring import waited

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

MOST = 1e18
"""The largest size of a score that training takes."""


def begin(trainer: "PolicyTrainer") -> None:
    """Let the rewards begin while reference and old log-probabilities are computed, where nothing
    of theirs runs here.
    """
    asked = samples(trainer)
    if trainer.rewards.apart and not _spans(trainer, asked):
        trainer.generation.scoring = trainer.rewards.submit(asked, trainer.group_size)


def score(trainer: "PolicyTrainer") -> None:
    """Score what this process has generated, or wait for the scores that were begun."""
    generation, start = trainer.generation, time.perf_counter()
    pairs = zip(generation.episodes, _scores(trainer, samples(trainer)), strict=True)
    share = trainer.rewards.composition.share("environment")
    generation.episodes = [episode.judged(row_score, share) for episode, row_score in pairs]
    generation.reward_seconds = time.perf_counter() - start


def number(score: RowScore, term: str) -> float:
    """The value of a term as TRL takes it: NaN where it is not known, and everywhere in a row that
    cannot be judged.
    """
    value = None if score.value is None else score.terms.get(term)
    return nan if value is None else value


def _scores(trainer: "PolicyTrainer", asked: Sequence[Sample]) -> list[RowScore]:
    """The scores of this process's samples; a group that spans processes is scored whole where a
    reward asks for groups.

    Raises RewardError on every process when a reward failed too often on any.
    """
    generation, spans = trainer.generation, _spans(trainer, asked)
    begun, generation.scoring = generation.scoring, None
    failure, scores = None, []
    try:
        together = gather_object(asked) if spans else asked
        scores = waited(begun or trainer.rewards.submit(together, trainer.group_size))
        check_size(scores)
    except RewardError as error:
        failure = error
    # One process that raises alone would leave the others waiting in the next collective for ever.
    failures, faults = [failure], trainer.rewards.take_faults()
    if trainer.accelerator.num_processes > 1:
        failures, faults = gather_object(failures), gather_object(faults)
    again = _keep_faults(trainer, faults)
    for failed in filter(None, failures):
        advice = again.get(getattr(failed, "reward", ""), "")
        raise RewardError(f"{failed}{advice}") from failed
    if not spans:
        return scores
    start = trainer.accelerator.process_index * len(asked)
    return scores[start : start + len(asked)]


def _spans(trainer: "PolicyTrainer", asked: Sequence[Sample]) -> bool:
    """Whether a reward asks for whole groups, and some lie on several processes."""
    several = trainer.accelerator.num_processes > 1
    return several and trainer.rewards.needs_group and len(asked) % trainer.group_size != 0


def _keep_faults(trainer: "PolicyTrainer", faults: list[dict[str, Any]]) -> dict[str, str]:
    """Write down the calls in which rewards failed; for each reward, how the first one can be made
    again.
    """
    if trainer.run is None or not faults:
        return {}
    for fault, file in zip(faults, trainer.run.log_faults(faults), strict=True):
        if fault["reward"] not in trainer.again:
            advice = f" Make the call again with: {replay_command(fault, file)}"
            trainer.again[fault["reward"]] = advice
            logging.getLogger("llmpolicy").warning("%s", advice.strip())
    return trainer.again


def check_size(scores: Sequence[RowScore]) -> None:
    """Raise RewardError for a score whose square 32 bits cannot hold: its group's advantages would
    be no numbers.
    """
    for number, score in enumerate(scores):
        for name, part in score.parts.items():
            if part.value is not None and abs(part.value) > MOST:
                raise RewardError(
                    f"Reward {name!r} returned {part.value:g} on completion {number} of the batch;"
                    f" expected at most {MOST:g} in size: training computes in 32 bits, so scale it"
                    " down."
                )
