"""Which adapters of PEFT can be a policy, looked up on the whole model: what is not known to be
right is refused in words.

A kind is served if what it does to a layer depends on each token alone (so that rows, padding,
packing and a key-value cache change nothing), if with the adapter off the model is its base, and if
it can be added to the base's weights. tests/test_kinds.py holds every kind against a plain forward
of PEFT.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from peft import LoraConfig, PeftConfig, PeftMixedModel, PeftModel
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.targets import taken

TRAINED, REFERENCE = "default", "ref"

SERVED = [
    "LORA",
    "IA3",
    "LOHA",
    "LOKR",
    "OFT",
    "BOFT",
    "HRA",
    "FOURIERFT",
    "RANDLORA",
    "VERA",
    "MISS",
    "LN_TUNING",
    "VBLORA",
    "ROAD",
    "TRAINABLE_TOKENS",
    "HIRA",
    "C3A",
    "WAVEFT",
    "DELORA",
    "GRALORA",
    "TINYLORA",
    "PSOFT",
    "PEANUT",
    "SUPERTUNING",
    "DEFT",
    "FROD",
    "GLORA",
    "UNILORA",
]
_NOT_HELD = "is not among the kinds that were held against a plain forward"
_REFUSED = {
    "ADALORA": "counts on a trainer that tells it the step, which TRL does not",
    "POLY": "asks for a task with every row",
    "LILY": "answers a row otherwise beside other rows",
    "SHADOW": "has a second network, which a packed row does not pass through",
    "XLORA": (
        "weighs its parts by the whole row, so that a token's choice is seen in those before it"
    ),
    "PVERA": "draws at random in every forward pass",
    "OSF": "changes the gradients of its base",
    "BEFT": "cannot be added to a base without biases",
    "ADAPTION_PROMPT": "cannot be added to its base's weights",
    "SHIRA": "draws the places that it trains, and does not save them",
}
_LORA_REFUSED = {
    "layer_replication": "repeats layers, so that with the adapter off the model is not its base",
    "kasa_config": (
        "cuts the base's weights, so that with the adapter off the model is not its base"
    ),
    "monteclora_config": "draws at random in training",
    "velora_config": "rounds what the gradient is made of, by the rows that lie side by side",
    "alora_invocation_tokens": (
        "is switched on within a row, which neither a key-value cache nor a packed row shows"
    ),
    "arrow_config": "chooses among adapters of its own",
    "use_qalora": "is bound to groups of a quantised base",
}
_LORA_KNOWN = {
    "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out",
    "bias", "use_rslora",
    "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern",
    "trainable_token_indices", "use_dora", "runtime_config", "target_parameters",
    "ensure_weight_tying", "lora_bias",
    "use_bdlora", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    "megatron_config", "megatron_core",
}  # fmt: skip
_SHARED = {field.name for field in dataclasses.fields(PeftConfig)}
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def refuse(where: str, reason: str | None) -> None:
    """Raise PolicyError if there is a reason why this cannot be a policy."""
    if reason:
        raise PolicyError(f"{where}: {reason}")


def config_reason(config: Any) -> str | None:
    """Why an adapter with this configuration of PEFT cannot be a policy, as the rest of a sentence;
    None if it can.
    """
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning:
        return (
            f"{kind} puts virtual tokens before the prompt, which no cache and no packed row has"
            " room for"
        )
    if kind not in SERVED:
        return f"{kind} {_REFUSED.get(kind, _NOT_HELD)}"
    if config.task_type not in (None, "CAUSAL_LM"):
        return f"task_type is {config.task_type}; expected CAUSAL_LM"
    if getattr(config, "bias", "none") != "none":
        return f"bias is {config.bias!r}; expected 'none', so that the adapter can be switched off"
    return _lora_reason(config) if isinstance(config, LoraConfig) else None


def _lora_reason(config: LoraConfig) -> str | None:
    plain = LoraConfig()
    for name in (field.name for field in dataclasses.fields(plain)):
        value, default, asked = getattr(config, name), getattr(plain, name), f"{name} was asked for"
        if name in _LORA_REFUSED and value not in (None, False, default):
            return f"{asked}: it {_LORA_REFUSED[name]}"
        if name not in {*_LORA_KNOWN, *_LORA_REFUSED, *_SHARED} and value != default:
            return f"{asked}: it is not among the settings that were held against a plain forward"
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        return (
            f"init_lora_weights {start!r} changes the base model; expected true, false or"
            " 'gaussian'"
        )
    return None


def adapter_reason(model: nn.Module) -> str | None:
    """Why a model with what PEFT has put into it cannot be a policy; None without adapters, and
    with those that can.
    """
    if isinstance(model, PeftMixedModel):
        return "it mixes adapters of several kinds; expected one"
    if not isinstance(model, PeftModel):
        if next(tuner_layers(model), None) is None:
            return None
        return "adapter layers lie in it that no PeftModel holds; expected peft.get_peft_model"
    names = set(model.peft_config)
    if TRAINED not in names:
        return f"the model's adapter is called {sorted(names)}; expected {TRAINED!r}"
    for config in model.peft_config.values():
        if reason := config_reason(config):
            return reason
    held = set(_layer_adapters(model))
    if names - {TRAINED, REFERENCE} or held - names:
        beside = sorted((names | held) - {TRAINED, REFERENCE})
        return (
            f"another adapter lies beside the trained one ({', '.join(beside)}); expected"
            f" {TRAINED!r} alone"
        )
    return _state_reason(model) or _layer_reason(model)


def _state_reason(model: Any) -> str | None:
    """Why the adapter, as it stands in the model, is not what is trained and saved."""
    if any(layer.disable_adapters for layer in tuner_layers(model)):
        return "its adapter is switched off; expected enable_adapter_layers() before"
    if model.active_adapters != [TRAINED]:
        return (
            f"the active adapter is {', '.join(model.active_adapters)}; expected"
            f" set_adapter({TRAINED!r}) before"
        )
    base = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and f".{TRAINED}." not in f"{name}."
    ]
    if base:
        return (
            f"weights of its base are to be trained too ({base[0]}, {len(base)} in all), which no"
            " adapter's file holds; expected requires_grad of the adapter alone"
        )
    return None


def tuner_layers(model: nn.Module) -> Iterator[BaseTunerLayer]:
    """The layers of a model that hold adapters."""
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            yield layer


def _layer_adapters(model: nn.Module) -> Iterator[str]:
    """The names of the adapters that the model's layers hold."""
    for layer in tuner_layers(model):
        for name in (*layer.adapter_layer_names, *layer.other_param_names):
            held = getattr(layer, name, None)
            if isinstance(held, (dict, nn.ModuleDict, nn.ParameterDict)):
                yield from held


def _layer_reason(model: Any) -> str | None:
    tuner, inner = model.base_model, model.get_base_model()
    if isinstance(inner, PeftModel):
        return "an adapter lies on top of another; expected the first merged into its base"
    if isinstance(inner.get_output_embeddings(), BaseTunerLayer):
        return (
            "target_modules include the output head, which TRL cannot train; expected it left out"
        )
    asked = set(tuner.targeted_module_names)
    for parameter in getattr(tuner, "targeted_parameter_names", ()):
        asked.add(parameter.rpartition(".")[0])
    for name, layer in inner.named_modules():
        if past := taken(layer, BaseTunerLayer):
            return (
                f"target_modules include {past[0]}, whose weights the model reads past any adapter;"
                " expected it left out"
            )
        if not isinstance(layer, BaseTunerLayer) or name.endswith("token_adapter"):
            continue
        below = getattr(layer, "base_layer", None)
        twice = isinstance(below, BaseTunerLayer) and not isinstance(layer, ParamWrapper)
        if twice or name.replace(".base_layer", "") not in asked:
            return "an adapter lies on top of another; expected the first merged into its base"
        if (
            any(getattr(layer, "lora_bias", {}).values())
            and getattr(layer.get_base_layer(), "bias", None) is None
        ):
            return (
                "lora_bias was asked for, and the layers have no bias that it could be added to;"
                " expected false"
            )
    return None
