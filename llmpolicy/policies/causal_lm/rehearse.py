"""Saving, rehearsed before anything is learned: what could not be written at the end is refused in
one sentence now.
"""

import json
import logging
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.forward import (
    bare,
    is_there,
    text_config,
    vocabulary,
)
from llmpolicy.policies.causal_lm.trial import CANNOT, moved

REALLY = 2**26
"""Bytes of weights, 64 MB, up to which they are written, into a folder that goes away; larger ones
are only looked at.
"""


def rehearse(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    save: Callable[[Path], None],
    look: Callable[[Path], None] | None = None,
    outline: Callable[[Path], None] | None = None,
    *,
    trained_only: bool,
) -> None:
    """Save a policy and throw it away; of large weights all but their bytes. Raises PolicyError if
    that cannot be done.

    ``save`` writes it into a folder, ``look`` holds what lies there against the policy, a step away
    from its start, and ``outline`` the configurations alone, where the weights are too large to be
    written. ``trained_only``: only the weights that are trained, as an adapter is.
    """
    inner = bare(model)
    if mend_generation(inner):
        logging.getLogger("llmpolicy").warning(
            "%s: its generation_config names a temperature, top_p or the like without do_sample,"
            " which cannot be saved; what is saved says do_sample: true",
            name,
        )
    if trained_only:
        _check_vocabulary(name, inner)
    else:
        _check_class(name, inner.config)
    with tempfile.TemporaryDirectory(prefix="llmpolicy-rehearsal-") as temporary:
        folder = Path(temporary)
        try:
            # PEFT writes what layers of an adapter share once for each of them
            if not trained_only and is_there(inner):
                # it refuses to write tensors that share memory and are not said to
                remove_tied_weights_from_state_dict(dict(inner.state_dict()), inner)
            weights = (p for p in model.parameters() if p.requires_grad or not trained_only)
            really = sum(p.nbytes for p in weights) <= REALLY
            if really:
                with moved(model) if trained_only else nullcontext():
                    save(folder)
                    if look is not None:
                        look(folder)
            for part in (tokenizer, inner.config, getattr(inner, "generation_config", None)):
                if part is not None:
                    part.save_pretrained(folder)
            if outline is not None and not really:
                outline(folder)
        except (*CANNOT, SafetensorError) as error:
            message = " ".join(str(error).split())[:200]
            raise PolicyError(
                f"{name} could not be saved after training ({message}); expected one that can be"
            ) from error


def mend_generation(model: Any) -> bool:
    """Whether a generation configuration that cannot be saved could be made one that can, by saying
    that it samples.
    """
    config = getattr(model, "generation_config", None)
    if config is None or _is_valid(config):
        return False
    before, config.do_sample = config.do_sample, True
    if not _is_valid(config):
        config.do_sample = before  # saving says why
        return False
    return True


def _is_valid(config: Any) -> bool:
    try:
        config.validate(strict=True)
    except ValueError:
        return False
    return True


def _check_class(name: str, config: Any) -> None:
    """Whether full weights can be loaded again: parts of some models are saved with a class that no
    loader knows.
    """
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "auto_map", None):
        raise PolicyError(
            f"{name} would be saved with {type(config).__name__} as its configuration, with which"
            " AutoModelForCausalLM cannot load it again; expected an adapter to be trained on it"
            " (lora: {}), or a model of another class"
        )


def _check_vocabulary(name: str, inner: Any) -> None:
    """An adapter is saved alone: the base that it is put on again must have the embeddings that it
    was trained with.
    """
    file = Path(str(inner.config.name_or_path)) / "config.json"
    if not file.is_file():
        return
    content = json.loads(file.read_text(encoding="utf-8"))
    there = content.get("vocab_size") or content.get("text_config", {}).get("vocab_size")
    if there and vocabulary(inner) != there and text_config(inner).vocab_size != there:
        raise PolicyError(
            f"{name} has embeddings of {vocabulary(inner)} tokens in memory and of {there} in"
            f" {file.parent}, on which its adapter would be loaded again; expected the resized"
            " model saved first and loaded from there"
        )
