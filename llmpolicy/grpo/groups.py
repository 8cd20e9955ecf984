"""Pure functions of groups: which rows and groups have a signal, and how rows are taken, joined and
put in order.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]
"""A batch as TRL holds it: tensors by name, (B, ...), or () where all rows have one number."""


LEAST = 1e-6
"""An advantage of this size or less moves nothing: the gradient is far below Adam's epsilon of
1e-8.
"""


def equal_rewards(table: Tensor, weights: Tensor, size: int) -> Tensor:
    """Whether each row's group of ``size`` has one reward for all whose terms, (B, terms), are
    known; (B,).

    Its advantages are 0, though a mean of equal numbers, or the order of a sum, may be off by a
    rounding error.
    """
    rewards = totals(table, weights).view(-1, size)  # (D, G)
    unknown = rewards.isnan()
    lowest = rewards.masked_fill(unknown, float("inf")).amin(1)
    highest = rewards.masked_fill(unknown, float("-inf")).amax(1)
    rounding = 16 * torch.finfo(rewards.dtype).eps * torch.maximum(highest.abs(), lowest.abs())
    return ((highest <= lowest) | (highest - lowest <= rounding)).repeat_interleave(size)


def totals(table: Tensor, weights: Tensor) -> Tensor:
    """The reward of each row of a table, (B, terms), as TRL adds it up, NaN where no term is known;
    (B,).
    """
    rewards = (table * weights.to(table.device)).nansum(1)
    return rewards.masked_fill(table.isnan().all(1), float("nan"))


def wide(device: torch.device) -> torch.dtype:
    """The type in which rewards become advantages: 32 bits cannot tell 100,000,001 from
    100,000,000.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def live_groups(advantages: Sequence[Sequence[float]], size: int) -> float:
    """The share of groups of ``size`` rows, each with the advantages of its turns, in which one is
    not 0 or next to it.
    """
    live = [any(abs(advantage) > LEAST for advantage in row) for row in advantages]
    groups = [any(live[start : start + size]) for start in range(0, len(live), size)]
    return sum(groups) / len(groups)


def counting(inputs: Inputs) -> Tensor:
    """Where a token that the policy chose stands, (B, T)."""
    mask: Tensor = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    return mask


def chosen_alone(inputs: Inputs) -> Tensor | None:
    """The same, (B, T), where others have written too; None where all was chosen by the policy."""
    return counting(inputs).bool() if "tool_mask" in inputs else None


def live_rows(inputs: Inputs, *, by_advantage: bool) -> list[int]:
    """The rows that can contribute to the gradient: some completion token counts and, where all
    that is learned is weighed by the advantage, that is not 0.
    """
    live = counting(inputs).bool().any(1)  # (B,)
    if by_advantage:
        live = live & (inputs["advantages"].view(len(live), -1) != 0).any(1)
    rows: list[int] = live.nonzero()[:, 0].tolist()
    return rows


def subset(inputs: Inputs, rows: list[int]) -> Inputs:
    """Some rows of a batch; what is not by row stays."""
    part = dict(inputs)
    for name, value in inputs.items():
        if value.dim():
            part[name] = value[rows]
    return part


def one_token(inputs: Inputs) -> Inputs:
    """The first row, of which one token that was chosen counts: at a place that is padded a loss
    may be infinite, and 0 times it no number.
    """
    row = subset(inputs, [0])
    for mask in {"completion_mask", "tool_mask"} & row.keys():
        row[mask] = torch.zeros_like(row[mask])
        row[mask][:, 0] = 1
    return row


def joined(parts: list[Inputs]) -> Inputs:
    """Micro-steps of one generation as one batch."""
    whole = dict(parts[0])
    for name, value in parts[0].items():
        if value.dim():
            whole[name] = torch.cat([part[name] for part in parts])
    return whole


def shuffled_groups(inputs: Inputs, size: int) -> Inputs:
    """A generation with its groups of ``size`` rows in another order, so that they stay in one
    window; rows, if cut.
    """
    rows = len(inputs["advantages"])
    if rows % size:
        size = 1
    order = torch.randperm(rows // size)[:, None] * size + torch.arange(size)
    return subset(inputs, order.flatten().tolist())
