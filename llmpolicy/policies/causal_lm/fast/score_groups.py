"""The scorer by groups: log π(token|context) of the completions of several prompts, each prompt
read once.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.fast.group_attention import attending, packed_forward
from llmpolicy.policies.causal_lm.fast.head import scoring_head
from llmpolicy.policies.causal_lm.fast.norm import quick_norms
from llmpolicy.policies.causal_lm.fast.pack import pack
from llmpolicy.policies.causal_lm.fast.rows import Group, Rows
from llmpolicy.policies.causal_lm.fast.score_states import state_pass
from llmpolicy.policies.causal_lm.frequencies import by_context
from llmpolicy.policies.causal_lm.score import Scored
from llmpolicy.policies.causal_lm.states import is_recurrent


def score_groups(
    model: nn.Module,
    rows: Rows,
    temperature: float,
    *,
    entropy: bool = False,
    budget: int | None = None,
    held: ExitStack | None = None,
) -> Scored:
    """Score all rows under softmax(logits / temperature), (B, keep); 0 where there is no token.

    ``budget`` bounds the tokens of one pass. The entropy has no gradient. A backward that
    recomputes activations must find attention as the forward did: pass ``held``, one pass without a
    budget, and close it after the backward.
    """
    everything, by_states = range(len(rows.prompts)), is_recurrent(model)
    batches = (
        [list(everything)]
        if budget is None
        else rows.batches(everything, budget, once=not by_states)
    )
    read = state_pass if by_states else _pass
    shape, device = rows.places.shape, rows.places.device
    log_prob = torch.zeros(shape.numel(), device=device)
    entropies = torch.zeros_like(log_prob) if entropy else None
    inner = rows.places.flatten().nonzero()[:, 0]  # where the tokens are, row after row
    starts = [0, *torch.tensor([len(ids) for ids in rows.completions]).cumsum(0).tolist()]
    for batch in batches:
        groups = rows.groups(batch)
        if not groups:
            continue
        found = read(model, rows, groups, temperature, entropy, held)  # (S, 2)
        order = [
            place
            for group in groups
            for row in group
            for place in range(starts[row], starts[row + 1])
        ]
        places = inner[torch.tensor(order, device=device)]  # (S,)
        log_prob = log_prob.index_copy(0, places, found[:, 0])
        if entropies is not None:
            entropies = entropies.index_copy(0, places, found[:, 1].detach())
    return Scored(log_prob.view(shape), None if entropies is None else entropies.view(shape))


def _pass(
    model: nn.Module,
    rows: Rows,
    groups: list[Group],
    temperature: float,
    entropy: bool,
    held: ExitStack | None,
) -> Tensor:
    """Log-probability and entropy of each completion token, (S, 2), row after row of group after
    group.
    """
    device = rows.places.device
    packed = pack(
        [(rows.prompts[group[0]], [rows.completions[row] for row in group]) for group in groups],
        device,
    )
    with ExitStack() as own:
        (held or own).enter_context(attending(model, packed.attend))
        (held or own).enter_context(quick_norms(model))
        (held or own).enter_context(scoring_head(model, packed.labels, temperature, entropy))
        contexts = packed.position_ids[0, packed.keep] + 1  # (S,)
        return by_context(
            model,
            packed.position_ids,
            contexts,
            lambda places: packed_forward(model, packed.token_ids, places, packed.keep).logits[0],
        )
