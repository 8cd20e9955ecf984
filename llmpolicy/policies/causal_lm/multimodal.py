"""Adapters that were made on the multimodal class of a base, for its language model alone, or the
other way round.

The layers are the same; their names differ by the part of the whole that they belong to:
``model.language_model.layers.0`` there, ``model.layers.0`` here.
"""

import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from llmpolicy.errors import PolicyError

_PARTS = re.compile(r"language_model|text_model")
_PART = re.compile(rf"(?:^|\.)(?:{_PARTS.pattern})(?=\.)")
_NARROWER = ("exclude_modules", "layers_to_transform", "layers_pattern")
_PREFIX = "base_model.model."


def fit_names(
    model: nn.Module, config: Any, weights: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """An adapter's tensors by the names that their layers have in this model; the configuration
    comes to name those, too.

    Raises PolicyError for an adapter that also changes what the model does not have, such as a
    vision tower.
    """
    names = {_plain(name): name for name, module in model.named_modules() if module._parameters}
    fitting: dict[str, Tensor] = {}
    layers: dict[str, str] = {}  # by the adapter's names for them, those of the model
    elsewhere = []
    for key, tensor in weights.items():
        layer = name = _plain(key.removeprefix(_PREFIX))
        while layer and layer not in names:
            layer = layer.rpartition(".")[0]
        if not layer:
            if key.startswith(_PREFIX):
                elsewhere.append(key)
            fitting[key] = tensor
            continue
        rest = name.removeprefix(layer)
        layers[key.removeprefix(_PREFIX).removesuffix(rest)] = names[layer]
        fitting[f"{_PREFIX}{names[layer]}{rest}"] = tensor
    if [*layers] == [*layers.values()]:
        return dict(weights)
    if elsewhere:
        raise PolicyError(
            f"{where} was made on another class of its base and changes parts that this model does"
            f" not have ({min(elsewhere)}, {len(elsewhere)} tensors in all); expected one of the"
            " language model's layers alone"
        )
    _name_layers(config, layers, where)
    return fitting


def _plain(name: str) -> str:
    return _PART.sub("", name).removeprefix(".")


def resolved(pattern: Mapping[str, Any], layers: Mapping[str, str]) -> dict[str, Any]:
    """A pattern of one key for each layer that it fits by one name, by another name for it."""
    keys, chosen = list(pattern), {}
    for layer, name in layers.items():
        if (key := get_pattern_key(keys, layer)) in pattern:
            chosen[f"^{re.escape(name)}"] = pattern[key]
    return chosen


def _name_layers(config: Any, layers: Mapping[str, str], where: str) -> None:
    """Let a configuration name one by one the layers that it means, as this model calls them."""
    patterns: dict[str, dict[str, Any]] = {}
    for field, value in vars(config).items():
        if field.endswith("_pattern") and value and isinstance(value, dict):
            patterns[field] = value
    targets: set[str] = set()
    for name, here in layers.items():
        if config.target_modules and check_target_module_exists(config, name):
            targets.add(here)
    for field, value in vars(config).items():
        ours = field in (*patterns, "target_modules", "base_model_name_or_path", *_NARROWER)
        if (not ours and _PARTS.search(str(value))) or (
            field == "target_parameters" and value and patterns
        ):
            raise PolicyError(
                f"{where} was made on another class of its base, and its {field} ({value}) cannot"
                " be told by the names of this one; expected target_modules alone"
            )
    for field, pattern in patterns.items():
        setattr(config, field, resolved(pattern, layers))
    config.target_modules = targets or config.target_modules
    for field in filter(partial(hasattr, config), _NARROWER):
        setattr(config, field, None)
    logging.getLogger("llmpolicy").warning(
        "%s was made on another class of its base: its tensors are given to the same layers of this"
        " one, and saved by the names that they have here (%s)",
        where,
        min(layers.values()),
    )
