"""The life of a LoRA adapter: made, loaded, switched off, frozen as a reference, saved, folded into its base.

The one that is trained is called ``default``. A frozen copy of an adapter that was continued is called ``ref``, the
name under which TRL looks for a reference.
"""

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from llmpolicy.errors import PolicyError, nearest
from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.policies.causal_lm.targets import endings, read_past

TRAINED, REFERENCE = "default", "ref"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_ZERO_STARTS = (True, "gaussian")


def add_lora(model: nn.Module, lora: Mapping[str, Any], base: str | None, revision: str | None = None) -> PeftModel:
    """Wrap the model with a new LoRA adapter, on every linear layer but the head if target_modules is not given."""
    return _wrap(model, lora_config(lora), "lora", base, revision)


def lora_config(lora: Mapping[str, Any]) -> LoraConfig:
    """LoraConfig from a recipe's ``lora:`` block; raises PolicyError for what it does not take."""
    valid = {field.name for field in dataclasses.fields(LoraConfig)}
    for key in lora:
        if key not in valid:
            raise PolicyError(f"lora: {key!r} is no argument of LoraConfig{nearest(key, valid)}")
    config = LoraConfig(**{"task_type": "CAUSAL_LM", "target_modules": "all-linear", **lora})
    _check_config(config, "lora")
    return config


def load_adapter(model: nn.Module, config_file: Path, weights_file: Path, bases: list[str], name: str) -> PeftModel:
    """Wrap the model with an adapter from disk, to be trained further; ``bases`` are the names that its base goes by.

    Raises PolicyError if it is not LoRA, names another base, or does not fit the model tensor by tensor.
    """
    try:
        config = PeftConfig.from_pretrained(str(config_file.parent))
        weights = load_file(weights_file)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PolicyError(
            f"adapter {name!r} cannot be read ({first_line(error)}); expected {CONFIG} and {WEIGHTS}"
        ) from error
    if not isinstance(config, LoraConfig):
        raise PolicyError(f"adapter {name!r} is of type {config.peft_type}; expected LORA")
    recorded = config.base_model_name_or_path
    if recorded and bases and not _is_one_of(recorded, bases):
        raise PolicyError(
            f"adapter {name!r} was trained on {recorded!r}, the model is {bases[0]!r}; expected its own base"
        )
    config.lora_dropout, config.inference_mode = 0.0, False
    _check_config(config, f"adapter {name!r}")
    wrapped = _wrap(model, config, f"adapter {name!r}", bases[0] if bases else recorded, config.revision)
    _check_fit(wrapped, weights, name, bases)
    set_peft_model_state_dict(wrapped, weights, adapter_name=TRAINED)
    return wrapped


def _is_one_of(recorded: str, bases: list[str]) -> bool:
    """Whether two names mean one model: Hub ids whole, folders by their own name, since they move."""
    ids = [base for base in bases if _is_hub_id(base)]
    if ids and _is_hub_id(recorded):
        return recorded in ids
    return Path(recorded).name in {Path(base).name for base in bases}


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and name[0] not in "./~" and not Path(name).is_dir()


def _check_config(config: LoraConfig, where: str) -> None:
    if config.task_type != "CAUSAL_LM":
        raise PolicyError(f"{where}: task_type is {config.task_type}; expected CAUSAL_LM")
    if config.lora_dropout:
        raise PolicyError(
            f"{where}: lora_dropout is {config.lora_dropout}; expected 0, since with dropout the policy that is scored "
            "is not the one that chose"
        )
    if config.bias != "none":
        raise PolicyError(f"{where}: bias is {config.bias!r}; expected 'none', so that the adapter can be switched off")
    if isinstance(config.init_lora_weights, str) and config.init_lora_weights not in _ZERO_STARTS:
        raise PolicyError(
            f"{where}: init_lora_weights {config.init_lora_weights!r} changes the base model; "
            "expected true, false or 'gaussian'"
        )


def _wrap(model: nn.Module, config: LoraConfig, where: str, base: str | None, revision: str | None) -> PeftModel:
    config.base_model_name_or_path = config.revision = None  # PEFT would put the folder here; the true name follows
    unseen = read_past(model)
    if unseen and config.target_modules == "all-linear" and config.exclude_modules is None:
        config.exclude_modules = endings(unseen)
    try:
        wrapped: Any = get_peft_model(model, config, adapter_name=TRAINED)
    except (ValueError, TypeError, AttributeError) as error:
        raise PolicyError(f"{where}: no adapter fits the model ({first_line(error)})") from error
    if hasattr(bare(wrapped).get_output_embeddings(), "base_layer"):
        raise PolicyError(
            f"{where}: target_modules include the output head, which TRL cannot train; expected it left out"
        )
    for name in sorted(unseen):
        if hasattr(bare(wrapped).get_submodule(name), "base_layer"):
            raise PolicyError(
                f"{where}: target_modules include {endings({name})[0]}, whose weights the model reads past any adapter; "
                f"expected exclude_modules: {endings(unseen)}"
            )
    made = wrapped.peft_config[TRAINED]
    made.base_model_name_or_path, made.revision = base, revision
    return wrapped


def _check_fit(model: PeftModel, weights: Mapping[str, Tensor], name: str, bases: list[str]) -> None:
    expected = get_peft_model_state_dict(model, adapter_name=TRAINED, save_embedding_layers=False)
    for key in sorted(expected.keys() | weights.keys()):
        found, wanted = (tuple(side[key].shape) if key in side else None for side in (weights, expected))
        if found != wanted:
            base = repr(bases[0]) if bases else "the model"
            raise PolicyError(
                f"adapter {name!r} does not fit {base}: {key} is {found or 'missing'} in the adapter, "
                f"{wanted or 'missing'} in the model; expected an adapter of this base"
            )


def starts_as_base(model: PeftModel) -> bool:
    """Whether a new adapter with this configuration changes nothing at first, so that the base itself is the start."""
    config: Any = model.peft_config[TRAINED]
    return config.init_lora_weights in _ZERO_STARTS


def freeze_copy(model: PeftModel) -> None:
    """Keep the adapter as it is now under the name ``ref``, frozen; a model that has one already keeps that."""
    if REFERENCE in model.peft_config:
        return
    model.add_adapter(REFERENCE, copy.deepcopy(model.peft_config[TRAINED]))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f".{TRAINED}." in f"{key}.":
                model.get_parameter(f"{key}.".replace(f".{TRAINED}.", f".{REFERENCE}.")[:-1]).copy_(parameter)
    model.set_adapter(TRAINED)


@contextmanager
def active(model: PeftModel, name: str | None) -> Iterator[None]:
    """Let the model act with this adapter, or with none; then with the trained one again."""
    if name is None:
        with model.disable_adapter():
            yield
        return
    model.set_adapter(name, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter(TRAINED)


def save_adapter(model: PeftModel, folder: Path, state_dict: Mapping[str, Tensor] | None) -> None:
    """Write the trained adapter alone, as safetensors, without asking the Hub whether its embeddings were resized."""
    card = folder / "README.md"
    had_card = card.exists()
    model.save_pretrained(str(folder), selected_adapters=[TRAINED], save_embedding_layers=False, state_dict=state_dict)
    _sort_sets(folder / CONFIG)
    if not had_card:
        card.unlink(missing_ok=True)  # PEFT's card is an empty form that names a folder of this machine as the base


def _sort_sets(config: Path) -> None:
    """Names that PEFT keeps as sets it writes in an order that differs from process to process."""
    content = json.loads(config.read_text(encoding="utf-8"))
    for key in ("target_modules", "exclude_modules"):
        if isinstance(content.get(key), list):
            content[key] = sorted(content[key])
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def detached(model: nn.Module) -> Any:
    """A copy that shares nothing with the model.

    Patches of ``forward`` (TRL's fused head, autocast) call the model they were made for, and would do so from the copy
    too: they are left behind.
    """
    for module in model.modules():  # RecurrentGemma leaves its last state, with the way back of a loss, in its layers
        states = {
            name: value for name, value in vars(module).items() if isinstance(value, Tensor) and not value.is_leaf
        }
        vars(module).update({name: value.detach() for name, value in states.items()})
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if not hasattr(module, "_hf_hook"):
            vars(module).pop("forward", None)
    return twin


def folded(model: PeftModel) -> Any:
    """A copy of the base with the trained adapter added to its weights (W + BA·alpha/r)."""
    return detached(model).merge_and_unload(safe_merge=True, adapter_names=[TRAINED])


def first_line(error: Exception) -> str:
    """The first line of a library's message, for use inside a sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".")
