"""The life of an adapter: made, loaded, switched off, frozen as a reference, saved.

The one that is trained is called ``default``. A frozen copy of an adapter that was continued is
called ``ref``, the name under which TRL looks for a reference.
"""

import copy
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from llmpolicy.errors import PolicyError, nearest
from llmpolicy.policies.causal_lm.forward import bare
from llmpolicy.policies.causal_lm.kinds import (
    REFERENCE,
    TRAINED,
    adapter_reason,
    config_reason,
    refuse,
)
from llmpolicy.policies.causal_lm.multimodal import fit_names
from llmpolicy.policies.causal_lm.targets import endings, read_past, watched
from llmpolicy.policies.causal_lm.trained import kept_frozen
from llmpolicy.policies.causal_lm.trial import CANNOT, apart, first_line, in_words, log_probs

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_ZERO_STARTS = (True, "gaussian")
_UNFIT = (*CANNOT, ImportError, SafetensorError, re.error)


def add_lora(
    model: nn.Module, lora: Mapping[str, Any], base: str | None, revision: str | None = None
) -> PeftModel:
    """Wrap the model with a new LoRA adapter, on every linear layer but the head if target_modules
    is not given.
    """
    config = lora_config(lora)
    modules = dict(model.named_modules())
    parts = {name.rpartition(".")[2] for name in modules if name}
    for wanted in config.modules_to_save or ():
        if not any(name.endswith(wanted) for name in modules):
            close = nearest(wanted, parts)
            raise PolicyError(
                f"lora: modules_to_save name {wanted!r}, which the model does not have{close}"
            )
    return _wrap(model, config, "lora", base, revision)


def lora_config(lora: Mapping[str, Any]) -> LoraConfig:
    """LoraConfig from a recipe's ``lora:`` block; raises PolicyError for what it does not take."""
    valid = {field.name for field in dataclasses.fields(LoraConfig)}
    for key in lora:
        if key not in valid:
            raise PolicyError(f"lora: {key!r} is no argument of LoraConfig{nearest(key, valid)}")
    defaults = {"task_type": "CAUSAL_LM", "target_modules": "all-linear"}
    # settings that exclude each other, packages that are missing
    with in_words("lora: LoraConfig refuses these settings", errors=_UNFIT):
        config = LoraConfig(**(defaults | copy.deepcopy(dict(lora))))
    if config.lora_dropout:
        raise PolicyError(
            f"lora: lora_dropout is {config.lora_dropout}; expected 0, since with dropout the"
            " policy that is scored is not the one that chose"
        )
    if config.init_lora_weights == "eva":
        raise PolicyError(
            "lora: init_lora_weights 'eva' needs texts to begin from; expected true, false or"
            " 'gaussian'"
        )
    refuse("lora", config_reason(config))
    return config


def load_adapter(
    model: nn.Module, config_file: Path, weights_file: Path, bases: list[str], name: str
) -> PeftModel:
    """Wrap the model with an adapter from disk, to be trained further; ``bases`` are the names that
    its base goes by.

    Raises PolicyError if it cannot be a policy, names another base, or does not fit the model
    tensor by tensor.
    """
    where = f"adapter {name!r}"
    with in_words(f"{where} cannot be read", f"{CONFIG} and {WEIGHTS}", _UNFIT):
        config: Any = PeftConfig.from_pretrained(str(config_file.parent))
        weights = load_file(weights_file)
        _check_known(config, config_file)
    recorded = config.base_model_name_or_path
    if recorded and bases and not _is_one_of(recorded, bases):
        raise PolicyError(
            f"{where} was trained on {recorded!r}, the model is {bases[0]!r}; expected its own base"
        )
    _still(config)
    refuse(where, config_reason(config))
    weights = fit_names(model, config, weights, where)
    wrapped = _wrap(model, config, where, next(iter(bases), recorded), config.revision)
    place(wrapped, weights, where, next(iter(bases), "the model"))
    return wrapped


def _still(config: Any) -> None:
    """Without the dropout that the adapter was trained with, whatever its kind calls it, and
    trainable.
    """
    config.inference_mode = False
    for key, value in vars(config).items():
        if "dropout" in key and isinstance(value, float):
            setattr(config, key, 0.0)


def _check_known(config: Any, file: Path) -> None:
    """Raise ValueError for a setting that is switched on and unknown to the installed PEFT, which
    would leave it out.
    """
    known = {field.name for field in dataclasses.fields(config)}
    for key, value in json.loads(file.read_text(encoding="utf-8")).items():
        is_number = isinstance(value, int | float) and value is not True
        if key not in known and value and not is_number:
            raise ValueError(f"its {key} is {value!r}, which the installed PEFT does not know")


def _is_one_of(recorded: str, bases: list[str]) -> bool:
    """Whether two names mean one model: Hub ids whole, folders by their own name, since they
    move.
    """
    if _is_hub_id(recorded) and any(map(_is_hub_id, bases)):
        return recorded in bases
    return any(Path(base).name == Path(recorded).name for base in bases)


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and name[0] not in "./~" and not Path(name).is_dir()


def _wrap(
    model: nn.Module, config: Any, where: str, base: str | None, revision: str | None
) -> PeftModel:
    # PEFT would put the folder here; the true name follows
    config.base_model_name_or_path = config.revision = None
    unfit = dict.fromkeys(read_past(model), "whose weights the model reads past any adapter")
    with watched(model) as strange:
        before = log_probs(model)
    unfit = dict.fromkeys(strange, "which gives no plain product") | unfit
    if unfit and config.target_modules == "all-linear" and config.exclude_modules is None:
        config.exclude_modules = endings(unfit)
    with in_words(f"{where}: no adapter fits the model", errors=_UNFIT):
        wrapped: Any = get_peft_model(model, config, adapter_name=TRAINED)
    for name in sorted(unfit):
        if hasattr(bare(wrapped).get_submodule(name), "base_layer"):
            raise PolicyError(
                f"{where}: target_modules include {endings([name])[0]}, {unfit[name]}; "
                f"expected exclude_modules: {endings(unfit)}"
            )
    refuse(where, adapter_reason(wrapped))
    with wrapped.disable_adapter():
        if (nats := apart(before, log_probs(wrapped))) > 0:
            raise PolicyError(
                f"{where}: with the adapter off the model is not its base (by {nats:.2g} nats); "
                "expected an adapter that leaves the base's weights as they are"
            )
    trained = wrapped.peft_config[TRAINED]
    trained.base_model_name_or_path, trained.revision = base, revision
    return wrapped


def state(model: PeftModel, name: str = TRAINED) -> dict[str, Tensor]:
    """The tensors of an adapter under the names by which they are saved; most share memory with the
    model.
    """
    return dict(get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False))


def place(
    model: PeftModel, weights: Mapping[str, Tensor], where: str, base: str, name: str = TRAINED
) -> None:
    """Put saved tensors into an adapter; raises PolicyError unless all have found their place and
    none is left over.
    """
    weights = _without_base(model, weights, where, base)
    expected = state(model, name)
    converted = "" if expected.keys() == weights.keys() else _converted(model, weights, name)
    if converted is None:
        return
    shapes, wanted = shapes_of(weights), shapes_of(expected)
    for key in sorted(wanted.keys() | shapes.keys()):
        if shapes.get(key) != wanted.get(key):
            raise PolicyError(
                f"{where} does not fit {base!r}: {key} is {shapes.get(key) or 'missing'} in the"
                f" adapter, {wanted.get(key) or 'missing'} in the model{converted}; expected an"
                " adapter of this base"
            )
    with torch.no_grad():
        for key, tensor in weights.items():
            expected[key].copy_(tensor)
    for key, tensor in state(model, name).items():
        if not torch.equal(tensor.cpu(), weights[key].to(tensor.dtype).cpu()):
            raise PolicyError(
                f"{where}: {key} did not find its place in {base!r}; expected an adapter of this"
                " base"
            )


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def take(model: PeftModel, folder: Path, base: str) -> None:
    """Put the adapter that was saved in a folder into the one that is trained."""
    with in_words(f"no adapter can be read from {folder}", WEIGHTS, (OSError, SafetensorError)):
        weights = load_file(folder / WEIGHTS)
    place(model, weights, str(folder), base)


def _converted(model: PeftModel, weights: Mapping[str, Tensor], name: str) -> str | None:
    """Let PEFT rename what earlier releases of transformers called otherwise; None if all was
    placed, else why not.
    """
    try:
        report: Any = set_peft_model_state_dict(model, dict(weights), adapter_name=name)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        return f" ({first_line(error)})"
    lost = [*report.unexpected_keys]
    lost += set(report.missing_keys).intersection(parameters_of(model, name))
    return f" ({len(lost)} tensors without a place, {min(lost)} among them)" if lost else None


def _without_base(
    model: PeftModel, weights: Mapping[str, Tensor], where: str, base: str
) -> dict[str, Tensor]:
    """The adapter's own tensors: PEFT saves the base's embeddings beside them, which must be those
    of this base.
    """
    there, adapter = dict(model.named_parameters()), state(model)
    kept = {}
    for key, tensor in weights.items():
        if key in adapter or key not in there or f".{TRAINED}." in key:
            kept[key] = tensor
        elif tensor.shape != there[key].shape or not torch.equal(tensor.to(there[key]), there[key]):
            raise PolicyError(
                f"{where} brings {key} of its own, {tuple(tensor.shape)}, and {base!r} has another,"
                f" {tuple(there[key].shape)}; expected the base whose vocabulary it was trained"
                " with"
            )
    return kept


def parameters_of(model: nn.Module, name: str = TRAINED) -> dict[str, nn.Parameter]:
    """The parameters of an adapter, by their names in the model."""
    return {key: p for key, p in model.named_parameters() if f".{name}." in f"{key}."}


def starts_as_base(model: PeftModel) -> bool:
    """Whether a new adapter with this configuration changes nothing at first, so that the base
    itself is the start.
    """
    config: Any = model.peft_config[TRAINED]
    return config.init_lora_weights in _ZERO_STARTS


def is_float32(model: PeftModel) -> bool:
    """Whether some tensor of the adapter is float32, as PEFT makes them, not in the 16 bits that it
    was brought to since.
    """
    return any(p.dtype == torch.float32 for p in parameters_of(model).values())


def freeze_copy(model: PeftModel) -> None:
    """Keep the adapter as it is now under the name ``ref``, frozen; a model that has one already
    keeps that.
    """
    if REFERENCE in model.peft_config:
        return
    start = log_probs(model)
    with kept_frozen(model):
        config = copy.deepcopy(model.peft_config[TRAINED])
        model.add_adapter(REFERENCE, config, autocast_adapter_dtype=is_float32(model))
        place(model, state(model), "the copy of the adapter", "the model", REFERENCE)
        with active(model, REFERENCE):
            if (nats := apart(start, log_probs(model))) > 0:
                raise PolicyError(
                    f"the adapter cannot be copied as its own reference (off by {nats:.2g} nats)"
                )
        model.set_adapter(TRAINED)


@contextmanager
def active(model: PeftModel, name: str | None) -> Iterator[None]:
    """Let the model act with this adapter, or with none; then with the trained one again, of which
    no more is trained.
    """
    with kept_frozen(model):
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
    """Write the trained adapter alone, as safetensors, without asking the Hub whether its
    embeddings were resized.
    """
    card = folder / "README.md"
    had_card = card.exists()
    model.save_pretrained(
        str(folder), selected_adapters=[TRAINED], save_embedding_layers=False, state_dict=state_dict
    )
    _sort_sets(folder / CONFIG)
    if not had_card:
        # PEFT's card is an empty form that names a folder of this machine as the base
        card.unlink(missing_ok=True)


def _sort_sets(config: Path) -> None:
    """Names that PEFT keeps as sets it writes in an order that differs from process to process."""
    content = json.loads(config.read_text(encoding="utf-8"))
    for key in ("target_modules", "exclude_modules"):
        if isinstance(content.get(key), list):
            content[key] = sorted(content[key])
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
