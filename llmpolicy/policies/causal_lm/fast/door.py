"""Which way a model is read: by groups, where its parts are known and a few rows come out as by its
own forward.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from llmpolicy.policies.causal_lm.adapter import first_line
from llmpolicy.policies.causal_lm.as_written import is_hooked, is_written, structure
from llmpolicy.policies.causal_lm.checks import train_mode
from llmpolicy.policies.causal_lm.fast.group_attention import attending
from llmpolicy.policies.causal_lm.fast.head import head_reason
from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.quick_lora import quick_lora
from llmpolicy.policies.causal_lm.fast.quick_step import quick_step
from llmpolicy.policies.causal_lm.fast.read import GroupReader
from llmpolicy.policies.causal_lm.fast.read_states import CANNOT
from llmpolicy.policies.causal_lm.fast.rows import Rows
from llmpolicy.policies.causal_lm.fast.score_groups import score_groups
from llmpolicy.policies.causal_lm.fast.score_states import state_path
from llmpolicy.policies.causal_lm.forward import (
    accepts,
    bare,
    forward,
    innermost,
    is_there,
    left_pad,
    positions,
    right_pad,
    unwrapped,
    vocabulary,
)
from llmpolicy.policies.causal_lm.frequencies import context_length, grows_past
from llmpolicy.policies.causal_lm.kinds import adapter_reason
from llmpolicy.policies.causal_lm.out_of_memory import ran_out
from llmpolicy.policies.causal_lm.score import score
from llmpolicy.policies.causal_lm.states import is_recurrent
from llmpolicy.policies.causal_lm.trial import log_apart, weighted_apart

SERVED = ("llama", "qwen2", "qwen3", "mistral", "gemma3_text", "gpt2", "qwen3_moe", "mixtral")
"""Model types whose attention is known to be softmax(q·k) with, at most, a sliding window."""
BY_GROUPS = ("cpu",)
"""Devices that generate by groups: on a GPU the time goes into asking for small kernels, of which
padded rows need fewer.
"""

_NATS, _NATS_16 = 1e-3, 0.3
"""How far log-probabilities by groups may lie from those of padded rows by rounding, in 32 bits and
in 16.
"""
_LONGEST, _STEPS = 13, 2
_reasons: WeakKeyDictionary[nn.Module, tuple[int, str | None]] = WeakKeyDictionary()


def shared_path(model: nn.Module) -> str | None:
    """Why a prompt cannot be read once for all its completions while there is a gradient, in words,
    or None if it can.
    """
    return state_path(model) if is_recurrent(model) else group_path(model)


def group_path(model: nn.Module) -> str | None:
    """Why a model, adapters included, cannot be run by groups, in words, or None if it can.

    Decided once a model, and again when one of its modules was replaced or a hook was put into it
    or its head.
    """
    whole = unwrapped(model)
    inner = bare(whole)
    head = inner.get_output_embeddings()
    now = structure(whole, *_wrappers(whole), *([] if head is None else [head, innermost(head)]))
    before, reason = _reasons.get(whole, (None, None))
    if before != now:
        reason = _reason(whole, inner) or adapter_reason(whole) or _difference(whole)
        _reasons[whole] = (now, reason)
    return reason


def _wrappers(whole: Any) -> set[nn.Module]:
    """A model and what PEFT has put around it, whose calls return logits."""
    return {whole, getattr(whole, "base_model", whole), bare(whole)}


def _reason(whole: Any, model: Any) -> str | None:
    config, kind = model.config.get_text_config(decoder=True), type(model).__name__
    if is_recurrent(model):
        return f"{config.model_type} carries a state over all tokens before"
    if config.model_type not in SERVED or model.config is not config:
        return f"attention of {config.model_type} is not known to be plain"
    if not (accepts(model, "position_ids") and accepts(model, "logits_to_keep")):
        return f"{kind} takes no position_ids or no logits_to_keep"
    if (
        config._attn_implementation not in ("sdpa", "eager")
        or not model._supports_attention_backend
    ):
        return f"attention implementation {config._attn_implementation} was asked for"
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "reorder_and_upcast_attn"):
        if getattr(config, name, None):
            return f"{config.model_type} has {name}"
    if getattr(config, "use_bidirectional_attention", False) or not getattr(
        config, "is_causal", True
    ):
        return "attention is not causal"
    if not is_written(model, {kind}):
        return f"{kind} is a class of its own"
    if any(map(is_hooked, _wrappers(whole))):
        return f"a hook was put into {kind}"
    if reason := head_reason(model):
        return reason
    if getattr(model, "hf_device_map", None) and len(set(model.hf_device_map.values())) > 1:
        return "the model is spread over several devices"
    return None


@torch.no_grad()
def _difference(model: nn.Module) -> str | None:
    """In words, if a few rows have other log-probabilities by groups than padded, whatever was done
    to the model's parts.
    """
    if not is_there(model) or (context_length(model) or _LONGEST) < _LONGEST:
        return None
    parameter, kind = next(model.parameters()), type(bare(model)).__name__
    try:
        with train_mode(model, on=False):
            nats = _apart(model)
    except CANNOT as error:
        if ran_out(error):
            raise
        return f"{kind} cannot be read by groups ({first_line(error)})"
    if nats <= (_NATS if parameter.dtype == torch.float32 else _NATS_16):
        return None
    return (
        f"read by groups {kind} gives other log-probabilities than its own forward, by {nats:.2g}"
        " nats"
    )


def _apart(model: nn.Module) -> float:
    """How far scorer and generator by groups are from padded rows on two prompts that begin alike,
    in nats.
    """
    device = next(model.parameters()).device
    tokens = (torch.arange(22) * 7919 % vocabulary(model)).tolist()
    first, second = tokens[:8], [*tokens[:6], *tokens[8:9]]
    ends = [tokens[9:14], tokens[14:15], tokens[15:18], tokens[18:22]]
    prompts, prompt_mask = left_pad([first, first, second, second], 0, device)
    actions, action_mask = right_pad(ends, 0, device)
    ids, mask, keep = (
        torch.cat([prompts, actions], 1),
        torch.cat([prompt_mask, action_mask], 1),
        actions.shape[1],
    )
    expected = score(model, ids, mask, keep, 1.0).log_prob
    found = score_groups(model, Rows(ids, mask, keep), 1.0).log_prob
    apart = [float(log_apart(expected, found)[action_mask.bool()].mean())]
    if device.type in BY_GROUPS and not grows_past(model, [len(first), len(second)], _STEPS + 1):
        begun, there = ids[:, : _STEPS - keep], mask[:, : _STEPS - keep]
        logits, _ = forward(model, begun, there, positions(there), _STEPS + 1, use_cache=False)
        log_probs = torch.log_softmax(logits.float(), -1)  # (4, 3, V)
        written = _written(model, [first, second], actions)
        for (rows, step), one in zip(
            (([0, 2], 0), ([0, 1, 2, 3], 1), ([0, 2, 3], 2)), written, strict=True
        ):
            apart.append(float(weighted_apart(log_probs[rows, step], one).max()))
    return max(apart)


def _written(model: nn.Module, prompts: list[list[int]], actions: Tensor) -> list[Tensor]:
    """What the generator chooses from after two prompts, after a token of each of four rows, and
    one more of the others.
    """
    prompt_of, going = (
        torch.tensor(places, device=actions.device) for places in ([0, 0, 1, 1], [0, 2, 3])
    )
    reader, product = GroupReader(model, prompts, prompt_of, _STEPS), Products()
    product.room = 0  # weights are asked where they lie
    attend = reader.buffer.attend
    with quick_lora(model, product), attending(model, attend), quick_step(model, attend, product):
        logits = [reader.prompts(), reader.tokens(actions[:, 0])]
        reader.leave(going)
        logits.append(reader.tokens(actions[going, 1]))
    return [torch.log_softmax(one.float(), -1) for one in logits]
