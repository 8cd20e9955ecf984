"""What one generation did, and the rows of it that the run keeps."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from llmpolicy.rewards import RowScore, Sample


@dataclass(slots=True)
class Generation:
    """The current generation of one process: its rows, sampler's log-probs, samples, scores and
    seconds.

    ``terms`` names the terms of the reward that are kept beside its parts; ``table``, (B, terms),
    has those of all processes. ``scoring`` is what was submitted early; ``reward_seconds`` are
    those that the trainer waited. ``given`` are the completions, and the log-probs for TRL, of a
    generation that was made before TRL asks for it.
    """

    row_indices: Sequence[int] = ()
    log_probs: Sequence[Sequence[float]] | None = None
    samples: Sequence[Sample] = field(default_factory=list)
    scores: Sequence[RowScore] = field(default_factory=list)
    terms: Sequence[str] = ()
    seconds: float = 0.0
    reward_seconds: float = 0.0
    table: Any = None
    given: tuple[list[list[int]], list[list[float]] | None] | None = None
    scoring: Future[list[RowScore]] | None = None


def rollout_rows(generation: Generation, advantages: Sequence[float]) -> list[dict[str, Any]]:
    """One flat record a completion: text, tokens, log-probs, every reward part and term, advantage,
    how it ended, seconds.
    """
    log_probs: Sequence[Sequence[float] | None] = generation.log_probs or [None] * len(
        generation.samples
    )
    rows = []
    for sample, score, log_prob, advantage in zip(
        generation.samples, generation.scores, log_probs, advantages, strict=True
    ):
        rows.append(
            {
                "row": sample.row,
                "prompt": sample.prompt,
                "completion": sample.completion,
                "raw": sample.raw,
                "token_ids": list(sample.completion_ids),
                "log_probs": None if log_prob is None else [float(value) for value in log_prob],
                "reward": score.value,
                **{f"reward/{name}": part.value for name, part in score.parts.items()},
                **{f"term/{name}": score.terms.get(name) for name in generation.terms},
                "advantage": advantage,
                "terminated": not sample.truncated,
                "truncated": sample.truncated,
                "seconds": score.seconds,
            }
        )
    return rows
