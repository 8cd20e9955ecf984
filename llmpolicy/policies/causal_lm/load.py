"""A model and its tokenizer from a folder or the Hub: safetensors only, and one sentence when it
cannot be.
"""

import importlib.util
import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import filterfalse
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
from llmpolicy.policies.causal_lm.adapter import CONFIG, WEIGHTS
from llmpolicy.policies.causal_lm.trial import CANNOT, first_line, in_words

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
    *CANNOT, OSError, LookupError, ImportError, ArithmeticError, AssertionError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip
"""What transformers raises for a folder that holds no model of the kind that is asked for."""


def find(path: str, name: str, revision: str | None = None) -> Path | None:
    """The local path of a file of a model folder or Hub repository, None if it has no such file."""
    file = Path(path) / name
    if file.is_file():
        return file
    if Path(path).is_dir():
        return None
    what = f"no model at {path!r}: no such folder, and"
    no_id = PolicyError(f"{what} not a Hub id of the form USER/NAME")
    if path.startswith((".", "/", "~")):
        raise no_id
    try:
        return Path(hf_hub_download(path, name, revision=revision))
    except RemoteEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise no_id from error
    except OSError as error:
        raise PolicyError(
            f"{what} the Hub did not give it ({first_line(error)}); expected a local folder or a"
            " Hub id that can be reached"
        ) from error


def adapter_files(path: str) -> tuple[Path, Path]:
    """Where the configuration and the weights of an adapter lie; raises PolicyError if either is
    missing.
    """
    files = []
    for name in (CONFIG, WEIGHTS):
        file = find(path, name)
        if file is None:
            raise PolicyError(
                f"adapter {path!r} has no {name}; expected the folder of a saved LoRA adapter"
                " (safetensors)"
            )
        files.append(file)
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
        options["quantization_config"] = quantization(quantize)
        options["device_map"] = {"": _device(device)}
    with in_words(f"cannot load {path!r} as a causal language model", errors=FAILURES):
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
    model, report = loaded
    check_placed(path, model, report)
    if quantize is None:
        _keep_padding_row(model, path, revision)
    else:
        _keep_layout(model)
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
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    name = names.get(id(embeddings.weight), "")
    shard = "model.safetensors"
    if index := find(path, "model.safetensors.index.json", revision):
        shard = json.loads(index.read_text(encoding="utf-8"))["weight_map"].get(name, shard)
    if file := find(path, shard, revision):
        with safe_open(file, "pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 - no mapping
                kept = tensors.get_slice(name)[row : row + 1][0]
                embeddings.weight[row] = kept.to(embeddings.weight)


def load_tokenizer(
    path: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies with a model; raises PolicyError in one sentence."""
    local = Path(path).is_dir()
    if local and not trust_remote_code and not has_tokenizer(path):
        raise PolicyError(f"no tokenizer in {path!r}; expected tokenizer.json beside the weights")
    with in_words(f"cannot load the tokenizer of {path!r}", errors=FAILURES):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code, local_files_only=local
        )
    return tokenizer


def has_tokenizer(path: str) -> bool:
    """Whether a tokenizer lies in a folder, or on the Hub one of the two likeliest kinds."""
    names = TOKENIZER_FILES if Path(path).is_dir() else TOKENIZER_FILES[:2]
    return any(find(path, name) for name in names)


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


def _keep_layout(model: PreTrainedModel) -> None:
    """Leave 4-bit weights as they were loaded: on processors with AVX-512 in bfloat16, bitsandbytes
    0.50 packs them when they are first used, and ``state_dict`` unpacks them into other weights (by
    .6 nats, seen with a small model: its scales come back transposed, or quantised anew).
    """
    layers: list[Any] = list(model.modules())
    for layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def _check_folder(path: str, revision: str | None) -> None:
    if find(path, "config.json", revision) is None:
        raise PolicyError(
            f"{path!r} is no model: it has no config.json; expected a folder or Hub id of a causal"
            " language model"
        )
    if Path(path).is_dir() and not list(Path(path).glob("*.safetensors")):
        content = "no weights"
        if pickled := sorted(file.name for file in Path(path).glob("*.bin")):
            content = f"only {', '.join(pickled)}, and pickled weights are refused"
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
    if missing := _not_among(new, report["missing_keys"]):
        raise PolicyError(
            f"{path!r} has no weights for {min(missing)} ({len(missing)} missing in all); expected"
            " a complete checkpoint"
        )
    _check_left_over(path, model, _not_among(apart, report["unexpected_keys"]))


def _not_among(starts: tuple[str, ...], keys: Iterable[str]) -> list[str]:
    """The names that begin with none of these."""
    return [key for key in keys if not key.startswith(starts)]


def _check_left_over(path: str, model: nn.Module, unexpected: Collection[str]) -> None:
    """Raise PolicyError for weights that belong into the model and have no place there; say what
    else was left out.
    """
    parts = dict(model.named_modules()).keys() - {""}
    ahead = _layers_ahead(model, unexpected)
    lost = []
    for key in filterfalse(_ELSEWHERE.search, unexpected):
        if parts & {*_ancestors(key)} and not any(layer in f".{key}" for layer in ahead):
            lost.append(key)
    if lost:
        raise PolicyError(
            f"{path!r} does not fit its config.json: the model has no place for {min(lost)}"
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
    config: Any = getattr(model, "config", None)
    if config is not None:
        config = config.get_text_config(decoder=True)
    last = getattr(config, "num_hidden_layers", None) or 0
    further = getattr(config, _AHEAD[0], None)
    if not isinstance(further, int):
        further = getattr(config, _AHEAD[1], None) or 0
    keys = "\n".join(f".{key}" for key in unexpected)
    layers: list[str] = []
    for index in range(last, last + further):
        layer = f".layers.{index}."
        if any(f"{layer}{part}" in keys for part in _AHEAD_PARTS):
            layers.append(layer)
    return layers


def _ancestors(key: str) -> Iterator[str]:
    while key := key.rpartition(".")[0]:
        yield key


@torch.no_grad()
def take_weights(model: PreTrainedModel, folder: Path) -> None:
    """Give a model the full weights that it saved in a folder; raises PolicyError unless every
    tensor has found its place.
    """
    with in_words(f"the weights in {folder} are not those of this model", errors=FAILURES):
        saved_keys: set[str] = set()
        unexpected: list[str] = []
        # one after the other: whole weights may be as much as memory has left
        for file in sorted(folder.glob(_SHARDS)):
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
    for part in (config, config.get("text_config") or {}):
        if name := part.get("dtype") or part.get("torch_dtype"):
            dtype = getattr(torch, str(name).removeprefix("torch."), None)
            return dtype if isinstance(dtype, torch.dtype) else None
    return None


def cast_weights(model: Any, dtype: torch.dtype | None) -> Any:
    """The model with its parameters in a dtype, but those that it keeps in float32; buffers, such
    as RoPE's frequencies, stay.

    Raises PolicyError where a number is too large for it.
    """
    if dtype is None:
        return model
    kept = {
        *(getattr(model, "_keep_in_fp32_modules", None) or ()),
        *(getattr(model, "_keep_in_fp32_modules_strict", None) or ()),
    }
    for name, parameter in model.named_parameters():
        if kept & set(name.split(".")) or not parameter.is_floating_point():
            continue
        parameter.data = parameter.data.to(dtype)
        if not torch.isfinite(parameter).all():
            raise PolicyError(
                f"{name} has a number that {dtype} cannot hold; load the base with dtype float32"
                " and keep it"
            )
    return model
