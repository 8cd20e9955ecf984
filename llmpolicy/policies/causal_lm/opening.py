"""A model with its adapter and tokenizer, as files hold them or as they are asked for."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import adapter as adapters
from llmpolicy.policies.causal_lm import load as loading
from llmpolicy.policies.causal_lm.kinds import adapter_reason, refuse
from llmpolicy.policies.causal_lm.roundtrip import settle_patterns
from llmpolicy.policies.causal_lm.trained import adapter_is_on


@dataclass(frozen=True, slots=True)
class Opened:
    """What was loaded, and of which revision; ``saved_dtype`` is that of the base's files."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    revision: str | None
    saved_dtype: torch.dtype | None


def open_files(
    path: str | Path,
    hub_id: str | None,
    revision: str | None,
    adapter: str | Path | None,
    lora: Mapping[str, Any] | None,
    quantize: str | None,
    dtype: str | torch.dtype | None,
    device: str | torch.device | None,
    trust_remote_code: bool,
) -> Opened:
    """Load a base, and an adapter that is continued; raises PolicyError if anything is missing,
    unreadable, or does not fit.
    """
    if adapter is not None and lora is not None:
        raise PolicyError(
            f"both adapter {str(adapter)!r} and lora are given; expected one: continue an"
            " adapter or begin one"
        )
    base, revision, adapter = _base_of(str(path), revision, adapter)
    files = loading.adapter_files(adapter) if adapter else None
    if not dtype:
        frozen = bool(adapter or lora or quantize) and str(device) != "cpu"
        dtype = "auto" if frozen and torch.cuda.is_available() else "float32"
    model: Any = loading.load_model(
        base,
        revision=revision,
        quantize=quantize,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    tokenizer = _tokenizer_of(base, adapter, revision, trust_remote_code)
    if adapter and files:
        bases = [*filter(None, (hub_id, base))]
        model = adapters.load_adapter(model, *files, bases, adapter)
    return Opened(model, tokenizer, revision, loading.saved_dtype(base, revision))


def wrapped(
    model: PreTrainedModel | PeftModel,
    lora: Mapping[str, Any] | None,
    base: str | None,
    revision: str | None,
) -> Any:
    """The model with the adapter that is asked for; raises PolicyError for what is no policy or
    what TRL would not find.
    """
    refuse(base or "the model", adapter_reason(model) or adapter_is_on(model))
    if lora is not None:
        if isinstance(model, PeftModel):
            raise PolicyError(
                "the model has an adapter already and lora asks for another; expected one of"
                " the two"
            )
        model = adapters.add_lora(model, lora, base, revision)
    if isinstance(model, PeftModel):
        settle_patterns(model)
    return model


def _base_of(
    path: str, revision: str | None, adapter: str | Path | None
) -> tuple[str, str | None, str | None]:
    """The base, its revision and the adapter, whether ``path`` names the base or an adapter that
    names its base.
    """
    if adapter is not None:
        return path, revision, str(adapter)
    if loading.find(path, "config.json", revision):
        return path, revision, None
    config = loading.find(path, adapters.CONFIG, revision)
    if config is None:
        return path, revision, None
    recorded = json.loads(config.read_text(encoding="utf-8"))
    if not recorded.get("base_model_name_or_path"):
        raise PolicyError(
            f"adapter {path!r} does not say which base it belongs to; expected the base as path,"
            " the folder as adapter"
        )
    return recorded["base_model_name_or_path"], recorded.get("revision"), path


def _tokenizer_of(
    base: str, adapter: str | None, revision: str | None, trust_remote_code: bool
) -> PreTrainedTokenizerBase:
    """The adapter's own tokenizer with its chat template, else the base's; what differs between the
    two is said.

    Raises PolicyError in one sentence where one token has two ids, or neither has a tokenizer.
    """
    load = partial(loading.load_tokenizer, revision=revision, trust_remote_code=trust_remote_code)
    if adapter is None or not loading.has_tokenizer(adapter):
        return load(base)
    adapted = loading.load_tokenizer(adapter)
    if Path(base).is_dir() and not loading.has_tokenizer(base):
        return adapted
    tokenizer = load(base)
    _check_ids(adapted, tokenizer, adapter)
    for what in _differences(adapted, tokenizer):
        logging.getLogger("llmpolicy").warning(
            "adapter %r comes with a tokenizer of its own, which is used: %s", adapter, what
        )
    return adapted


def _check_ids(
    adapted: PreTrainedTokenizerBase, base: PreTrainedTokenizerBase, adapter: str
) -> None:
    theirs = base.get_vocab()
    for token, index in adapted.get_vocab().items():
        if theirs.get(token, index) != index:
            raise PolicyError(
                f"adapter {adapter!r} has a tokenizer in which {token!r} has the id {index}, in its"
                f" base's it is {theirs[token]}; expected one id for one token"
            )


def _differences(adapted: PreTrainedTokenizerBase, base: PreTrainedTokenizerBase) -> list[str]:
    new = sorted(adapted.get_vocab().keys() - base.get_vocab().keys())
    sentences = [f"{len(new)} tokens are new, such as {new[0]!r}"] if new else []
    if adapted.chat_template != base.chat_template:
        sentences.append("its chat template is not the base's")
    if adapted.eos_token != base.eos_token:
        sentences.append(
            f"it ends texts with {adapted.eos_token!r}, the base's with {base.eos_token!r}"
        )
    return sentences
