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
        return (
            (logits / temperature)
            .log_softmax(-1)
            .gather(-1, torch.tensor(list(action))[:, None])[:, 0]
        )

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
        with torch.no_grad():
            before, far, near = (
                self.logits(row)[-1].log_softmax(-1)
                for row in (ids, _changed(ids, 0), _changed(ids, -4))
            )
        return max(float((before - far).abs().mean()), float((before - near).abs().mean()))

    def gradient(self, loss: Tensor) -> dict[str, Tensor]:
        """The gradient of a loss by name of the trainable parameter, zeros where there is none."""
        self.model.zero_grad()
        loss.backward()
        return gradients(self.model)


def _changed(ids: Ids, index: int) -> list[int]:
    """The tokens with another one at a place."""
    row = list(ids)
    row[index] += 1
    return row


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradient of every trainable parameter in float64, zeros where it has none."""
    return {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).detach().double()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def relative(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The norm of the difference of two gradients as a share of the second's."""
    apart = {name: actual[name] - value for name, value in expected.items()}
    return _norm(apart) / _norm(expected)


def _norm(gradient: dict[str, Tensor]) -> float:
    return float(sum(float(value.pow(2).sum()) for value in gradient.values()) ** 0.5)


def _state(module: nn.Module) -> dict[str, Any]:
    """What a rotary embedding may change while it is called: frequencies that grow with the longest
    row.
    """
    if "rotary" not in type(module).__name__.lower():
        return {}
    plain = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int | float | Tensor)
    }
    return {**plain, "_buffers": dict(module._buffers)}
