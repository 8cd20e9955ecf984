"""Attention that chooses the tokens that it reads: a function of the context alone only where it
reads all of them.

An indexer gives each token before a score and keeps the highest (DeepSeek-V3.2, arXiv 2512.02556,
section 2.1). Its ReLU leaves many scores at 0, and among equal ones ``topk`` chooses by their
column and the width of the pass, which padding and a cache change.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from llmpolicy.errors import PolicyError

_CHOSEN = {
    "index_topk": "compress_rate",
    "topk_blocks": "block_size",
    "token_budget": "",
    "keep_window_size": "",
}
"""What modules call the number that they choose, of tokens or of blocks, and the size of such a
block.
"""


def reads_whole(model: nn.Module) -> int | None:
    """The most tokens of a row that attention reads all of, None if it never chooses among them."""
    return min(_limits(model), default=None)


def _limits(model: nn.Module) -> Iterator[int]:
    for module in model.modules():
        for count, size in _CHOSEN.items():
            if isinstance(chosen := vars(module).get(count), int):
                yield chosen * int(vars(module).get(size, 1))


def check_whole(model: nn.Module, lengths: Sequence[int], more: int, name: str) -> None:
    """Raise PolicyError for rows of so many tokens, and ``more`` to come, where attention would
    choose among them.
    """
    limit, longest = reads_whole(model), max(lengths, default=0) + more
    if limit is not None and longest > limit:
        raise PolicyError(
            f"{name} reads at most {limit} tokens before each and chooses them by scores, of which"
            " equal ones are told apart by where a row stands beside others; expected prompt and"
            f" completion of at most {limit} tokens together, not {longest}"
        )
