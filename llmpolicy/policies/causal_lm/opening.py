"""A model with its adapter and tokenizer, as files hold them or as they are asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm import adapter as adapters
from llmpolicy.policies.causal_lm import load as loading
from llmpolicy.policies.causal_lm.kinds import adapter_reason
from llmpolicy.policies.causal_lm.roundtrip import settle_patterns
from llmpolicy.policies.causal_lm.tokenizer import tokenizer_of
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
    frozen = (
        bool(adapter or lora or quantize) and torch.cuda.is_available() and str(device) != "cpu"
    )
    model: Any = loading.load_model(
        base,
        revision=revision,
        quantize=quantize,
        dtype=dtype or ("auto" if frozen else "float32"),
        device=device,
        trust_remote_code=trust_remote_code,
    )
    tokenizer = tokenizer_of(base, adapter, revision=revision, trust_remote_code=trust_remote_code)
    if adapter and files:
        model = adapters.load_adapter(
            model, *files, [name for name in (hub_id, base) if name], adapter
        )
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
    if reason := adapter_reason(model) or adapter_is_on(model):
        raise PolicyError(f"{base or 'the model'}: {reason}")
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
    config = (
        None
        if loading.find(path, "config.json", revision)
        else loading.find(path, adapters.CONFIG, revision)
    )
    if config is None:
        return path, revision, None
    recorded = json.loads(config.read_text(encoding="utf-8"))
    if not recorded.get("base_model_name_or_path"):
        raise PolicyError(
            f"adapter {path!r} does not say which base it belongs to; expected the base as path,"
            " the folder as adapter"
        )
    return recorded["base_model_name_or_path"], recorded.get("revision"), path
