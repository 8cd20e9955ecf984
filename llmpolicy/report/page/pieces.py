"""What the tokens of a run stand for, by the tokenizer that lies in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmpolicy.run import Run

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "\ufffd"


def tokenizer_file(run: Run) -> Path | None:
    """The tokenizer of the run's policy, or of its last checkpoint; None where none lies there."""
    folders = [run.policy_dir, run.best_dir, *reversed(run.checkpoints())]
    weights = run.manifest.get("weights")
    folders += [Path(weights)] if isinstance(weights, str) else []
    files = (folder / "tokenizer.json" for folder in folders)
    return next(filter(Path.is_file, files), None)


def pieces_of(file: Path | None, ids: Sequence[int]) -> list[str]:
    """The text of each token behind a word, the tokenizer's own name of it where it is a part of a
    letter; nothing where the tokenizer cannot be read.
    """
    if file is None:
        return []
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 - its errors are bare Exceptions; a page without tokens is one
        return []
    before = _before(tokenizer)
    return [_piece(tokenizer, before, token) for token in ids]


def _before(tokenizer: "Tokenizer") -> list[int]:
    """A token to decode behind, for a decoder may drop the space of a first one."""
    ids: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
    return ids[:1]


def _piece(tokenizer: "Tokenizer", before: list[int], token: int) -> str:
    alone = tokenizer.decode(before, skip_special_tokens=False)
    both = tokenizer.decode([*before, token], skip_special_tokens=False)
    text = both[len(alone) :] if both.startswith(alone) else UNKNOWN
    if UNKNOWN in text or not text:
        return tokenizer.id_to_token(token) or f"[{token}]"
    return text
