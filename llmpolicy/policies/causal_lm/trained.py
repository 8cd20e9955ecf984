"""What of a model is trained: kept as it was given, and refused where no step could be made of
it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.kinds import tuner_layers

IN_16_BITS = ("sgd", "adafactor")
"""Optimisers of transformers whose steps are numbers in float16: they divide by nothing, or in
float32.
"""


@contextmanager
def kept_frozen(model: nn.Module) -> Iterator[None]:
    """What is frozen stays frozen: PEFT makes a whole adapter trainable whenever one is switched on
    or off.
    """
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, is_trained in before:
            parameter.requires_grad_(is_trained)


def adapter_is_on(model: nn.Module) -> str | None:
    """Why nothing of an adapter would be trained as it stands, in words, or None."""
    for layer in tuner_layers(model):
        if layer.disable_adapters:
            return (
                "the layers of its adapter are switched off; expected"
                " model.base_model.enable_adapter_layers() before"
            )
        if layer.merged:
            return "its adapter is merged into its base; expected model.unmerge_adapter() before"
    return None


def check_trained(model: nn.Module, name: str, args: Any) -> None:
    """Raise PolicyError, before a step, for a model of which nothing is trained, or in float16.

    Squares of gradients below 2e-4 are 0 there, and so is Adam's ε of 1e-8 but in its fused form:
    weights become NaN or leap. ``args`` are transformers' TrainingArguments; their mixed precision
    ``fp16`` refuses gradients of float16.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise PolicyError(
            f"{name}: nothing of it is trained, requires_grad is False everywhere; expected an"
            " adapter loaded with is_trainable=True, or weights with requires_grad"
        )
    optimiser = str(getattr(args.optim, "value", args.optim))
    if any(p.dtype == torch.float16 for p in trained) and (
        optimiser not in IN_16_BITS or args.fp16
    ):
        raise PolicyError(
            f"{name}: weights in float16 cannot be trained by {optimiser}, which divides by numbers"
            " that are 0 in it; expected model.dtype bfloat16, or float32 (with grpo.fp16 on a"
            " GPU), or lora"
        )
