"""Dialogues of two turns, every one of them written down: what the partner says depends on the first
turn, and a silent first turn ends the dialogue.

A turn is at most two tokens of the same tiny policy, so there are 21 first turns and 421 dialogues.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from transformers import PreTrainedModel

from tests.oracle import world
from tests.oracle.world import END, Floats, Prompt

LONGEST = 2
"""Tokens of a turn."""
WIDTH = 2 * LONGEST + 1
"""Two turns with the partner's one token between them."""
OPENING = (1,)
Action = tuple[int, ...]


def turns() -> list[Action]:
    """Every turn: ended by the end token, or cut off."""
    letters = range(1, 1 + len(world.LETTERS))
    return [(END,), *((a, END) for a in letters), *((a, b) for a in letters for b in letters)]


def reply(first: Action) -> int | None:
    """What the partner says: "b" to a turn with an "a" in it, "c" to any other, nothing to
    silence.
    """
    return None if first == (END,) else 2 if 1 in first else 3


def earned(first: Action, second: Action | None) -> tuple[float, ...]:
    """What each turn pays: the first .5 for a "d", the second 1 where it says the partner's word
    again.
    """
    paid = (0.5 * (4 in first),)
    return paid if second is None else (*paid, float(reply(first) in second))


def dialogues() -> list[tuple[Action, ...]]:
    """All of them, of one turn or of two."""
    found: list[tuple[Action, ...]] = []
    for first in turns():
        found += [(first,)] if reply(first) is None else [(first, second) for second in turns()]
    return found


@dataclass(frozen=True)
class Talks(Prompt):
    """All dialogues of the opening: as a prompt's completions, with the partner's token masked; what
    each turn of each earned, and which turn a token is of, (Y, T).
    """

    rewards: list[tuple[float, ...]]
    turn: Floats


def talks(network: PreTrainedModel) -> Talks:
    """Every dialogue under a network, in 64 bits."""
    exact = type(network)(network.config).double()
    exact.load_state_dict(network.state_dict())
    exact.eval()
    weights = [weight for weight in exact.parameters() if weight.requires_grad]

    @cache
    def step(prefix: Action) -> tuple[Floats, Floats]:
        log_prob = exact(torch.tensor([prefix])).logits[0, -1].log_softmax(0)
        rows = [
            torch.cat(
                [part.flatten() for part in torch.autograd.grad(of, weights, retain_graph=True)]
            )
            for of in log_prob
        ]
        return log_prob.detach().numpy(), torch.stack(rows).numpy()

    every, size = dialogues(), sum(weight.numel() for weight in weights)
    log_prob, mask, turn = (np.zeros((len(every), WIDTH)) for _ in range(3))
    score = np.zeros((len(every), WIDTH, size))
    for y, dialogue in enumerate(every):
        state, at = OPENING, 0
        for number, action in enumerate(dialogue):
            for token in action:
                of_tokens, gradients = step(state)
                log_prob[y, at], score[y, at] = of_tokens[token], gradients[token]
                mask[y, at], turn[y, at] = 1, number
                state, at = (*state, token), at + 1
            said = reply(action)
            if number == 0 and said is not None:
                state, at = (*state, said), at + 1
    paid = [earned(dialogue[0], dialogue[1] if len(dialogue) > 1 else None) for dialogue in every]
    return Talks(log_prob, score, mask, np.array([sum(of) for of in paid]), paid, turn)
