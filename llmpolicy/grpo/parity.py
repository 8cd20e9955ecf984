"""Whether sampler and scorer see one policy: the log-probabilities of the first generation, from
both.
"""

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmpolicy.errors import PolicyError

if TYPE_CHECKING:
    from llmpolicy.grpo.trainer import PolicyTrainer

EXACT, ROUNDED = 0.01, 0.3
"""The largest mean over a completion, in nats a token: in 32 bits or more, and where numbers are
rounded to fewer.
"""

GROUPS = 2
"""Of different prompts: what they begin with is read once, as in training."""
_NOTHING = -1.0


def disagreement(
    trainer: "PolicyTrainer", inputs: dict[str, Any], sampled: Sequence[Sequence[float | None]]
) -> float | None:
    """Score some groups of a generation again; returns the largest mean difference of a completion,
    in nats a token.

    None if there is nothing to compare: no token of theirs counts in training, or no
    log-probability is known. Raises PolicyError on every process when it is beyond the tolerance of
    the policy's precision on any.
    """
    rows = GROUPS * trainer.group_size
    differences = _differences(trainer, inputs, sampled[:rows])  # (b,)
    largest = float(trainer.accelerator.gather(differences.max()[None]).max())
    if largest == _NOTHING:
        return None
    dtype = trainer.policy.model.dtype
    mixed = trainer.accelerator.mixed_precision in ("fp16", "bf16")
    allowed = EXACT if dtype in (torch.float32, torch.float64) and not mixed else ROUNDED
    if not largest <= allowed:
        raise PolicyError(
            "The log-probabilities of a completion as it was sampled and as training computes them"
            f" differ by {largest:.3g} nats a token; expected at most {allowed:g} in"
            f" {str(dtype).removeprefix('torch.')}: the sampler and the model that learns are not"
            " one policy (other weights, temperature, adapter or positions)."
        )
    return largest


def _differences(
    trainer: "PolicyTrainer", inputs: dict[str, Tensor], sampled: Sequence[Sequence[float | None]]
) -> Tensor:
    """The mean over its tokens of each sampled completion's absolute difference, (b,); _NOTHING
    where no token can be compared.
    """
    rows, completion_mask = len(sampled), inputs["completion_mask"][: len(sampled)].bool()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)[:rows]
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)[:rows]
    keep = inputs["completion_ids"].shape[1]
    # By groups one pass, with what both prompts begin with; in padded rows no more at once than a
    # group.
    size = len(ids) if trainer.stock_reason is None else trainer.group_size
    with torch.no_grad():
        scored = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, keep, batch_size=size
        )[0]
    drawn = torch.full_like(scored, nan, dtype=torch.float32)  # (b, T)
    for row, values in enumerate(sampled):
        numbers = [nan if value is None else float(value) for value in values]
        drawn[row, : len(numbers)] = torch.tensor(numbers, device=drawn.device)
    counted = completion_mask & ~drawn.isnan()
    differences = (scored.float() - drawn).abs().where(counted, 0.0)
    return (differences.sum(1) / counted.sum(1)).where(counted.any(1), _NOTHING)
