"""Characters that a tokenizer has no token for: the model reads its token for the unknown in their
place, or nothing.
"""

import unicodedata
from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

_RARE = "\u02ac\U0001f9ff\U000124ab"
"""Characters that hardly a tokenizer has whole: what becomes of them becomes of all that it has
not.
"""

_MOST = 8
"""Characters that one sentence names."""


class Unknown:
    """What of the texts that were encoded has no token of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._said: set[str] = set()
        self._new: dict[str, str] = {}
        self._asked: dict[tuple[int, ...], list[str] | None] = {}

    def look(self, text: str, ids: Sequence[int], where: str) -> None:
        """Note what of a text is unknown, where the ids are those that the text became."""
        mark = self.tokenizer.unk_token
        known = mark is None or ids.count(self.tokenizer.unk_token_id) <= text.count(mark)
        if known and not self._drops:
            return
        places = self._places(text)
        unknown = [span for span in places if text[slice(*span)] != mark]
        for start, end in unknown:
            if text[start:end] not in self._said:
                self._new.setdefault(
                    text[start:end], f"{text[max(start - 12, 0) : end + 12]!r} of {where}"
                )
        if unknown and not self._drops:
            words = [text[start:end] for start, end in places]
            self._asked[tuple(ids)] = words if self._asked.get(tuple(ids), words) == words else None

    def told(self) -> str:
        """A sentence about what is unknown and was not told before; empty if there is nothing."""
        new, self._new = self._new, {}
        self._said.update(new)
        if not new:
            return ""
        names = ", ".join(f"{piece!r:.20}" for piece in list(new)[:_MOST])
        more = f" and {len(new) - _MOST} more" if len(new) > _MOST else ""
        instead = "nothing" if self._drops else repr(self.tokenizer.unk_token)
        return (
            f"the tokenizer has no token for {names}{more}, first in {next(iter(new.values()))}:"
            f" the model reads {instead} there, and prompts that differ in this alone are one to it"
        )

    def written(self, ids: Sequence[int]) -> list[str] | None:
        """What was asked in the place of each token for the unknown, the token itself where several
        texts became these ids.

        None where no text with something unknown became these ids.
        """
        if tuple(ids) not in self._asked:
            return None
        return self._asked[tuple(ids)] or [str(self.tokenizer.unk_token)] * list(ids).count(
            self.tokenizer.unk_token_id
        )

    @cached_property
    def _drops(self) -> bool:
        """Whether characters without a token vanish altogether, so that one is read as any
        other.
        """
        rarest, *rare = map(self._ids, _RARE)
        return self.tokenizer.unk_token_id not in rarest and all(ids == rarest for ids in rare)

    def _places(self, text: str) -> list[tuple[int, int]]:
        if (
            self._drops or not self.tokenizer.is_fast
        ):  # no places are told, or wrong ones: each character by itself
            lost = {character for character in set(text) if self._is_lost(character)}
            return [(index, index + 1) for index, character in enumerate(text) if character in lost]
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [
            (start, end) for token, (start, end) in pairs if token == self.tokenizer.unk_token_id
        ]

    def _is_lost(self, character: str) -> bool:
        """Whether a character has no token; blanks, marks and controls aside, which normalisers
        take out.
        """
        if unicodedata.category(character)[0] in "ZMC":
            return False
        ids = self._ids(character)
        return ids == self._ids(_RARE[0]) if self._drops else self.tokenizer.unk_token_id in ids

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
