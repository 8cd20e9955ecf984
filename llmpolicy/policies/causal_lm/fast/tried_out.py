"""Reading by groups on trial: a few rows, scored and chosen from, must come out as by the model's
own forward.
"""

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.read import reading_groups
from llmpolicy.policies.causal_lm.fast.read_states import CANNOT
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.forward import (
    bare,
    forward,
    is_there,
    left_pad,
    positions,
    right_pad,
    vocabulary,
)
from llmpolicy.policies.causal_lm.frequencies import context_length, grows_past
from llmpolicy.policies.causal_lm.out_of_memory import ran_out
from llmpolicy.policies.causal_lm.score import score
from llmpolicy.policies.causal_lm.trial import (
    first_line,
    log_apart,
    tolerance,
    train_mode,
    weighted_apart,
)
from llmpolicy.speed import BY_GROUPS

_NATS, _NATS_16 = 1e-3, 0.3
"""How far log-probabilities by groups may lie from those of padded rows by rounding, in 32 bits and
in 16.
"""
_LONGEST, _STEPS = 13, 2


@torch.no_grad()
def difference(model: nn.Module) -> str | None:
    """In words, if a few rows have other log-probabilities by groups than padded, whatever was done
    to the model's parts.
    """
    if not is_there(model) or (context_length(model) or _LONGEST) < _LONGEST:
        return None
    kind = type(bare(model)).__name__
    try:
        with train_mode(model, on=False):
            nats = _apart(model)
    except CANNOT as error:
        if ran_out(error):
            raise
        return f"{kind} cannot be read by groups ({first_line(error)})"
    if nats <= tolerance(model, _NATS, _NATS_16):
        return None
    return (
        f"read by groups {kind} gives other log-probabilities than its own forward, by {nats:.2g}"
        " nats"
    )


def _apart(model: nn.Module) -> float:
    """How far scorer and generator by groups are from padded rows on two prompts that begin alike,
    in nats.
    """
    device = next(model.parameters()).device
    tokens = (torch.arange(22) * 7919 % vocabulary(model)).tolist()
    long, short = tokens[:8], [*tokens[:6], *tokens[8:9]]
    ends = [tokens[9:14], tokens[14:15], tokens[15:18], tokens[18:22]]
    prompts, prompt_mask = left_pad([long, long, short, short], 0, device)
    actions, action_mask = right_pad(ends, 0, device)
    ids, mask = torch.cat([prompts, actions], 1), torch.cat([prompt_mask, action_mask], 1)
    keep = actions.shape[1]
    padded = score(model, ids, mask, keep, 1.0).log_prob
    grouped = score_groups(model, Rows(ids, mask, keep), 1.0).log_prob
    apart = [float(log_apart(padded, grouped)[action_mask.bool()].mean())]
    if device.type in BY_GROUPS and not grows_past(model, [len(long), len(short)], _STEPS + 1):
        begun, there = ids[:, : _STEPS - keep], mask[:, : _STEPS - keep]
        logits, _ = forward(model, begun, there, positions(there), _STEPS + 1, use_cache=False)
        log_probs = torch.log_softmax(logits.float(), -1)  # (4, 3, V)
        going = ([0, 2], [0, 1, 2, 3], [0, 2, 3])
        written = _written(model, [long, short], actions)
        for step, (rows, chosen_from) in enumerate(zip(going, written, strict=True)):
            apart.append(float(weighted_apart(log_probs[rows, step], chosen_from).max()))
    return max(apart)


def _written(model: nn.Module, prompts: list[list[int]], actions: Tensor) -> list[Tensor]:
    """What the generator chooses from after two prompts, after a token of each of four rows, and
    one more of the others.
    """
    prompt_of = torch.tensor([0, 0, 1, 1], device=actions.device)
    going = torch.tensor([0, 2, 3], device=actions.device)
    product = Products()
    product.room = 0  # weights are asked where they lie
    with reading_groups(model, prompts, prompt_of, _STEPS, product) as reader:
        logits = [reader.prompts(), reader.tokens(actions[:, 0])]
        reader.leave(going)
        logits.append(reader.tokens(actions[going, 1]))
    return [torch.log_softmax(side.float(), -1) for side in logits]
