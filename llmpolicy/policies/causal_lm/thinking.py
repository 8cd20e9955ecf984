"""The tokens that a model writes around its thinking, each read as ``<think>`` or ``</think>`` here."""

import re

from transformers import PreTrainedTokenizerBase

TAGS = re.compile(r"</?(?:think|thinking|thought|reasoning|reflection|scratchpad)>", re.IGNORECASE)
_THOUGHT = re.compile(r"think(?:ing)?|thought|reasoning|inner", re.IGNORECASE)
_CLOSES = re.compile(r"/|(?:\b|_)(?:end|suffix)", re.IGNORECASE)
_SIDES = re.compile(r"begin|start|end|of|prefix|suffix|[^a-z]", re.IGNORECASE)


def thinking_marks(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The tokens around thinking, and the tag that each is read as; only those that come as a pair."""
    pairs: dict[str, dict[bool, str]] = {}
    for token in map(str, tokenizer.added_tokens_decoder.values()):
        if _THOUGHT.search(token):
            pairs.setdefault(_SIDES.sub("", token).casefold(), {})[bool(_CLOSES.search(token))] = token
    tags: dict[str, str] = {}
    for pair in pairs.values():
        if len(pair) == 2:
            tags |= {pair[False]: "<think>", pair[True]: "</think>"}
    return tags | {mark: mark for mark in tags if TAGS.fullmatch(mark)}
