"""Characters that a tokenizer has no token for: the model reads its token for the unknown in their
place, or nothing.
"""

import unicodedata
from collections.abc import Iterator, Sequence
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
        words: list[str] = []
        for start, end in self._places(text):
            word = text[start:end]
            words.append(word)
            if word != mark and word not in self._said:
                around = text[max(start - 12, 0) : end + 12]
                self._new.setdefault(word, f"{around!r} of {where}")
        if self._drops or not any(word != mark for word in words):
            return
        if self._asked.setdefault(tuple(ids), words) != words:
            self._asked[tuple(ids)] = None

    def told(self) -> str:
        """A sentence about what is unknown and was not told before; empty if there is nothing."""
        new, self._new = self._new, {}
        self._said.update(new)
        if not new:
            return ""
        names = ", ".join(f"{piece!r:.20}" for piece in list(new)[:_MOST])
        if len(new) > _MOST:
            names += f" and {len(new) - _MOST} more"
        instead = "nothing" if self._drops else repr(self.tokenizer.unk_token)
        return (
            f"the tokenizer has no token for {names}, first in {next(iter(new.values()))}:"
            f" the model reads {instead} there, and prompts that differ in this alone are one to it"
        )

    def written(self, ids: Sequence[int]) -> list[str] | None:
        """What was asked in the place of each token for the unknown, the token itself where several
        texts became these ids.

        None where no text with something unknown became these ids.
        """
        if tuple(ids) not in self._asked:
            return None
        count = list(ids).count(self.tokenizer.unk_token_id)
        return self._asked[tuple(ids)] or [str(self.tokenizer.unk_token)] * count

    @cached_property
    def _drops(self) -> bool:
        """Whether characters without a token vanish altogether, so that one is read as any
        other.
        """
        rarest, *rare = map(self._ids, _RARE)
        return self.tokenizer.unk_token_id not in rarest and all(ids == rarest for ids in rare)

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where a text's unknown words begin and end."""
        if self._drops or not self.tokenizer.is_fast:
            # no places are told, or wrong ones: each character by itself
            lost = set(filter(self._is_lost, set(text)))
            for index, character in enumerate(text):
                if character in lost:
                    yield index, index + 1
            return
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        for token, span in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            if token == self.tokenizer.unk_token_id:
                yield span

    def _is_lost(self, character: str) -> bool:
        """Whether a character has no token; blanks, marks and controls aside, which normalisers
        take out.
        """
        if unicodedata.category(character)[0] in "ZMC":
            return False
        ids = self._ids(character)
        if self._drops:
            return ids == self._ids(_RARE[0])
        return self.tokenizer.unk_token_id in ids

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
