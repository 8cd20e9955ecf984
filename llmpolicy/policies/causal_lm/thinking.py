"""The tokens that a model writes around its thinking, each read as ``<think>`` or ``</think>``
here.
"""

import re

from transformers import PreTrainedTokenizerBase

from llmpolicy.thinking import side

TAGS = re.compile(r"</?(?:think|thinking|thought|reasoning|reflection|scratchpad)>", re.IGNORECASE)


def thinking_marks(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The tokens around thinking, and the tag that each is read as; only those that come as a
    pair.
    """
    pairs: dict[str, dict[bool, str]] = {}
    for token in map(str, tokenizer.added_tokens_decoder.values()):
        if match := side(re.sub(r"[^\w:.-]+", " ", token), closes="/" in token):
            pairs.setdefault(match[0], {})[match[1]] = token
    tags: dict[str, str] = {}
    for pair in pairs.values():
        if len(pair) == 2:
            tags |= {pair[False]: "<think>", pair[True]: "</think>"}
    return tags | {mark: mark for mark in tags if TAGS.fullmatch(mark)}
