"""A model and its tokenizer from a folder or the Hub: safetensors only, and one sentence when it
cannot be.
"""

import importlib.util
import json
import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError, StrictDataclassError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llmpolicy.errors import PolicyError, nearest
from llmpolicy.policies.causal_lm.adapter import CONFIG, WEIGHTS, first_line
from llmpolicy.policies.causal_lm.out_of_memory import ran_out

_DTYPES = {
    "auto": "auto",
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)
_ELSEWHERE = re.compile(r"vision|visual|image|audio|speech|modal|mtp|inv_freq|masked_bias")
"""In names of weights that a language model alone has no use for."""
_AHEAD = ("num_nextn_predict_layers", "num_mtp_layers")
_AHEAD_PARTS = ("eh_proj.", "enorm.", "hnorm.", "shared_head.")
_SHARDS = "model*.safetensors"
FAILURES = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError,
    ArithmeticError,
    AssertionError, SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What transformers raises for a folder that holds no model of the kind that is asked for."""


def find(path: str, name: str, revision: str | None = None) -> Path | None:
    """The local path of a file of a model folder or Hub repository, None if it has no such file."""
    if Path(path).is_dir():
        return Path(path) / name if (Path(path) / name).is_file() else None
    if path.startswith((".", "/", "~")):
        raise PolicyError(
            f"no model at {path!r}: no such folder, and not a Hub id of the form USER/NAME"
        )
    try:
        return Path(hf_hub_download(path, name, revision=revision))
    except RemoteEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise PolicyError(
            f"no model at {path!r}: no such folder, and not a Hub id of the form USER/NAME"
        ) from error
    except OSError as error:
        raise PolicyError(
            f"no model at {path!r}: no such folder, and the Hub did not give it"
            f" ({first_line(error)}); expected a local folder or a Hub id that can be reached"
        ) from error


def adapter_files(path: str, revision: str | None = None) -> tuple[Path, Path]:
    """Where the configuration and the weights of an adapter lie; raises PolicyError if either is
    missing.
    """
    files = find(path, CONFIG, revision), find(path, WEIGHTS, revision)
    if files[0] is None or files[1] is None:
        missing = CONFIG if files[0] is None else WEIGHTS
        raise PolicyError(
            f"adapter {path!r} has no {missing}; expected the folder of a saved LoRA adapter"
            " (safetensors)"
        )
    return files[0], files[1]


def load_model(
    path: str,
    *,
    revision: str | None = None,
    quantize: str | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a causal language model; pickled weights are refused. Raises PolicyError in one
    sentence.
    """
    _check_folder(path, revision)
    options: dict[str, Any] = {"dtype": _dtype(dtype)}
    if quantize is not None:
        options |= {
            "quantization_config": quantization(quantize),
            "device_map": {"": _device(device)},
        }
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, in words
            revision=revision,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            local_files_only=Path(path).is_dir(),
            **options,
        )
    except FAILURES as error:
        if ran_out(error):
            raise
        raise PolicyError(
            f"cannot load {path!r} as a causal language model ({first_line(error)})"
        ) from error
    model, report = loaded
    check_placed(path, model, report)
    if quantize is None:
        _keep_padding_row(model, path, revision)
    return model if quantize or device is None else model.to(device)


@torch.no_grad()
def _keep_padding_row(model: PreTrainedModel, path: str, revision: str | None) -> None:
    """Read the pad token's embedding again where it is all 0: some models clear it after they were
    loaded (Youtu).

    Where the head shares its weights with the embeddings that row is a logit, and training moves
    it.
    """
    embeddings: Any = model.get_input_embeddings()
    row = getattr(embeddings, "padding_idx", None)
    if row is None or embeddings.weight.is_meta or embeddings.weight[row].any():
        return
    name = next(
        (name for name, parameter in model.named_parameters() if parameter is embeddings.weight), ""
    )
    index = find(path, "model.safetensors.index.json", revision)
    shard = (
        json.loads(index.read_text(encoding="utf-8"))["weight_map"].get(name)
        if index
        else "model.safetensors"
    )
    file = find(path, shard, revision) if shard else None
    if file is None:
        return
    with safe_open(file, "pt") as tensors:
        if name in tensors.keys():  # noqa: SIM118 - no mapping
            embeddings.weight[row] = tensors.get_slice(name)[row : row + 1][0].to(embeddings.weight)


def load_tokenizer(
    path: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies with a model; raises PolicyError in one sentence."""
    local = Path(path).is_dir()
    if (
        local
        and not trust_remote_code
        and not any((Path(path) / name).is_file() for name in TOKENIZER_FILES)
    ):
        raise PolicyError(f"no tokenizer in {path!r}; expected tokenizer.json beside the weights")
    try:
        return AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code, local_files_only=local
        )
    except FAILURES as error:
        if ran_out(error):
            raise
        raise PolicyError(f"cannot load the tokenizer of {path!r} ({first_line(error)})") from error


def quantization(quantize: str) -> BitsAndBytesConfig:
    """4-bit weights as in QLoRA (Dettmers et al. 2023, arXiv 2305.14314): NF4, double quantisation,
    bfloat16.
    """
    if quantize != "4bit":
        raise PolicyError(f"quantize {quantize!r} is unknown; expected '4bit'")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PolicyError(
            "quantize: 4bit needs bitsandbytes; install it with: pip install bitsandbytes"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _check_folder(path: str, revision: str | None) -> None:
    if find(path, "config.json", revision) is None:
        raise PolicyError(
            f"{path!r} is no model: it has no config.json; expected a folder or Hub id of a causal"
            " language model"
        )
    if Path(path).is_dir() and not list(Path(path).glob("*.safetensors")):
        pickled = sorted(file.name for file in Path(path).glob("*.bin"))
        content = (
            f"only {', '.join(pickled)}, and pickled weights are refused"
            if pickled
            else "no weights"
        )
        raise PolicyError(f"{path!r} has {content}; expected *.safetensors")


def check_placed(
    path: str,
    model: nn.Module,
    report: Mapping[str, Any],
    *,
    new: tuple[str, ...] = (),
    apart: tuple[str, ...] = (),
) -> None:
    """Raise PolicyError unless a load placed all tensors and left none over; transformers makes up
    others, and only warns.

    ``new`` begins the names of what a checkpoint need not have, ``apart`` of what the model has no
    use for.
    """
    if report["mismatched_keys"]:
        key, saved, wanted = min(report["mismatched_keys"])
        raise PolicyError(
            f"{path!r} does not fit its config.json: {key} is {tuple(saved)} in the weights;"
            f" expected {tuple(wanted)}"
        )
    if missing := [key for key in report["missing_keys"] if not key.startswith(new)]:
        raise PolicyError(
            f"{path!r} has no weights for {min(missing)} ({len(missing)} missing in all); expected"
            " a complete checkpoint"
        )
    _check_left_over(
        path, model, [key for key in report["unexpected_keys"] if not key.startswith(apart)]
    )


def _check_left_over(path: str, model: nn.Module, unexpected: Collection[str]) -> None:
    """Raise PolicyError for weights that belong into the model and have no place there; say what
    else was left out.
    """
    parts = {name for name, _ in model.named_modules() if name}
    ahead = _layers_ahead(model, unexpected)
    lost = sorted(
        key
        for key in unexpected
        if _ancestors(key) & parts
        and not _ELSEWHERE.search(key)
        and not any(layer in f".{key}" for layer in ahead)
    )
    if lost:
        raise PolicyError(
            f"{path!r} does not fit its config.json: the model has no place for {lost[0]}"
            f" ({len(lost)} left over in all); expected the configuration that the weights were"
            " saved with"
        )
    if unexpected:
        logging.getLogger("llmpolicy").warning(
            "%s: %d weights belong to no part of this model and are left out (%s)",
            path,
            len(unexpected),
            min(unexpected),
        )


def _layers_ahead(model: nn.Module, unexpected: Collection[str]) -> list[str]:
    """Layers behind the last that predict further tokens ahead (MTP), as the configuration says and
    their parts show.

    DeepSeek-V3 (arXiv 2412.19437, section 2.2) has one; transformers leaves it out.
    """
    whole: Any = getattr(model, "config", None)
    config = None if whole is None else whole.get_text_config(decoder=True)
    layer_count = getattr(config, "num_hidden_layers", None) or 0
    counts = [getattr(config, name, None) for name in _AHEAD]
    count = next((count for count in counts if isinstance(count, int)), 0)
    keys = "\n".join(f".{key}" for key in unexpected)
    layers: list[str] = []
    for index in range(layer_count, layer_count + count):
        layer = f".layers.{index}."
        if any(f"{layer}{part}" in keys for part in _AHEAD_PARTS):
            layers.append(layer)
    return layers


def _ancestors(key: str) -> set[str]:
    parts = key.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


@torch.no_grad()
def take_weights(model: PreTrainedModel, folder: Path) -> None:
    """Give a model the full weights that it saved in a folder; raises PolicyError unless every
    tensor has found its place.
    """
    try:
        saved_keys: set[str] = set()
        unexpected: list[str] = []
        for file in sorted(
            folder.glob(_SHARDS)
        ):  # one after the other: whole weights may be as much as memory has left
            tensors = load_file(file)
            unexpected += model.load_state_dict(tensors, strict=False).unexpected_keys
            saved_keys |= tensors.keys()
            del tensors
        if not unexpected and not _untied(model, saved_keys):
            return
        # Saved under other names than it has in memory, as a mixture of experts is: transformers
        # knows the way back.
        loaded: Any = type(model).from_pretrained(
            folder,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=model.dtype,
            local_files_only=True,
        )
        saved, report = loaded
        check_placed(str(folder), saved, report)
        model.load_state_dict(saved.state_dict())
    except FAILURES as error:
        if ran_out(error):
            raise
        raise PolicyError(
            f"the weights in {folder} are not those of this model ({first_line(error)})"
        ) from error


def _untied(model: PreTrainedModel, keys: Collection[str]) -> list[str]:
    """The model's tensors that are neither among these nor another name of one of them."""
    named = dict(model.named_parameters(remove_duplicate=False))
    there = {id(named[key]) for key in keys if key in named}
    missing = model.state_dict().keys() - set(keys)
    return [key for key in missing if key not in named or id(named[key]) not in there]


def _dtype(dtype: str | torch.dtype) -> Any:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise PolicyError(f"dtype {dtype!r} is unknown{nearest(dtype, _DTYPES)}")
    return _DTYPES[dtype]


def _device(device: str | torch.device | None) -> str | int:
    """Where quantised weights go: they cannot be moved later. One GPU a process."""
    if device is not None:
        return str(device)
    return torch.cuda.current_device() if torch.cuda.is_available() else "cpu"


def saved_dtype(path: str, revision: str | None = None) -> torch.dtype | None:
    """The dtype that a checkpoint's config.json names; None if it names none."""
    file = find(path, "config.json", revision)
    config = json.loads(file.read_text(encoding="utf-8")) if file else {}
    text = config.get("text_config") or {}
    names = [part.get(key) for part in (config, text) for key in ("dtype", "torch_dtype")]
    name = next(filter(None, names), None)
    dtype = getattr(torch, str(name).removeprefix("torch."), None)
    return dtype if isinstance(dtype, torch.dtype) else None


def cast_weights(model: Any, dtype: torch.dtype | None) -> Any:
    """The model with its parameters in a dtype, but those that it keeps in float32; buffers, such
    as RoPE's frequencies, stay.

    Raises PolicyError where a number is too large for it.
    """
    kept = {
        *(getattr(model, "_keep_in_fp32_modules", None) or ()),
        *(getattr(model, "_keep_in_fp32_modules_strict", None) or ()),
    }
    for name, parameter in model.named_parameters() if dtype is not None else ():
        if kept & set(name.split(".")) or not parameter.is_floating_point():
            continue
        parameter.data = parameter.data.to(dtype)
        if not torch.isfinite(parameter).all():
            raise PolicyError(
                f"{name} has a number that {dtype} cannot hold; load the base with dtype float32"
                " and keep it"
            )
    return model
