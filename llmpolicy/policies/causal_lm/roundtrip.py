"""What is saved is what was trained: an adapter's patterns that mean the same in a file, and a look
at the file itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.adapter import (
    WEIGHTS,
    active,
    is_float32,
    place,
    shapes_of,
    state,
)
from llmpolicy.policies.causal_lm.forward import is_there
from llmpolicy.policies.causal_lm.kinds import TRAINED
from llmpolicy.policies.causal_lm.load import load_model
from llmpolicy.policies.causal_lm.multimodal import resolved
from llmpolicy.policies.causal_lm.trained import kept_frozen
from llmpolicy.policies.causal_lm.trial import apart, log_probs

_AGAIN = "rehearsal"


def settle_patterns(model: PeftModel) -> None:
    """Name layers one by one where several patterns fit one: of ``rank_pattern`` and its like PEFT
    takes the first key.

    A file has the keys sorted, so that another could be the first after loading.
    """
    config: Any = model.peft_config[TRAINED]
    tuner: Any = model.base_model
    names = *tuner.targeted_module_names, *tuner.targeted_parameter_names
    layers = dict(zip(names, names, strict=True))
    for field, pattern in list(vars(config).items()):
        if field.endswith("_pattern") and isinstance(pattern, dict):
            chosen = resolved(pattern, layers)
            if chosen != resolved(dict(sorted(pattern.items())), layers):
                setattr(config, field, chosen)


def check_folder(model: PreTrainedModel, folder: Path, where: str) -> None:
    """Load full weights that were saved in a folder; raises PolicyError if they cannot be, or are
    another policy.
    """
    if not _can_be_built(model):
        return
    try:
        again = load_model(str(folder), dtype=model.dtype, device=model.device)
    except PolicyError as error:
        name = repr(str(folder))
        reason = str(error).replace(f"{name} ", "").replace(name, "it")
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
    if not _can_be_built(model):
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


def _can_be_built(model: PreTrainedModel) -> bool:
    """Not with code of its own, or weights that are not here: nothing can be put beside it."""
    has_code = getattr(model.config, "auto_map", None)
    return not has_code and not getattr(model, "is_quantized", False) and is_there(model)


def _outline(model: nn.Module) -> dict[str, str]:
    """Of each parameter its shape, and the first that it shares its memory with."""
    names: dict[int, str] = {}
    outline = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        begun = names.setdefault(id(parameter), name)
        outline[name] = f"{tuple(parameter.shape)}"
        if begun != name:
            outline[name] += f" of {begun}"
    return outline


def check_adapter_outline(model: PeftModel, folder: Path, where: str) -> None:
    """Add an adapter without bytes by the configuration alone; raises PolicyError if its ranks,
    scales or tensors are others.
    """
    model.peft_config[TRAINED].save_pretrained(str(folder))
    with _again(model, folder, where, low_cpu_mem_usage=True):
        trained, written = shapes_of(state(model)), shapes_of(state(model, _AGAIN))
        if differing := sorted(trained.items() ^ written.items()):
            key, _ = differing[0]
            raise PolicyError(
                f"{where}: {key} is {trained.get(key) or 'missing'} in training and"
                f" {written.get(key) or 'missing'} once it is loaded from its folder; expected an"
                " adapter whose configuration says what it does"
            )


def check_written(model: PeftModel, folder: Path, where: str) -> None:
    """Load an adapter that was saved in a folder beside the one it was saved from; raises
    PolicyError if they differ.
    """
    expected = log_probs(model)
    with _again(model, folder, where):
        weights = load_file(folder / WEIGHTS)
        place(model, weights, f"{where}, loaded from its folder,", "its base", _AGAIN)
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
    with kept_frozen(model), ExitStack() as undone:
        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            config = PeftConfig.from_pretrained(str(folder))
            model.add_adapter(_AGAIN, config, autocast_adapter_dtype=is_float32(model), **options)
        undone.callback(model.set_adapter, TRAINED)
        undone.callback(model.delete_adapter, _AGAIN)
        for layer, name, trained, written in _numbers(model):
            if trained != written:
                raise PolicyError(
                    f"{where}: {layer} has {name} {trained} in training and {written} once it is"
                    " loaded from its folder; expected an adapter whose configuration says what it"
                    " does"
                )
        yield


def _numbers(model: nn.Module) -> Iterator[tuple[str, str, Any, Any]]:
    """Of every adapted layer its ranks, scales and the like, as trained and as written."""
    for layer, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        for name in module.other_param_names:
            held = getattr(module, name, None)
            if isinstance(held, dict) and isinstance(held.get(TRAINED), (int, float)):
                yield layer, name, held[TRAINED], held.get(_AGAIN)
