"""The shape of a decoder of the Llama kind, and how many parameters it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.bounded import read_json
from llmpolicy.errors import PolicyError, nearest


@dataclass(frozen=True, slots=True)
class Shape:
    """Decoder layers of attention (``heads`` of ``size``, of which ``kv_heads`` have keys and
    values) and a gated MLP; ``tied`` where the head is the embedding.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    size: int
    vocabulary: int
    tied: bool
    biased: bool = False
    """Whether queries, keys and values have a bias."""

    @property
    def attended(self) -> int:
        """Numbers of all query heads of a token."""
        return self.heads * self.size

    @property
    def kept(self) -> int:
        """Numbers of a token's keys and values in a layer."""
        return 2 * self.kv_heads * self.size

    @property
    def linear(self) -> int:
        """Weights of the linear layers, head and biases left out."""
        attention = self.hidden * (2 * self.attended + self.kept)
        return self.layers * (attention + 3 * self.hidden * self.inner)

    @property
    def parameters(self) -> int:
        """All weights, a tied head counted once."""
        vectors = self.layers * 2 * self.hidden + self.hidden
        if self.biased:
            vectors += self.layers * (self.attended + self.kept)
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear + vectors + tables

    def lora(self, rank: int) -> int:
        """Weights of an adapter of a rank on all linear layers, the head left out."""
        hidden, inner, attended = self.hidden, self.inner, self.attended
        queries, outs = hidden + attended, attended + hidden
        keys_and_values = 2 * hidden + self.kept
        return self.layers * rank * (queries + keys_and_values + outs + 3 * (hidden + inner))


SHAPES = {
    "0.5B": Shape(24, 896, 4864, 14, 2, 64, 151_936, tied=True, biased=True),
    "1.5B": Shape(28, 1536, 8960, 12, 2, 128, 151_936, tied=True, biased=True),
    "7B": Shape(28, 3584, 18_944, 28, 4, 128, 152_064, tied=False, biased=True),
    "14B": Shape(48, 5120, 13_824, 40, 8, 128, 152_064, tied=False, biased=True),
    "32B": Shape(64, 5120, 27_648, 40, 8, 128, 152_064, tied=False, biased=True),
}
"""Qwen2.5's, from the configuration files of Qwen/Qwen2.5-0.5B, 1.5B, 7B, 14B and 32B."""


def shape_of(model: str) -> Shape:
    """The shape of a model named as in `SHAPES`, or of a folder with a config.json; PolicyError for
    another one.
    """
    if model in SHAPES:
        return SHAPES[model]
    config = Path(model) / "config.json"
    if not config.is_file():
        raise PolicyError(
            f"--model {model}: no folder with a config.json, and no such size"
            f"{nearest(model, SHAPES)}"
        )
    return _of_config(read_json(config), config)


def _of_config(config: Mapping[str, Any], file: Path) -> Shape:
    try:
        heads = config["num_attention_heads"]
        shape = Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            size=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", True)),
            biased=bool(config.get("attention_bias", config.get("model_type") == "qwen2")),
        )
    except (KeyError, TypeError) as error:
        raise PolicyError(
            f"{file} lacks {error}; expected a decoder of the Llama kind (num_hidden_layers,"
            " hidden_size, intermediate_size, num_attention_heads, vocab_size)"
        ) from error
    if config.get("num_experts") or config.get("num_local_experts"):
        raise PolicyError(f"{file} is a mixture of experts; the formulas are for dense layers")
    return shape
