"""The texts of a file that is published, as a reader of it would have them: values of JSON, names
and notes of weights.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmpolicy.publish.weights import read_header, text_in

VOCABULARIES = (
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""Files that hold pieces of text of every kind, /usr/ and sk- among them."""
LONG_PIECE = re.compile(r"[^\s\"']{16,}|-[A-Z -]{10,40}PRIVATE KEY-----")
"""The pieces of a vocabulary that can hold a secret."""


def texts(path: Path) -> Iterator[str]:
    """Every text in a file but the pieces of a vocabulary: the values and keys of JSON, the header
    of weights, else all of it.
    """
    if path.suffix == ".safetensors":
        with open(path, "rb") as file:
            yield from strings(read_header(file)[0])
    elif path.name in VOCABULARIES:
        return
    elif path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "tokenizer.json":
            content = without_vocabulary(content)
        yield from strings(content)
    else:
        yield path.read_text(encoding="utf-8")


def readable(path: Path) -> tuple[str, str]:
    """What a file says, as one text, and what in it is a word of any kind: pieces of a vocabulary,
    runs of letters in weights.
    """
    if path.suffix == ".safetensors":
        with open(path, "rb") as file:
            return "\n".join(strings(read_header(file)[0].get("__metadata__"))), text_in(path)
    if path.suffix == ".model":
        return "", text_in(path)
    text = path.read_text(encoding="utf-8")
    if path.name not in (*VOCABULARIES, "tokenizer.json"):
        return text, ""
    words = "\n".join(LONG_PIECE.findall(text))
    if path.name in VOCABULARIES:
        return "", words
    return json.dumps(without_vocabulary(json.loads(text))), words


def without_vocabulary(tokenizer: Any) -> Any:
    """The content of tokenizer.json without the pieces of its model."""
    if not isinstance(tokenizer, Mapping) or not isinstance(tokenizer.get("model"), Mapping):
        return tokenizer
    model = dict(tokenizer["model"])
    model.pop("vocab", None)
    model.pop("merges", None)
    return {**tokenizer, "model": model}


def strings(value: Any) -> Iterator[str]:
    """Every text in plain data, keys too, however deep."""
    ahead = [value]
    while ahead:
        item = ahead.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            ahead += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            ahead += item


def no_figure(value: Any, key: str = "") -> str | None:
    """The dotted key of the first NaN or infinity in plain data, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    elif not isinstance(value, Mapping):
        return None
    for inner, item in value.items():
        if name := no_figure(item, f"{key}.{inner}".lstrip(".")):
            return name
    return None
