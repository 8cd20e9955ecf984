"""`judge`: the rewards score what one process generated, early where nothing of theirs runs here;
faults of rewards are written down, and end the run on all processes alike.
"""

import logging
import time
from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from llmpolicy.episode import Episode, Turn
from llmpolicy.errors import RewardError
from llmpolicy.rewards import RowScore, Sample
from llmpolicy.rewards.health import replay_command
from llmpolicy.rewards.scoring import waited

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

MOST = 1e18
"""The largest size of a score that training takes."""


def samples(trainer: "PolicyTrainer", completion_ids: Sequence[list[int]]) -> list[Sample]:
    """Completions of the generation's rows as the rewards see them."""
    codec, samples = trainer.policy.codec, []
    for index, ids in zip(trainer.generation.row_indices, completion_ids, strict=True):
        stopped, version = ids[-1] in codec.stop_ids, trainer.state.global_step
        turn = Turn(trainer.prompt_ids[index], ids, None, stopped, not stopped, version)
        samples.append(trainer.rows[index].sample(Episode([codec.legible(turn)])))
    return samples


def begin(trainer: "PolicyTrainer", completion_ids: Sequence[list[int]]) -> None:
    """Let the rewards begin while reference and old log-probabilities are computed, where nothing
    of theirs runs here.
    """
    generation = trainer.generation
    generation.samples = samples(trainer, completion_ids)
    if trainer.rewards.apart and not _spans(trainer, generation.samples):
        generation.scoring = trainer.rewards.submit(generation.samples, trainer.group_size)


def score(trainer: "PolicyTrainer", completion_ids: list[list[int]]) -> None:
    """Score what this process has generated, or wait for the scores that were begun."""
    generation, start = trainer.generation, time.perf_counter()
    if not generation.samples:
        generation.samples = samples(trainer, completion_ids)
    generation.scores = _scores(trainer, generation.samples)
    generation.reward_seconds = time.perf_counter() - start


def number(score: RowScore, term: str) -> float:
    """The value of a term as TRL takes it: NaN where it is not known, and everywhere in a row that
    cannot be judged.
    """
    value = None if score.value is None else score.terms.get(term)
    return nan if value is None else value


def _scores(trainer: "PolicyTrainer", samples: Sequence[Sample]) -> list[RowScore]:
    """The scores of this process's samples; a group that spans processes is scored whole where a
    reward asks for groups.

    Raises RewardError on every process when a reward failed too often on any.
    """
    generation, spans = trainer.generation, _spans(trainer, samples)
    begun, generation.scoring = generation.scoring, None
    failure, scores = None, []
    try:
        together = gather_object(samples) if spans else samples
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
    start = trainer.accelerator.process_index * len(samples)
    return scores[start : start + len(samples)]


def _spans(trainer: "PolicyTrainer", samples: Sequence[Sample]) -> bool:
    """Whether a reward asks for whole groups, and some lie on several processes."""
    several = trainer.accelerator.num_processes > 1
    return several and trainer.rewards.needs_group and len(samples) % trainer.group_size != 0


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
