"""A policy must choose and be scored by the same π: no dropout, no jitter, no look ahead, no effect
of padding.
"""

import warnings
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import (
    accepts,
    bare,
    class_name,
    forward,
    is_there,
    length_multiple,
    positions,
    text_config,
)
from llmpolicy.policies.causal_lm.frequencies import context_length, reads_whole
from llmpolicy.policies.causal_lm.states import is_recurrent, unpadded
from llmpolicy.policies.causal_lm.trial import (
    in_words,
    some_tokens,
    tolerance,
    train_mode,
    weighted_apart,
)

_NOISE = ("dropout", "pdrop", "layerdrop")
_ROWS, _WIDTH, _PADDING = 4, 16, 3
_AHEAD = 5e-4
"""Of what other tokens change where they stand, the share by which they may change what comes
before them, by rounding.
"""
_ROUNDING = 2e-5
"""Below this nothing is seen, in nats; on a GPU in 16 bits experts that get other tokens may round
otherwise by more.
"""


def remove_dropout(model: nn.Module) -> None:
    """Set all dropout to 0: in modules, their attributes (attention_dropout), the configuration;
    and let routers be still.

    A router's jitter is not a number to be set to 0: Phi-3.5-MoE's is also the threshold by which
    it chooses experts. A router of that kind chooses in training as it does in evaluation.
    """
    for holder in (bare(model).config, text_config(model)):
        _silence(holder)
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        _silence(module)
        has_jitter = "jitter" in " ".join(vars(module))
        if has_jitter and _be_still not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_be_still)


def _be_still(module: nn.Module, _: Any) -> None:
    module.training = False  # of this module alone: train() sets it again, and so does this


def _silence(holder: Any) -> None:
    for name, value in vars(holder).items():
        if isinstance(value, float) and value > 0 and any(word in name for word in _NOISE):
            setattr(holder, name, 0.0)
    if getattr(holder, "altup_coef_clip", None) is not None and not isinstance(holder, nn.Module):
        holder.altup_coef_clip = (
            6e4  # above all weights: Gemma-3n would cut them in training's forward pass
        )


def keep_weights(model: nn.Module) -> None:
    """Let RWKV not halve weights in place while it is evaluated: an adapter is not halved, and what
    is saved would be.
    """
    backbone: Any = getattr(bare(model), "rwkv", None)
    if hasattr(backbone, "_rescale_layers"):
        with train_mode(backbone):
            backbone._rescale_layers()
        backbone._rescale_layers = _nothing


def _nothing() -> None:
    pass


def check_generates(model: nn.Module, name: str) -> None:
    """Raise PolicyError for a class without what generation needs, as remote code of before
    transformers 4.50 has it.
    """
    for part in ("generation_config", "prepare_inputs_for_generation"):
        if not hasattr(bare(model), part):
            raise PolicyError(
                f"{name}: {class_name(model)} has no {part}, which TRL and PEFT count on; "
                "expected a class that inherits from transformers.GenerationMixin too"
            )


@torch.no_grad()
def check_left_padding(model: nn.Module, name: str) -> None:
    """Raise PolicyError if a recurrent model would be sampled by TRL, which pads on the left, and
    minds that.
    """
    if not (is_recurrent(model) and is_there(model)):
        return
    with train_mode(model):
        ids = _some_tokens(model)
        expected, padded = _log_probs(model, ids, 0), _log_probs(model, ids, _PADDING)
    limit = 1e-3 if expected.dtype == torch.float32 else 0.2
    if (nats := float(weighted_apart(expected, padded).mean())) > limit:
        raise PolicyError(
            f"{name} changes its mind by {nats:.2g} nats when prompts are padded on the left, as"
            " TRL's sampler pads them; expected the policy's own: top_p 1, top_k 0, no min_p,"
            " repetition_penalty 1, no generation_kwargs, whole weights"
        )


@torch.no_grad()
def untouched(model: nn.Module) -> Tensor | None:
    """log π of some tokens in eval mode by the model's own forward, which is given nothing but
    them, (B, L, V).

    It is asked before anything is changed; None if the weights are not there yet.
    """
    if not is_there(model):
        return None
    arguments = {"use_cache": False} if accepts(model, "use_cache") else {}
    ids = _some_tokens(model)
    spare = -ids.shape[1] % length_multiple(model)
    with train_mode(model, on=False), _read_in_words(model, ids, "evaluation"):
        padded = torch.nn.functional.pad(ids, (0, spare))
        logits = model(input_ids=padded, **arguments).logits
    return torch.log_softmax(logits[:, : logits.shape[1] - spare][:, -ids.shape[1] :], dim=-1)


@torch.no_grad()
def check(model: nn.Module, name: str, expected: Tensor | None) -> None:
    """Raise PolicyError unless the model, in train mode, is deterministic, causal and indifferent
    to left padding.

    It must also be what it was ``untouched``: without its noise, and with positions that are
    counted from 0. Recurrent models are never padded on the left. Weights that are not there yet
    (on the meta device, or sharded while loading) cannot be checked.
    """
    if expected is None:
        return
    ids = _some_tokens(model)  # (B, L)
    with train_mode(model), _read_in_words(model, ids, "training"):
        once, again = _log_probs(model, ids, 0), _log_probs(model, ids, 0)  # (B, L, V)
        half = ids.shape[1] // 2
        changed = torch.cat(
            [ids[:, :half], ids[:, half:].roll(1, 0)], dim=1
        )  # (B, L): other tokens in the second half
        later = _log_probs(model, changed, 0)
        padded = once if unpadded(model, _WIDTH + _PADDING) else _log_probs(model, ids, _PADDING)
    limit = tolerance(model, 1e-2, 0.2)  # by rounding, in nats, mean over tokens
    _same(
        once,
        again,
        limit / 10,
        f"{name} is still random in train mode after its dropout was set to 0",
    )
    different = (
        f"{name} is not what its own forward computes when its noise is off and positions are"
        " counted from 0"
    )
    _same(expected, once, limit, different)
    moves = float(weighted_apart(once[:, half:], later[:, half:]).mean())
    ahead = limit
    if once.dtype == torch.float32 or once.device.type == "cpu":
        ahead = min(limit, max(_ROUNDING, _AHEAD * moves))
    _same(once[:, :half], later[:, :half], ahead, f"{name} lets a token see what comes after it")
    _same(once, padded, limit, f"{name} changes its mind when the prompt is padded on the left")


def check_checkpointing(model: nn.Module, name: str, options: Any = None) -> None:
    """Raise PolicyError for a model that cannot compute activations again: a small gradient, with
    checkpoints, is tried.

    ``options`` goes to torch's checkpoint. Gradients are none after it. Weights that are not there
    yet cannot be tried.
    """
    if not is_there(model):
        return
    switch: Any = model
    ids = _some_tokens(model)[:1]  # (1, L)
    kept = dict(options or {})
    for key in ("every_n_layers", "offload"):
        kept.pop(key, None)
    what = f"{name}: {class_name(model)} cannot be trained with checkpoints of activations"
    try:
        with (
            in_words(what, "gradient_checkpointing: false"),
            train_mode(model),
            torch.enable_grad(),
            warnings.catch_warnings(action="ignore"),
        ):
            switch.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kept or None)
            places = positions(torch.ones_like(ids))
            logits, _ = forward(model, ids, None, places, ids.shape[1], use_cache=False)
            logits.float().logsumexp(-1).sum().backward()
            switch.gradient_checkpointing_disable()
    finally:
        model.zero_grad()


def _read_in_words(model: nn.Module, ids: Tensor, mode: str) -> AbstractContextManager[None]:
    what = f"{class_name(model)} cannot read {ids.shape[1]} tokens in {mode}"
    return in_words(what, "a causal language model")


def _same(expected: Tensor, answer: Tensor, limit: float, what: str) -> None:
    """Raise PolicyError if two answers lie further apart than rounding."""
    if (nats := float(weighted_apart(expected, answer).mean())) > limit:
        raise PolicyError(
            f"{what} (by {nats:.2g} nats); expected a decoder-only language model whose π is a"
            " function"
        )


def _some_tokens(model: nn.Module) -> Tensor:
    width = min(_WIDTH, context_length(model) or _WIDTH, reads_whole(model) or _WIDTH)
    return some_tokens(model, _ROWS * width).view(_ROWS, width)  # (B, L)


def _log_probs(model: nn.Module, ids: Tensor, padding: int) -> Tensor:
    mask = torch.nn.functional.pad(torch.ones_like(ids), (padding, 0))  # (B, padding + L)
    padded = torch.nn.functional.pad(ids, (padding, 0))
    logits, _ = forward(model, padded, mask, positions(mask), ids.shape[1], use_cache=False)
    return torch.log_softmax(logits, dim=-1)  # (B, L, V)
