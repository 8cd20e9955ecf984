"""Prompts to token ids and completions to text: the only place that knows of special tokens and
chat templates.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from llmpolicy.episode import Dialogue, Turn
from llmpolicy.errors import PolicyError, nearest
from llmpolicy.messages import Reply, content_text
from llmpolicy.policies.causal_lm.reading import Reader
from llmpolicy.policies.causal_lm.replies import continuation
from llmpolicy.policies.causal_lm.template import Template
from llmpolicy.policies.causal_lm.unknown import Unknown

logger = logging.getLogger(__name__)


class Codec:
    """A tokenizer and the ids that end a completion. ``pad_id`` fills rows; masks never come from
    it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        generation_config: GenerationConfig | None,
        *,
        vocabulary: int,
        stop: Sequence[str | int] = (),
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.stop_ids = _stop_ids(tokenizer, generation_config, stop)
        self.pad_id = _pad_id(tokenizer, self.stop_ids)
        self.read_template()
        self.unknown = Unknown(tokenizer)
        self._end_of_turn_checked = self._said_twice = False
        self._check_vocabulary([*self.stop_ids, self.pad_id], "a stop or pad token")
        self._check_ends()
        self.reader.check()

    def read_template(self) -> None:
        """Take the chat template that the tokenizer has now."""
        self.template = Template(self.tokenizer, self.chat_template_kwargs)
        self.reader = Reader(self.tokenizer, self.template, self.stop_ids)

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """Token ids of each prompt: a text, chat messages (the last is continued if it is the
        assistant's), or ids.
        """
        ids = [self._encode(prompt, f"prompt {row}") for row, prompt in enumerate(prompts)]
        self._say_unknown()
        return ids

    def prompt(self, prompt: Any, where: str) -> list[int]:
        """Token ids of one prompt, as `encode` gives them; what cannot be read is said to be of
        ``where``.
        """
        ids = self._encode(prompt, where)
        self._say_unknown()
        return ids

    def behind(self, text: str) -> list[int]:
        """Token ids of a text that stands behind other tokens, read alone.

        Some tokenizers put a blank before a text, and none within: it is read behind a letter,
        which is cut off again.
        """
        letter, after = self._plain("a"), self._plain(f"a{text}")
        return after[len(letter) :] if after[: len(letter)] == letter else self._plain(text)

    def lesson(self, prompt: Any, reply: Reply, where: str) -> tuple[list[int], list[int]]:
        """Token ids of a prompt as `encode` gives them, and those of its reply behind it, which end
        in a stop token.

        Raises PolicyError in one sentence, beginning with ``where``, for a reply that cannot follow
        on its prompt.
        """
        before = self._encode(prompt, where)
        uttered = reply if isinstance(reply, str) else content_text(reply.get("content"))
        self.unknown.look(
            uttered, self.tokenizer(uttered, add_special_tokens=False)["input_ids"], where
        )
        self._say_unknown()
        if not isinstance(prompt, str):
            opened, words = continuation(self.template, prompt, reply, where)
            learned = self._behind(before, words, self.rendered(opened + words), where)
            return before, self._ended(learned, self.template.end_of_turn(), where)
        if not isinstance(reply, str):
            beside = ", ".join(sorted(reply.keys() - {"role", "content"}))
            raise PolicyError(
                f"{where}: a prompt of plain text has no place for what its reply holds besides"
                f" ({beside})"
            )
        return before, self._ended(
            self._behind(before, reply, self._text(prompt + reply), where), [], where
        )

    def decode(self, token_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """The text of a completion as a person reads it, ``after`` the ids of its prompt: see
        `Reader`.
        """
        return self.reader.completion(token_ids, after)

    def legible(self, turn: Turn, state: Any = ()) -> Turn:
        """A turn with the text of its action, of all that was written, and of its state, but where
        that is a dialogue which goes on: what was said is in the turns before.
        """
        text, raw = self.decode(turn.action, turn.state), self.raw(turn.action, turn.state)
        goes_on = isinstance(state, Dialogue) and state.turns > 0
        return replace(turn, prompt="" if goes_on else self.quote(turn.state), text=text, raw=raw)

    def quote(self, prompt_ids: Sequence[int]) -> str:
        """The text of a prompt, without the marks around its messages; with ``<think>`` at the end
        where it opens one.
        """
        return self.reader.prompt(prompt_ids, self.unknown.written(prompt_ids))

    def raw(self, token_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """All that was written ``after`` those tokens, special tokens included."""
        return self.reader.raw(token_ids, after)

    def _encode(self, prompt: Any, where: str) -> list[int]:
        try:
            ids = self._read(prompt, where)
        except (
            TypeError
        ) as error:  # no sequence, no whole numbers, or a text with half of a surrogate pair
            raise PolicyError(
                f"{where} is {prompt!r:.60}; expected a text, a list of messages, or token ids"
            ) from error
        if not ids:
            raise PolicyError(f"{where} has no token; expected at least one to start from")
        self._check_vocabulary(ids, where)
        return ids

    def _read(self, prompt: Any, where: str) -> list[int]:
        if isinstance(prompt, str):
            ids = self._text(prompt)
            self.unknown.look(prompt, ids, where)
            return ids
        if isinstance(prompt, bytes | bytearray | Mapping):
            raise TypeError
        if len(prompt) and isinstance(prompt[0], Mapping):
            return self._chat(prompt, where)
        return [index(token) for token in prompt]

    def _text(self, prompt: str) -> list[int]:
        ids = list(self.tokenizer(prompt)["input_ids"])
        begin = self.tokenizer.bos_token
        # The text is a rendered template that has its own beginning, and the tokenizer adds
        # another.
        twice = (
            begin is not None
            and prompt.startswith(begin)
            and ids[:2] == [self.tokenizer.bos_token_id] * 2
        )
        return ids[1:] if twice else ids

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _chat(self, messages: Sequence[Mapping[str, Any]], where: str) -> list[int]:
        self.check_chat()
        text = self.template.text(messages, where)
        ids = self.rendered(text)
        self.unknown.look(text, ids, where)
        return ids

    def _say_unknown(self) -> None:
        if sentence := self.unknown.told():
            logger.warning("%s", sentence)

    def rendered(self, text: str) -> list[int]:
        """The ids of what a chat template wrote."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        twice = (
            self.tokenizer.bos_token_id is not None and ids[:2] == [self.tokenizer.bos_token_id] * 2
        )
        if twice and not self._said_twice:
            self._said_twice = True
            logger.warning(
                "the chat template begins with %r twice: one is left out", self.tokenizer.bos_token
            )
        return ids[1:] if twice else ids

    def _behind(
        self, before: Sequence[int], words: str, whole: Sequence[int], where: str
    ) -> list[int]:
        """The ids of words behind those of a prompt, with which they may share tokens where both
        are read at once.
        """
        if list(whole[: len(before)]) == list(before):
            return list(whole[len(before) :])
        alone, letter, after = (
            self.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (words, "a", f"a{words}")
        )
        for ids in (after[len(letter) :] if after[: len(letter)] == letter else alone, alone):
            if self.raw([*before, *ids]) == self.raw(whole):
                return list(ids)
        raise PolicyError(
            f"{where}: the tokenizer reads the reply {words!r:.40} behind its prompt as other"
            " tokens than alone; expected a prompt that ends where a token does"
        )

    def _ended(self, ids: Sequence[int], ends: Sequence[int], where: str) -> list[int]:
        """The ids of a reply with an end: one without would teach to go on for ever."""
        self._check_vocabulary(ids, where)
        stops = [index for index, token in enumerate(ids) if token in self.stop_ids]
        if not stops:
            known = [*ends, self.tokenizer.eos_token_id, *self.stop_ids]
            return [*ids, next(token for token in known if token in self.stop_ids)]
        marks = {*self.stop_ids, *self.tokenizer.added_tokens_decoder}
        end = stops[0]
        behind = self.raw([token for token in ids[end + 1 :] if token not in marks])
        if any(character.isalnum() for character in behind):
            name = self.tokenizer.convert_ids_to_tokens(ids[end])
            raise PolicyError(
                f"{where}: {name!r} ends a completion, so that what the reply has behind it"
                f" ({behind!r:.40}) is never generated; expected a reply without it"
            )
        return list(ids)

    def _check_ends(self) -> None:
        """A prompt must end in its own last token, or nothing goes on from there."""
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        encoded = self.tokenizer("a")["input_ids"]
        if plain and encoded[-1] != plain[-1]:
            name = self.tokenizer.convert_ids_to_tokens(encoded[-1])
            raise PolicyError(
                f"the tokenizer ends every text with {name!r}, its end token or another; expected"
                " add_eos_token=False (no such token from its post-processor) for prompts"
            )

    def _check_vocabulary(self, ids: Sequence[int], what: str) -> None:
        if not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise PolicyError(
                f"{what} has token id {max(ids) if min(ids) >= 0 else min(ids)}, the model knows 0"
                f" to {self.vocabulary - 1}; expected the tokenizer that belongs to the model"
            )

    def check_chat(self) -> None:
        """Once, before the first chat prompt: there is a template, and its end of turn ends a
        completion.
        """
        if self._end_of_turn_checked:
            return
        if not self.template.exists:
            raise PolicyError(
                "the tokenizer has no chat template; expected prompts that are plain texts (task:"
                " chat: false)"
            )
        ends = self.template.end_of_turn()
        if ends and not set(ends) & set(self.stop_ids):
            end = ends[0]
            name = self.tokenizer.convert_ids_to_tokens(end)
            known = self.tokenizer.convert_ids_to_tokens(self.stop_ids)
            raise PolicyError(
                f"the chat template ends an assistant's turn with {name!r} (id {end}), the stop"
                f" tokens are {known}; expected it among them (model: stop: [{name!r}])"
            )
        self._end_of_turn_checked = True


def _stop_ids(
    tokenizer: PreTrainedTokenizerBase,
    generation_config: GenerationConfig | None,
    stop: Sequence[str | int],
) -> list[int]:
    """The tokenizer's end token, the model's, and those asked for, in this order and each once."""
    declared = getattr(generation_config, "eos_token_id", None)
    declared = declared if isinstance(declared, list) else [declared]
    asked = [_token_id(tokenizer, name) for name in stop]
    ids = [tokenizer.eos_token_id, *declared, *asked]
    known_ids = list(dict.fromkeys(int(token) for token in ids if token is not None))
    if not known_ids:
        raise PolicyError(
            "neither tokenizer nor model name an end token; expected at least one (model: stop:"
            " [...])"
        )
    return known_ids


def _token_id(tokenizer: PreTrainedTokenizerBase, name: str | int) -> int:
    if isinstance(name, int):
        return name
    known = tokenizer.get_vocab()
    ids = [known[name]] if name in known else tokenizer(name, add_special_tokens=False)["input_ids"]
    if len(ids) > 1:  # some tokenizers put a blank before a text, and none within
        before, after = (
            tokenizer("a" + text, add_special_tokens=False)["input_ids"] for text in ("", name)
        )
        ids = after[len(before) :] if after[: len(before)] == before else ids
    if len(ids) != 1 or ids == [tokenizer.unk_token_id]:
        near = nearest(
            name, tokenizer.convert_ids_to_tokens(sorted(tokenizer.added_tokens_decoder))
        )
        raise PolicyError(
            f"stop {name!r} is {len(ids)} tokens of this tokenizer; expected exactly one known"
            f" token{near}"
        )
    return int(ids[0])


def _pad_id(tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> int:
    """The pad token; without one the end token serves (as in TRL), which is safe as masks come from
    positions.
    """
    if tokenizer.pad_token_id is None:
        names = [tokenizer.eos_token, *tokenizer.convert_ids_to_tokens(list(stop_ids))]
        tokenizer.pad_token = next((name for name in names if name is not None), None)
        if tokenizer.pad_token is None:
            raise PolicyError(
                f"the tokenizer has no pad token and no token of the ids {list(stop_ids)} that end"
                " a completion; expected the tokenizer that belongs to the model"
            )
        logger.warning(
            "the tokenizer has no pad token: its end token %r fills short rows", tokenizer.pad_token
        )
    tokenizer.padding_side = "left"
    return int(tokenizer.pad_token_id)
