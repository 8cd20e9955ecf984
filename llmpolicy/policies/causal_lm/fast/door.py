"""The door to the speed: which way a model's generation, layers, scoring and update go, and why not
the fast one.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from llmpolicy.policies.causal_lm.as_written import is_hooked, is_written, structure
from llmpolicy.policies.causal_lm.fast.head import head_reason
from llmpolicy.policies.causal_lm.fast.norm import NOT_IN_16_BITS, norm_reason
from llmpolicy.policies.causal_lm.fast.products import Products
from llmpolicy.policies.causal_lm.fast.quick_lora import lora_forwards, lora_reason
from llmpolicy.policies.causal_lm.fast.quick_step import (
    decoder_layers,
    layer_forwards,
    layer_reason,
)
from llmpolicy.policies.causal_lm.fast.read_states import cache_reason, state_reason
from llmpolicy.policies.causal_lm.fast.score_states import state_path
from llmpolicy.policies.causal_lm.fast.tried_out import difference
from llmpolicy.policies.causal_lm.forward import accepts, bare, innermost, unwrapped
from llmpolicy.policies.causal_lm.frequencies import switches
from llmpolicy.policies.causal_lm.kinds import adapter_reason, tuner_layers
from llmpolicy.policies.causal_lm.states import is_recurrent, limited_steps
from llmpolicy.speed import (
    BY_GROUPS,
    FAMILIES,
    GROUPS,
    KEPT,
    PADDED,
    READ_AGAIN,
    STATES,
    TRL,
    VLLM,
    WHOLE,
    Conditions,
    Way,
    Ways,
    engine,
    off_cpu,
    state_update_reason,
    update_decided,
)

_AS_WRITTEN = "as written"

_reasons: WeakKeyDictionary[nn.Module, tuple[int, str | None]] = WeakKeyDictionary()


@torch.no_grad()
def ways(model: nn.Module, conditions: Conditions | None = None) -> Ways:
    """Every decision of a run under these conditions, or of a policy that is asked by itself."""
    conditions = conditions or Conditions()
    written = engine(conditions) or generation(model)
    return Ways(
        generation=between_turns(model, written) if conditions.turns else written,
        adapter=_adapter(model, written),
        layers=_layers(model, written),
        products=_products(model, written),
        norms=_norms(model),
        scoring=scoring(model),
        update=update(model, conditions),
    )


def generation(model: nn.Module) -> Way:
    """How the policy's own generator reads prompts and tokens."""
    if is_recurrent(model):
        return carrying(model)
    reason = group_path(model)
    if reason is not None and (uncached := cache_reason(model)) is not None:
        return Way(WHOLE, uncached)
    device = next(model.parameters()).device.type
    if reason is None and device not in BY_GROUPS:
        reason = off_cpu(device)
    return _either(GROUPS, PADDED, reason)


def between_turns(model: nn.Module, written: Way) -> Way:
    """How the turns of a dialogue are read, one after the other."""
    if written.name in (TRL, VLLM):
        return written
    if written.name != GROUPS:
        return Way(f"{written.name}, {READ_AGAIN}", written.reason)
    reason = keeps(model)
    return Way(f"{GROUPS}, {READ_AGAIN if reason else KEPT}", reason)


def keeps(model: nn.Module) -> str | None:
    """Why keys and values that were read by groups cannot be kept between turns, in words; None if
    they can.
    """
    limits = ", ".join(map(str, switches(model)))
    return f"its rotary embedding has other frequencies above {limits} tokens" if limits else None


def carrying(model: nn.Module) -> Way:
    """How rows are read that must have no padding on the left."""
    with limited_steps(model):  # as it is then written
        reason = state_reason(model)
    return _either(STATES, WHOLE, reason)


def scoring(model: nn.Module) -> Way:
    """How rows are scored without a gradient."""
    return _either(GROUPS, PADDED, group_path(model))


def update(model: nn.Module, conditions: Conditions) -> Way:
    """How an update goes: ``group``, ``state`` or ``stock``; ``padded rows`` in the loop."""
    if (decided := update_decided(conditions)) is not None:
        return decided
    if not is_recurrent(model):
        return _either("group", "stock", group_path(model))
    device = next(model.parameters()).device.type
    reason = state_update_reason(conditions, device) or state_path(model)
    return _either("state", "stock", reason)


def _either(fast: str, slow: str, reason: str | None) -> Way:
    """The fast way, or the slow one where there is a reason for it."""
    return Way(fast) if reason is None else Way(slow, reason)


# what is computed in the place of the model's own modules while tokens are chosen, and scored


def _adapter(model: nn.Module, written: Way) -> Way:
    layers = [*tuner_layers(model)]
    if not layers:
        return Way("none")
    if written.name in (TRL, VLLM):
        return Way("PEFT's", written.reason)
    return _of_all("in three operations", "PEFT's", map(lora_reason, layers))


def _layers(model: nn.Module, written: Way) -> Way:
    if written.name != GROUPS:
        return Way(_AS_WRITTEN, written.reason)
    layers = decoder_layers(model)
    if not layers:
        return Way(_AS_WRITTEN, f"layers of {type(bare(model)).__name__} are not known")
    return _of_all("in fewer operations", _AS_WRITTEN, map(layer_reason, layers))


def _products(model: nn.Module, written: Way) -> Way:
    """Those of the base under an adapter, of layers that are known, and of the head."""
    if written.name != GROUPS:
        return Way(_AS_WRITTEN, written.reason)
    product = Products()
    for _ in (*lora_forwards(model, product), *layer_forwards(model, _unasked, product)):
        pass
    return _most(product.packed, product.reasons, "packed", _AS_WRITTEN)


def _unasked(*_: Any) -> Any:
    raise AssertionError("no attention is computed while ways are looked for")


def _norms(model: nn.Module) -> Way:
    norms = [layer for layer in bare(model).modules() if type(layer).__name__.endswith("RMSNorm")]
    reasons = [*map(norm_reason, norms)]
    if not norms or set(reasons) == {NOT_IN_16_BITS}:
        return Way(_AS_WRITTEN)
    return _of_all("in fewer passes", _AS_WRITTEN, reasons)


def _of_all(fast: str, slow: str, reasons: Iterable[str | None]) -> Way:
    counts = Counter(reasons)
    return _most(counts.pop(None, 0), counts, fast, slow)


def _most(quick: int, reasons: Counter[Any], fast: str, slow: str) -> Way:
    """The way of several modules; where some are slow, how many, and the reason of most of them."""
    if not reasons.total():
        return Way(fast)
    reason, _ = reasons.most_common(1)[0]
    return Way(f"{quick} of {quick + reasons.total()} {fast}" if quick else slow, reason)


# whether a model can be run by groups


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
        reason = _reason(whole, inner) or adapter_reason(whole) or difference(whole)
        _reasons[whole] = (now, reason)
    return reason


def _wrappers(whole: Any) -> set[nn.Module]:
    """A model and what PEFT has put around it, whose calls return logits."""
    return {whole, getattr(whole, "base_model", whole), bare(whole)}


def _reason(whole: Any, model: Any) -> str | None:
    config, kind = model.config.get_text_config(decoder=True), type(model).__name__
    if is_recurrent(model):
        return f"{config.model_type} carries a state over all tokens before"
    if config.model_type not in FAMILIES or model.config is not config:
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
