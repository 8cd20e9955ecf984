"""Two groups of completions under a tiny policy, scored one prefix at a time in 64 bits without
padding: what TRL is to agree with after it has padded, shifted and batched them.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from tests.oracle import world
from tests.semantics.papers import Batch, Floats

PROMPTS = ((1, 2, 3), (4,))
COMPLETIONS = (
    (2, 1, 0), (3, 4, 4, 1), (0,), (1, 0),  # END is 0; what lacks it was cut off
    (4, 2, 0), (1, 1, 3, 0), (2, 3, 1, 4), (3, 0),
)  # fmt: skip
REWARDS = ((1.0, 0.5), (0.0, np.nan), (0.25, -1.0), (np.nan, np.nan),
           (0.0, 2.0), (1.0, 0.0), (0.5, 0.75), (2.0, -0.5))  # fmt: skip
"""Two terms a completion; NaN where one does not judge."""
WEIGHTS = (1.0, 0.5)
GROUP, LENGTH, TEMPERATURE = 4, 4, 0.7
ADVANTAGES = (1.2, -0.7, -1.4, 0.9, -0.8, 1.5, 0.3, -1.0)


def policy_model(away: float = 0.0, seed: int = 0) -> PreTrainedModel:
    """The tiny policy in 64 bits, or one that lies so far ``away`` from it in a drawn direction."""
    network = world.model()
    if away:
        size = sum(weight.numel() for weight in network.parameters())
        network = world.moved(network, np.random.default_rng(seed).normal(size=size), away)
    return network.double()


@dataclass(frozen=True)
class Scores:
    """Of every completion, (B, T): log π and entropy of each token, 0 behind the end; and their
    gradients in the weights, (B, T, P).
    """

    log_prob: Floats
    entropy: Floats
    of_log_prob: Floats
    of_entropy: Floats


def scores(network: PreTrainedModel, *, gradients: bool = False) -> Scores:
    """Every token of every completion in turn, each behind its own prefix alone."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    size = sum(weight.numel() for weight in weights) if gradients else 0
    shape = (len(COMPLETIONS), LENGTH)
    found = Scores(
        *(np.zeros(shape) for _ in range(2)), *(np.zeros((*shape, size)) for _ in range(2))
    )
    for row, completion in enumerate(COMPLETIONS):
        prompt = PROMPTS[row // GROUP]
        for t, token in enumerate(completion):
            prefix = torch.tensor([[*prompt, *completion[:t]]])
            chances = (network(prefix).logits[0, -1] / TEMPERATURE).log_softmax(0)
            of = chances[token], -(chances.exp() * chances).sum()
            found.log_prob[row, t], found.entropy[row, t] = of[0].item(), of[1].item()
            if gradients:
                found.of_log_prob[row, t] = _gradient(of[0], weights)
                found.of_entropy[row, t] = _gradient(of[1], weights)
    return found


def _gradient(of: torch.Tensor, weights: list[torch.nn.Parameter]) -> Floats:
    parts = torch.autograd.grad(of, weights, retain_graph=True, materialize_grads=True)
    return np.asarray(torch.cat([part.flatten() for part in parts]).numpy())


@cache
def policy() -> Scores:
    """The policy that learns."""
    return scores(policy_model(), gradients=True)


@cache
def others() -> tuple[Floats, Floats, Floats]:
    """log π of the policy that acted, of the reference and of the engine that wrote, (B, T)."""
    networks = policy_model(1.2, 5), policy_model(0.5, 2), policy_model(0.2, 3)
    old, reference, engine = (scores(network).log_prob for network in networks)
    return old, reference, engine


def counted(*, cut: bool = False, tools: bool = False) -> Floats:
    """Which tokens count, (B, T): ``cut``: of a completion without an end none; ``tools``: not the
    second token of long ones, as if a tool had written it.
    """
    mask = np.zeros((len(COMPLETIONS), LENGTH))
    for row, completion in enumerate(COMPLETIONS):
        mask[row, : len(completion)] = not cut or completion[-1] == world.END
        mask[row, 1] *= not (tools and len(completion) > 2)
    return mask


def batch(
    mask: Floats, sampler: Floats, advantage: Floats | None = None, *, on_policy: bool = False
) -> Batch:
    """The rows as the papers ask for them."""
    old, reference, _ = others()
    own = policy()
    weights = np.array(ADVANTAGES)[:, None] if advantage is None else advantage
    return Batch(
        own.log_prob, own.log_prob if on_policy else old, reference, own.entropy, mask, weights, sampler
    )  # fmt: skip


def inputs(of: Batch, *, on_policy: bool = False, tools: bool = False) -> dict[str, Any]:
    """The same rows as TRL takes them: prompts padded on the left, completions on the right."""
    widest = max(map(len, PROMPTS))
    prompts = [PROMPTS[row // GROUP] for row in range(len(COMPLETIONS))]
    left = [[0] * (widest - len(p)) + [1] * len(p) for p in prompts]
    ids = [[0] * (widest - len(p)) + list(p) for p in prompts]
    written = [[*c, *([0] * (LENGTH - len(c)))] for c in COMPLETIONS]
    is_there = (
        of.mask
        if not tools
        else np.array([[t < len(c) for t in range(LENGTH)] for c in COMPLETIONS])
    )
    advantage = of.advantage[:, 0] if of.advantage.shape[1] == 1 else of.advantage
    given = {
        "prompt_ids": torch.tensor(ids), "prompt_mask": torch.tensor(left),
        "completion_ids": torch.tensor(written), "completion_mask": torch.tensor(is_there).long(),
        "advantages": torch.tensor(advantage), "num_items_in_batch": torch.tensor(of.mask.sum()),
        "ref_per_token_logps": torch.tensor(of.reference),
        "importance_sampling_ratio": torch.tensor(of.sampler),
    }  # fmt: skip
    if not on_policy:
        given["old_per_token_logps"] = torch.tensor(of.old)
    if tools:
        given["tool_mask"] = torch.tensor(of.mask).long()
    return given
