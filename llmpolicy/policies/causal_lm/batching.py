"""Given completions scored in batches of rows: packed by groups, or padded."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from llmpolicy.policies.causal_lm.fast import door
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import side_by_side
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
        log_probs, entropies, masks = list[Tensor](), list[Tensor](), list[Tensor]()
        for start in range(0, max(len(prompt_ids), 1), size):
            rows = slice(start, start + size)
            ids, there, mask = side_by_side(
                prompt_ids[rows], action_ids[rows], self.pad_id, self.device
            )  # (b, P + t), (b, t)
            scored = self._figures(ids, there, mask.shape[1])
            fill = (0, width - mask.shape[1])
            log_probs.append(pad(scored.log_prob.masked_fill(~mask, 0.0), fill))  # (b, T)
            if scored.entropy is not None:
                entropies.append(pad(scored.entropy.masked_fill(~mask, 0.0), fill))
            masks.append(pad(mask, fill))
        entropy = torch.cat(entropies) if entropies else None
        return Scored(torch.cat(log_probs), entropy), torch.cat(masks)

    def _figures(self, ids: Tensor, there: Tensor, keep: int) -> Scored:
        """As a gradient wants them, or as the door says."""
        entropy, temperature = self.entropy, self.temperature
        if self.padded or door.scoring(self.model).name == PADDED:
            return score(
                self.model, ids, there, keep, temperature, entropy=entropy, entropy_grad=True
            )
        rows = Rows(ids, there, keep)
        return score_groups(self.model, rows, temperature, entropy=entropy, budget=TOKENS_AT_ONCE)
