"""The same weights through a plain forward of transformers: one row at a time, no padding, no
cache, eval mode.
"""

import copy
import inspect
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.forward import bare

Ids = Sequence[int]
Gradients = dict[str, Tensor]


class Plain:
    """A copy of a model, taken before a policy was made of it; every forward begins from the state
    it was built in.
    """

    def __init__(self, model: nn.Module) -> None:
        kept = {}  # a graph that a module holds on to cannot be copied
        for part in chain.from_iterable(vars(module).values() for module in model.modules()):
            if isinstance(part, Tensor) and part.grad_fn is not None:
                kept[id(part)] = part.detach()
        self.model: Any = copy.deepcopy(model, kept).eval()
        self.by_length = re.search('longrope|"dynamic"', repr(self.model.config)) is not None
        states = [(module, _state(module)) for module in self.model.modules()]
        self.start = [(module, state) for module, state in states if state]
        taken = inspect.signature(type(bare(self.model)).forward).parameters
        self.arguments = {"use_cache": False} if "use_cache" in taken else {}

    def logits(self, ids: Ids) -> Tensor:
        """The logits after each token, (L, V)."""
        for module, state in self.start:
            vars(module).update({**state, "_buffers": dict(state["_buffers"])})
        row = torch.tensor([list(ids)])
        return self.model(input_ids=row, **self.arguments).logits[0].float()

    def log_prob(self, prompt: Ids, action: Ids, temperature: float) -> Tensor:
        """log π of each token of an action, (T,): each from its own context alone where frequencies
        turn with the length.
        """
        row = [*prompt, *action]
        if self.by_length:
            ends = range(len(prompt), len(row))
            logits = torch.stack([self.logits(row[:end])[-1] for end in ends])
        else:
            logits = self.logits(row)[-len(action) - 1 : -1]
        log_probs = (logits / temperature).log_softmax(-1)  # (T, V)
        return log_probs[torch.arange(len(action)), list(action)]

    def greedy(self, prompt: Ids, stop: Sequence[int], most: int) -> tuple[list[int], float]:
        """The likeliest token a step, and by how much the closest of these choices was made, in
        nats.
        """
        written: list[int] = []
        closest = float("inf")
        with torch.no_grad():
            while len(written) < most and not (written and written[-1] in stop):
                best = self.logits([*prompt, *written])[-1].topk(2)
                closest = min(closest, float(best.values[0] - best.values[1]))
                written.append(int(best.indices[0]))
        return written, closest

    def sensitivity(self, ids: Ids) -> float:
        """How far the last distribution moves with another token, the first or one a few places
        before, in nats (mean over V).

        The first may lie beyond what sliding windows see.
        """
        farthest = 0.0
        with torch.no_grad():
            before = self.logits(ids)[-1].log_softmax(-1)
            for index in (0, -4):
                row = list(ids)
                row[index] += 1
                after = self.logits(row)[-1].log_softmax(-1)
                farthest = max(farthest, float((before - after).abs().mean()))
        return farthest

    def gradient(self, loss: Tensor) -> Gradients:
        """The gradient of a loss by name of the trainable parameter, zeros where there is none."""
        self.model.zero_grad()
        loss.backward()
        return gradients(self.model)


def gradients(model: nn.Module) -> Gradients:
    """The gradient of every trainable parameter in float64, zeros where it has none."""
    by_name = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            by_name[name] = gradient.detach().double()
    return by_name


def relative(actual: Gradients, expected: Gradients) -> float:
    """The norm of the difference of two gradients as a share of the second's."""
    apart = length = 0.0
    for name, value in expected.items():
        apart += float((actual[name] - value).pow(2).sum())
        length += float(value.pow(2).sum())
    return float((apart / length) ** 0.5)


def _state(module: nn.Module) -> dict[str, Any]:
    """What a rotary embedding may change while it is called: frequencies that grow with the longest
    row.
    """
    if "rotary" not in type(module).__name__.lower():
        return {}
    state: dict[str, Any] = {"_buffers": dict(module._buffers)}
    for name, value in vars(module).items():
        if isinstance(value, int | float | Tensor):
            state[name] = value
    return state
