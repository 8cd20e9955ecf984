"""The tokenizer of a policy: its base's, or the one that an adapter was trained with and brings
along.
"""

import logging
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError
from llmpolicy.policies.causal_lm.load import TOKENIZER_FILES, find, load_tokenizer

logger = logging.getLogger("llmpolicy")


def tokenizer_of(
    base: str, adapter: str | None, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The adapter's own tokenizer with its chat template, else the base's; what differs between the
    two is said.

    Raises PolicyError in one sentence where one token has two ids, or neither has a tokenizer.
    """
    adapted = None if adapter is None or not _has_tokenizer(adapter) else load_tokenizer(adapter)
    if adapted is not None and Path(base).is_dir() and not _has_tokenizer(base):
        return adapted
    tokenizer = load_tokenizer(base, revision=revision, trust_remote_code=trust_remote_code)
    if adapted is None:
        return tokenizer
    _check_ids(adapted, tokenizer, str(adapter))
    for what in _differences(adapted, tokenizer):
        logger.warning(
            "adapter %r comes with a tokenizer of its own, which is used: %s", adapter, what
        )
    return adapted


def _has_tokenizer(path: str) -> bool:
    names = TOKENIZER_FILES if Path(path).is_dir() else TOKENIZER_FILES[:2]
    return any(find(path, name) is not None for name in names)


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
