"""The scorer by groups: log π(token|context) of the completions of several prompts, each prompt
read once.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate, chain

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.fast.head import scoring_head
from llmpolicy.policies.causal_lm.fast.norm import norm_forwards
from llmpolicy.policies.causal_lm.fast.pack import pack
from llmpolicy.policies.causal_lm.fast.patched import packed_forward, patched
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
    needed: Tensor | None = None,
) -> Scored:
    """Score all rows under softmax(logits / temperature), (B, keep); 0 where there is no token, or
    none that is ``needed`` (B, keep): those that an environment wrote are read, and get no head.

    ``budget`` bounds the tokens of one pass. The entropy has no gradient. A backward that
    recomputes activations must find attention as the forward did: pass ``held``, one pass without a
    budget, and close it after the backward.
    """
    by_states = is_recurrent(model)
    read = state_pass if by_states else _pass
    batches: Sequence[Sequence[int]] = [range(len(rows.prompts))]
    if budget is not None:
        batches = rows.batches(batches[0], budget, once=not by_states)
    shape, device = rows.places.shape, rows.places.device
    log_prob = torch.zeros(shape.numel(), device=device)
    entropies = None
    if entropy:
        entropies = torch.zeros_like(log_prob)
    inner = rows.places.flatten().nonzero()[:, 0]  # where the tokens are, row after row
    starts = [0, *accumulate(map(len, rows.completions))]
    for batch in batches:
        groups = rows.groups(batch)
        if not groups:
            continue
        order: list[int] = []
        for row in chain.from_iterable(groups):
            order += range(starts[row], starts[row + 1])
        places = inner[torch.tensor(order, device=device)]  # (S,)
        asked = None
        if needed is not None:
            asked = needed.flatten()[places].nonzero()[:, 0]  # (S',), of the S tokens
            places = places[asked]
            if not len(asked):
                continue
        figures = read(model, rows, groups, temperature, entropy, held, asked)  # (S or S', 2)
        log_prob = log_prob.index_copy(0, places, figures[:, 0])
        if entropies is not None:
            entropies = entropies.index_copy(0, places, figures[:, 1].detach())
    if entropies is not None:
        entropies = entropies.view(shape)
    return Scored(log_prob.view(shape), entropies)


def _pass(
    model: nn.Module,
    rows: Rows,
    groups: list[Group],
    temperature: float,
    entropy: bool,
    held: ExitStack | None,
    asked: Tensor | None,
) -> Tensor:
    """Log-probability and entropy of each completion token, (S, 2), row after row of group after
    group, or of those ``asked`` for alone.
    """
    texts = []
    for group in groups:
        texts.append((rows.prompts[group[0]], [rows.completions[row] for row in group]))
    packed = pack(texts, rows.places.device)
    keep, labels = packed.keep, packed.labels
    if asked is not None:
        keep, labels = keep[asked], labels[asked]
    head = scoring_head(model, labels, temperature, entropy)
    contexts = packed.position_ids[0, keep] + 1  # (S,)
    with ExitStack() as this_pass:
        forwards = [*norm_forwards(model), head]
        (held or this_pass).enter_context(patched(model, packed.attend, forwards))
        return by_context(
            model,
            packed.position_ids,
            contexts,
            lambda places: packed_forward(model, packed.token_ids, places, keep).logits[0],
        )
