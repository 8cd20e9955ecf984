"""Who answers when TRL asks for log-probabilities: the trainer's one ``scorer``, by groups or in
padded rows; an update sets another for as long as it needs it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.out_of_memory import say_once, unless_out_of_memory
from llmpolicy.policies.causal_lm.score import Scored, score

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer


@dataclass(frozen=True, slots=True)
class Asked:
    """What TRL asks for: log-probabilities of the last ``keep`` tokens of each row of input_ids
    (B, L), so many rows at once, and with them their entropies, or a mixture's balance loss. By
    groups those that are not ``needed`` (B, keep) are 0, and get no head.
    """

    model: torch.nn.Module
    input_ids: Tensor
    attention_mask: Tensor
    keep: int
    entropy: bool = False
    aux_loss: bool = False
    rows_at_once: int | None = None
    needed: Tensor | None = None

    @property
    def rows(self) -> Rows:
        """The prompts and completions without their padding."""
        return Rows(self.input_ids, self.attention_mask, self.keep)


Scorer = Callable[[Asked], Scored]


@dataclass
class Budget:
    """How many tokens are forwarded together: so many, or else what TRL would hold; fewer by
    ``divisor`` since memory ran out.
    """

    tokens: int | None = None
    divisor: int = 1

    def of(self, held: int) -> int:
        """The tokens of a pass where TRL would hold so many."""
        return max((self.tokens or held) // self.divisor, 1)


@contextmanager
def scoring(trainer: "PolicyTrainer", scorer: Scorer) -> Iterator[None]:
    """Let this scorer answer while it lasts."""
    usual, trainer.scorer = trainer.scorer, scorer
    try:
        yield
    finally:
        trainer.scorer = usual


def needing(
    trainer: "PolicyTrainer", needed: Callable[[Asked], Tensor | None]
) -> AbstractContextManager[None]:
    """While it lasts, say of all that is asked for what is ``needed``; None: every token is."""
    usual = trainer.scorer
    return scoring(trainer, lambda asked: usual(replace(asked, needed=needed(asked))))


def by_groups(trainer: "PolicyTrainer") -> Scorer:
    """Each prompt is read once, in passes of the trainer's budget."""

    def scorer(asked: Asked) -> Scored:
        held = (asked.rows_at_once or len(asked.input_ids)) * asked.input_ids.shape[1]
        score_in = partial(
            score_groups,
            asked.model,
            asked.rows,
            trainer.temperature,
            entropy=asked.entropy,
            needed=asked.needed,
        )
        while True:
            budget = trainer.budget.of(held)
            scored: Scored | None = unless_out_of_memory(partial(score_in, budget=budget))
            if scored is not None:
                return scored
            if budget == 1 or torch.is_grad_enabled():
                raise PolicyError(
                    "memory ran out while one completion was scored; lower max_completion_length"
                )
            say_once("scoring")
            trainer.budget.divisor *= 2

    return scorer


def padded(trainer: "PolicyTrainer") -> Scorer:
    """Each completion is read with its prompt, as TRL does it."""

    def scorer(asked: Asked) -> Scored:
        chunks: list[Scored] = []
        size = asked.rows_at_once or len(asked.input_ids)
        for ids, mask in zip(
            asked.input_ids.split(size), asked.attention_mask.split(size), strict=True
        ):
            chunk = score(
                asked.model,
                ids,
                mask,
                asked.keep,
                trainer.temperature,
                entropy=asked.entropy,
                entropy_grad=trainer._entropy_bonus_enabled,
                aux_loss=asked.aux_loss,
                fused=ids.is_cuda,
            )
            chunks.append(chunk)
        return _joined(chunks)

    return scorer


def _joined(chunks: list[Scored]) -> Scored:
    entropies = [chunk.entropy for chunk in chunks if chunk.entropy is not None]
    losses = [chunk.aux_loss for chunk in chunks if chunk.aux_loss is not None]
    return Scored(
        torch.cat([chunk.log_prob for chunk in chunks]),  # (B, keep)
        torch.cat(entropies) if entropies else None,
        torch.stack(losses).mean() if losses else None,
    )
