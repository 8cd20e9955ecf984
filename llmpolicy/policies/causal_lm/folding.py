"""Copies of a model: one that shares nothing with it, and one with its adapter in the weights."""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import innermost
from llmpolicy.policies.causal_lm.kinds import TRAINED
from llmpolicy.policies.causal_lm.trial import in_words


def detached(model: nn.Module) -> Any:
    """A copy that shares nothing with the model.

    Patches of ``forward`` (TRL's fused head, autocast) call the model they were made for, and would
    do so from the copy too: they are left behind.
    """
    # RecurrentGemma leaves its last state, with the way back of a loss, in its layers
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(module)[name] = value.detach()
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if not hasattr(module, "_hf_hook"):
            vars(module).pop("forward", None)
    return twin


def folded(model: PeftModel) -> Any:
    """A copy of the base with the trained adapter added to its weights (W + BA·alpha/r); raises
    PolicyError if it cannot be.

    A head that shares its weights with the embeddings is parted from them where the adapter changes
    one of the two.
    """
    if shared := _shared_layer(model):
        raise PolicyError(
            f"the adapter cannot be added to its base's weights: those of {shared} are shared by"
            " several layers, each with its own part of the adapter; keep it as an adapter"
        )
    twin = detached(model)
    tied = _part(twin.get_base_model())
    with in_words("the adapter cannot be added to its base's weights"):
        merged: Any = twin.merge_and_unload(safe_merge=True, adapter_names=[TRAINED])
    if tied:
        _join(merged, tied)
    return merged


def _shared_layer(model: PeftModel) -> str | None:
    """The name of an adapted layer whose weight is another layer's too (Zamba's blocks); the head's
    is parted from it.
    """
    owners = Counter[int]()
    for module in model.modules():
        weight = module._parameters.get("weight")
        owners[id(weight)] += weight is not None and not isinstance(module, nn.Embedding)
    for name, layer in model.named_modules():
        if isinstance(layer, BaseTunerLayer):
            weight = getattr(layer.get_base_layer(), "weight", None)
            if owners[id(weight)] > 1:
                return name
    return None


def _part(base: Any) -> list[Any]:
    """Give the head weights of its own, which merging can change alone; the configurations that
    said they were shared.
    """
    embeddings = innermost(base.get_input_embeddings())
    head = innermost(base.get_output_embeddings())
    if head is None:
        return []
    if head.weight is embeddings.weight:
        head.weight = nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)
    configs = (base.config, base.config.get_text_config(decoder=True))
    return [config for config in configs if getattr(config, "tie_word_embeddings", False)]


def _join(merged: Any, tied: Sequence[Any]) -> None:
    """Tie the head to the embeddings again if merging left them equal; else no configuration may
    say that they are.

    PEFT, which finds them parted, has changed the outer one (Gemma 3 has one within); a model looks
    at either.
    """
    embeddings, head = merged.get_input_embeddings(), merged.get_output_embeddings()
    equal = torch.equal(embeddings.weight, head.weight)
    if equal:
        head.weight = embeddings.weight
    for config in tied:
        config.tie_word_embeddings = equal
