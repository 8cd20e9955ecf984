"""What is saved is what was trained: an adapter's patterns that mean the same in a file, and a look at the file itself."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.adapter import WEIGHTS, active, place
from llmpolicy.policies.causal_lm.forward import is_there
from llmpolicy.policies.causal_lm.kinds import TRAINED
from llmpolicy.policies.causal_lm.load import load_model
from llmpolicy.policies.causal_lm.trial import apart, log_probs

_AGAIN = "rehearsal"


def settle_patterns(model: PeftModel) -> None:
    """Name layers one by one where several patterns fit one: of ``rank_pattern`` and its like PEFT takes the first key.

    A file has the keys sorted, so that another could be the first after loading.
    """
    config: Any = model.peft_config[TRAINED]
    tuner: Any = model.base_model
    layers = [*tuner.targeted_module_names, *tuner.targeted_parameter_names]
    for field, pattern in list(vars(config).items()):
        if field.endswith("_pattern") and isinstance(pattern, dict):
            chosen = _resolved(pattern, layers)
            if chosen != _resolved(dict(sorted(pattern.items())), layers):
                setattr(config, field, {f"^{re.escape(layer)}": value for layer, value in chosen.items()})


def _resolved(pattern: Mapping[str, Any], layers: Collection[str]) -> dict[str, Any]:
    """The value of each layer that a pattern fits."""
    keys = list(pattern)
    return {layer: pattern[key] for layer in layers if (key := get_pattern_key(keys, layer)) in pattern}


def check_folder(model: PreTrainedModel, folder: Path, where: str) -> None:
    """Load full weights that were saved in a folder; raises PolicyError if they cannot be, or are another policy."""
    if getattr(model.config, "auto_map", None) or getattr(model, "is_quantized", False) or not is_there(model):
        return  # with code of its own, or weights that are not here: nothing to be loaded beside it
    try:
        again = load_model(str(folder), dtype=model.dtype, device=model.device)
    except PolicyError as error:
        reason = str(error).replace(f"{str(folder)!r} ", "").replace(f"{str(folder)!r}", "it")
        raise PolicyError(f"{where} could not be loaded again once it is saved ({reason})") from error
    if (nats := apart(log_probs(model), log_probs(again))) > 0:
        raise PolicyError(
            f"{where}: once it is loaded from its folder it is another policy, {nats:.2g} nats from the one that was "
            "saved; expected a configuration that says what the model does"
        )


def check_written(model: PeftModel, folder: Path, where: str) -> None:
    """Load an adapter that was saved in a folder beside the one it was saved from; raises PolicyError if they differ."""
    trainable = {id(p): p.requires_grad for p in model.parameters()}
    expected = log_probs(model)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        model.add_adapter(_AGAIN, PeftConfig.from_pretrained(str(folder)))
    try:
        for layer, name, trained, written in _numbers(model):
            if trained != written:
                raise PolicyError(
                    f"{where}: {layer} has {name} {trained} in training and {written} once it is loaded from its folder; "
                    "expected an adapter whose configuration says what it does"
                )
        place(model, load_file(folder / WEIGHTS), f"{where}, loaded from its folder,", "its base", _AGAIN)
        with active(model, _AGAIN):
            if (nats := apart(expected, log_probs(model))) > 0:
                raise PolicyError(
                    f"{where}: once it is loaded from its folder it is another policy, {nats:.2g} nats from the one that "
                    "was saved; expected an adapter whose configuration says what it does"
                )
    finally:
        model.delete_adapter(_AGAIN)
        model.set_adapter(TRAINED)
        for parameter in model.parameters():
            parameter.requires_grad_(trainable[id(parameter)])


def _numbers(model: nn.Module) -> Iterator[tuple[str, str, Any, Any]]:
    """Of every adapted layer its ranks, scales and the like, as trained and as written."""
    for layer, module in model.named_modules():
        for name in module.other_param_names if isinstance(module, BaseTunerLayer) else ():
            held = getattr(module, name, None)
            if isinstance(held, dict) and isinstance(held.get(TRAINED), (int, float)):
                yield layer, name, held[TRAINED], held.get(_AGAIN)
