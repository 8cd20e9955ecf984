"""RMS norms in fewer passes: as exact in bfloat16 as transformers' own, and only where they are
known to be the same.
"""

from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from llmpolicy.policies.causal_lm.fast.norm import is_plain_norm, norm_forwards
from llmpolicy.policies.causal_lm.fast.patched import patched
from tests import models

PLAIN = ("llama", "mistral", "qwen2", "qwen3")


def quick_norms(model: nn.Module) -> AbstractContextManager[None]:
    return patched(model, None, [*norm_forwards(model)])


class Model(nn.Module):
    """A norm in a module, where it is looked for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = LlamaRMSNorm(size, 1e-5)


def results(layer: Any, x: Tensor, gradient: Tensor) -> list[Tensor]:
    leaf = x.detach().clone().requires_grad_()
    out = layer(leaf)
    return [
        one.detach().double()
        for one in (out, *torch.autograd.grad(out, [leaf, layer.weight], gradient))
    ]


def truth(layer: Any, x: Tensor, gradient: Tensor) -> list[Tensor]:
    """By autograd, from the definition (Zhang and Sennrich 2019, equation 4), in float64."""
    leaf, weight = (one.detach().double().requires_grad_() for one in (x, layer.weight))
    out = leaf / (leaf.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon).sqrt() * weight
    return [out.detach(), *torch.autograd.grad(out, [leaf, weight], gradient.double())]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 1500, 64), (1, 40, 576), (1, 60, 5, 16), (200, 48), (1, 12, 32)]),
    scale=st.sampled_from([1e-4, 0.1, 1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_norm_and_gradients_are_as_exact_as_those_of_transformers(
    shape: tuple[int, ...], scale: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    made = Model(shape[-1])
    with torch.no_grad():
        made.norm.weight += 0.3 * torch.randn(shape[-1], generator=draw)
    made = made.bfloat16()
    x = (scale * torch.randn(shape, generator=draw) + 0.5 * scale).bfloat16()  # its mean is not 0
    gradient = torch.randn(shape, generator=draw).bfloat16()
    plain = results(made.norm, x, gradient)
    with quick_norms(made):
        quick = results(made.norm, x, gradient)
    step = torch.finfo(torch.bfloat16).eps
    for one, other, true in zip(quick, plain, truth(made.norm, x, gradient), strict=True):
        assert (one - true).norm() <= 1.5 * (other - true).norm() + step / 2 * true.norm()


@pytest.mark.parametrize("architecture", PLAIN)
def test_the_norms_of_a_family_are_replaced_while_it_lasts(architecture: str) -> None:
    made = models.model(architecture, vocab_size=50).bfloat16()
    norms = [layer for layer in made.modules() if is_plain_norm(layer)]
    assert len(norms) > 2 * made.config.num_hidden_layers
    with quick_norms(made):
        assert all("forward" in vars(layer) for layer in norms)
        held = norms[0].float()(
            torch.ones(2, norms[0].weight.numel(), dtype=torch.bfloat16)
        )  # a weight of 32 bits
        assert held.dtype == torch.float32  # as transformers gives it
        assert torch.equal(held, norms[0].weight.expand_as(held))
    assert not any("forward" in vars(layer) for layer in norms)


def test_what_is_not_known_to_be_the_same_is_left_alone() -> None:
    wide, half, changed = Model(8), Model(8).half(), Model(8).bfloat16()
    vars(changed.norm)["forward"] = own = lambda x: x
    with quick_norms(wide), quick_norms(half), quick_norms(changed):
        assert "forward" not in vars(wide.norm)
        assert "forward" not in vars(half.norm)  # gradients times activations would overflow
        assert changed.norm.forward is own
    gemma = models.model("gemma3", vocab_size=50).bfloat16()
    assert not any(map(is_plain_norm, gemma.modules()))  # its factor is 1 + weight


def test_a_weight_that_is_not_trained_gets_no_gradient() -> None:
    made = Model(8).bfloat16().requires_grad_(False)
    x = torch.randn(1, 3, 8).bfloat16().requires_grad_()
    with quick_norms(made):
        made.norm(x).sum().backward()
    assert x.grad is not None
    assert made.norm.weight.grad is None
