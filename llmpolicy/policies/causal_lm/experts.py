"""The balance of experts: whether a mixture of experts gives the loss that TRL adds for it."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import (
    class_name,
    forward,
    is_there,
    positions,
    text_config,
)
from llmpolicy.policies.causal_lm.trial import CANNOT, some_tokens


def settle_aux_loss(trainer: Any, model: nn.Module, asked: float | None) -> None:
    """Let a trainer of TRL do without an auxiliary loss where the model gives none, and say so.

    TRL takes a configuration that has ``output_router_logits`` for a promise. Raises PolicyError if
    a coefficient was asked for.
    """
    if not trainer.aux_loss_enabled or gives_aux_loss(model):
        return
    name = class_name(model)
    if asked:
        raise PolicyError(
            f"router_aux_loss_coef is {asked}, but {name} gives no auxiliary loss; expected 0 or"
            " none"
        )
    logging.getLogger("llmpolicy").warning(
        "%s gives no auxiliary loss: its experts are trained without one", name
    )
    trainer.aux_loss_enabled = False
    text_config(model).output_router_logits = False


@torch.no_grad()
def gives_aux_loss(model: nn.Module) -> bool:
    """Whether the model, asked for its routers' logits, gives a loss of them."""
    if not is_there(model):
        return True
    ids = some_tokens(model, 8)[None]  # (1, L)
    mask = torch.ones_like(ids)
    try:
        _, output = forward(
            model, ids, mask, positions(mask), 1, use_cache=False, output_router_logits=True
        )
    except CANNOT:
        return False
    return isinstance(getattr(output, "aux_loss", None), Tensor)
