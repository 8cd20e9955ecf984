"""Given completions scored in batches of rows: packed by groups, or padded."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast import door
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import left_pad, right_pad
from llmpolicy.policies.causal_lm.score import Scored, score
from llmpolicy.speed import PADDED

TOKENS_AT_ONCE = 2**14
"""Most tokens of a pass that scores by groups, which it does where no gradient is asked for."""


@dataclass(frozen=True, slots=True)
class Batching:
    """A model and how its rows are to be scored."""

    model: nn.Module
    pad_id: int
    temperature: float
    device: torch.device
    entropy: bool
    padded: bool

    def score(
        self, prompt_ids: list[list[int]], action_ids: list[list[int]], size: int
    ) -> tuple[Scored, Tensor]:
        """Figures of all rows, ``size`` at a time, and the mask of their tokens; (B, T)."""
        width = max(map(len, action_ids), default=0)
        chunks: list[tuple[Scored, Tensor]] = []
        for start in range(0, max(len(prompt_ids), 1), size):
            rows = slice(start, start + size)
            chunks.append(self._batch(prompt_ids[rows], action_ids[rows], width))
        log_probs = torch.cat([scored.log_prob for scored, _ in chunks])
        entropies = [scored.entropy for scored, _ in chunks if scored.entropy is not None]
        entropy = torch.cat(entropies) if entropies else None
        return Scored(log_probs, entropy), torch.cat([mask for _, mask in chunks])

    def _batch(
        self, prompt_ids: list[list[int]], action_ids: list[list[int]], width: int
    ) -> tuple[Scored, Tensor]:
        prompts, prompt_mask = left_pad(prompt_ids, self.pad_id, self.device)  # (b, P)
        actions, action_mask = right_pad(action_ids, self.pad_id, self.device)  # (b, t)
        ids = torch.cat([prompts, actions], dim=1)
        there = torch.cat([prompt_mask, action_mask], dim=1)
        scored = self._figures(ids, there, actions.shape[1])
        mask, fill = action_mask.bool(), (0, width - actions.shape[1])
        log_prob = pad(scored.log_prob.masked_fill(~mask, 0.0), fill)  # (b, T)
        entropy = scored.entropy
        if entropy is not None:
            entropy = pad(entropy.masked_fill(~mask, 0.0), fill)  # (b, T)
        return Scored(log_prob, entropy), pad(mask, fill)

    def _figures(self, ids: Tensor, there: Tensor, keep: int) -> Scored:
        """As a gradient wants them, or as the door says."""
        entropy, temperature = self.entropy, self.temperature
        if self.padded or door.scoring(self.model).name == PADDED:
            return score(
                self.model, ids, there, keep, temperature, entropy=entropy, entropy_grad=True
            )
        rows = Rows(ids, there, keep)
        return score_groups(self.model, rows, temperature, entropy=entropy, budget=TOKENS_AT_ONCE)
