"""What is saved is what was trained: an adapter's patterns that mean the same in a file, and a look
at the file itself.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.adapter import WEIGHTS, active, is_float32, place, state
from llmpolicy.policies.causal_lm.forward import is_there
from llmpolicy.policies.causal_lm.kinds import TRAINED
from llmpolicy.policies.causal_lm.load import load_model
from llmpolicy.policies.causal_lm.trial import apart, log_probs

_AGAIN = "rehearsal"


def settle_patterns(model: PeftModel) -> None:
    """Name layers one by one where several patterns fit one: of ``rank_pattern`` and its like PEFT
    takes the first key.

    A file has the keys sorted, so that another could be the first after loading.
    """
    config: Any = model.peft_config[TRAINED]
    tuner: Any = model.base_model
    layers = [*tuner.targeted_module_names, *tuner.targeted_parameter_names]
    for field, pattern in list(vars(config).items()):
        if field.endswith("_pattern") and isinstance(pattern, dict):
            chosen = _resolved(pattern, layers)
            if chosen != _resolved(dict(sorted(pattern.items())), layers):
                setattr(
                    config,
                    field,
                    {f"^{re.escape(layer)}": value for layer, value in chosen.items()},
                )


def _resolved(pattern: Mapping[str, Any], layers: Collection[str]) -> dict[str, Any]:
    """The value of each layer that a pattern fits."""
    keys = list(pattern)
    return {
        layer: pattern[key] for layer in layers if (key := get_pattern_key(keys, layer)) in pattern
    }


def check_folder(model: PreTrainedModel, folder: Path, where: str) -> None:
    """Load full weights that were saved in a folder; raises PolicyError if they cannot be, or are
    another policy.
    """
    if (
        getattr(model.config, "auto_map", None)
        or getattr(model, "is_quantized", False)
        or not is_there(model)
    ):
        return  # with code of its own, or weights that are not here: nothing to be loaded beside it
    try:
        again = load_model(str(folder), dtype=model.dtype, device=model.device)
    except PolicyError as error:
        reason = str(error).replace(f"{str(folder)!r} ", "").replace(f"{str(folder)!r}", "it")
        raise PolicyError(
            f"{where} could not be loaded again once it is saved ({reason})"
        ) from error
    if (nats := apart(log_probs(model), log_probs(again))) > 0:
        raise PolicyError(
            f"{where}: once it is loaded from its folder it is another policy, {nats:.2g} nats from"
            " the one that was saved; expected a configuration that says what the model does"
        )


def check_outline(model: PreTrainedModel, folder: Path, where: str) -> None:
    """Build a model without bytes from the configuration in a folder; raises PolicyError if its
    tensors are others.

    They are if one has another name or shape, or shares its memory with others.
    """
    if (
        getattr(model.config, "auto_map", None)
        or getattr(model, "is_quantized", False)
        or not is_there(model)
    ):
        return
    with torch.device("meta"):
        again = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    again.tie_weights()
    trained, written = _outline(model), _outline(again)
    for name in sorted(trained.keys() | written.keys()):
        if trained.get(name) != written.get(name):
            raise PolicyError(
                f"{where} could not be loaded again once it is saved: {name} is"
                f" {trained.get(name, 'missing')} in training and {written.get(name, 'missing')} by"
                " its configuration; expected one that says what the model is"
            )


def _outline(model: nn.Module) -> dict[str, str]:
    """Of each parameter its shape, and the first that it shares its memory with."""
    names: dict[int, str] = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    shared = {name: names.setdefault(id(parameter), name) for name, parameter in parameters.items()}
    return {
        name: f"{tuple(parameter.shape)}" + (f" of {shared[name]}" if shared[name] != name else "")
        for name, parameter in parameters.items()
    }


def check_adapter_outline(model: PeftModel, folder: Path, where: str) -> None:
    """Add an adapter without bytes by the configuration alone; raises PolicyError if its ranks,
    scales or tensors are others.
    """
    model.peft_config[TRAINED].save_pretrained(str(folder))
    with _again(model, folder, where, low_cpu_mem_usage=True):
        trained, written = (
            {key: t.shape for key, t in state(model, name).items()} for name in (TRAINED, _AGAIN)
        )
        if trained != written:
            key = min(
                trained.keys() ^ written.keys() or {k for k in trained if trained[k] != written[k]}
            )
            raise PolicyError(
                f"{where}: {key} is {tuple(trained.get(key, ())) or 'missing'} in training and"
                f" {tuple(written.get(key, ())) or 'missing'} once it is loaded from its folder;"
                " expected an adapter whose configuration says what it does"
            )


def check_written(model: PeftModel, folder: Path, where: str) -> None:
    """Load an adapter that was saved in a folder beside the one it was saved from; raises
    PolicyError if they differ.
    """
    expected = log_probs(model)
    with _again(model, folder, where):
        place(
            model,
            load_file(folder / WEIGHTS),
            f"{where}, loaded from its folder,",
            "its base",
            _AGAIN,
        )
        with active(model, _AGAIN):
            if (nats := apart(expected, log_probs(model))) > 0:
                raise PolicyError(
                    f"{where}: once it is loaded from its folder it is another policy, {nats:.2g}"
                    " nats from the one that was saved; expected an adapter whose configuration"
                    " says what it does"
                )


@contextmanager
def _again(model: PeftModel, folder: Path, where: str, **options: Any) -> Iterator[None]:
    """While it lasts the adapter lies beside itself, as the configuration in a folder has it, with
    the same ranks and scales.
    """
    trainable = {id(p): p.requires_grad for p in model.parameters()}
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        config = PeftConfig.from_pretrained(str(folder))
        model.add_adapter(_AGAIN, config, autocast_adapter_dtype=is_float32(model), **options)
    try:
        for layer, name, trained, written in _numbers(model):
            if trained != written:
                raise PolicyError(
                    f"{where}: {layer} has {name} {trained} in training and {written} once it is"
                    " loaded from its folder; expected an adapter whose configuration says what it"
                    " does"
                )
        yield
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
