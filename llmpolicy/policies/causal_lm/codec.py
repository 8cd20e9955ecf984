"""Prompts to token ids and completions to text: the only place that knows of special tokens and chat templates."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError, nearest

logger = logging.getLogger(__name__)

_MARK = "llmpolicy"


class Codec:
    """A tokenizer and the ids that end a completion. ``pad_id`` fills rows; masks never come from it."""

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
        self._end_of_turn_checked = False
        self._check_vocabulary([*self.stop_ids, self.pad_id], "a stop or pad token")
        if tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]:
            raise PolicyError(
                "the tokenizer ends every text with its end token; expected add_eos_token=False for prompts"
            )

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """Token ids of each prompt: a text, chat messages (the last is continued if it is the assistant's), or ids."""
        return [self._encode(prompt, row) for row, prompt in enumerate(prompts)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a completion, without the stop token and other special tokens."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_ids:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _encode(self, prompt: Any, row: int) -> list[int]:
        if isinstance(prompt, str):
            ids = self._text(prompt)
        elif len(prompt) and isinstance(prompt[0], Mapping):
            ids = self._chat(prompt, row)
        else:
            ids = [int(token) for token in prompt]
        if not ids:
            raise PolicyError(f"prompt {row} has no token; expected at least one to start from")
        self._check_vocabulary(ids, f"prompt {row}")
        return ids

    def _text(self, prompt: str) -> list[int]:
        ids = list(self.tokenizer(prompt)["input_ids"])
        bos = self.tokenizer.bos_token_id
        twice = bos is not None and ids[:2] == [bos, bos]  # the text is a rendered template that has its own BOS
        return ids[1:] if twice else ids

    def _chat(self, messages: Sequence[Mapping[str, Any]], row: int) -> list[int]:
        self._check_chat()
        prefill = messages[-1].get("role") == "assistant"
        try:
            ids = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=not prefill,
                continue_final_message=prefill,
                tokenize=True,
                return_dict=False,
                **self.chat_template_kwargs,
            )
        except (TemplateError, ValueError, KeyError, TypeError) as error:
            raise PolicyError(
                f"prompt {row}: the chat template refuses these messages ({_first_line(error)})"
            ) from error
        return list(ids)

    def _check_vocabulary(self, ids: Sequence[int], what: str) -> None:
        if not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise PolicyError(
                f"{what} has token id {max(ids) if min(ids) >= 0 else min(ids)}, the model knows 0 to "
                f"{self.vocabulary - 1}; expected the tokenizer that belongs to the model"
            )

    def _check_chat(self) -> None:
        """Once, before the first chat prompt: there is a template, and its end of turn ends a completion."""
        if self._end_of_turn_checked:
            return
        if not self.tokenizer.chat_template:
            raise PolicyError(
                "the tokenizer has no chat template; expected prompts that are plain texts (task: chat: false)"
            )
        end = self._end_of_turn()
        if end is not None and end not in self.stop_ids:
            name = self.tokenizer.convert_ids_to_tokens(end)
            known = self.tokenizer.convert_ids_to_tokens(self.stop_ids)
            raise PolicyError(
                f"the chat template ends an assistant's turn with {name!r} (id {end}), the stop tokens are {known}; "
                f"expected it among them (model: stop: [{name!r}])"
            )
        self._end_of_turn_checked = True

    def _end_of_turn(self) -> int | None:
        """The special token that the template puts after an assistant's words, None if there is only ordinary text."""
        turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        try:
            text = self.tokenizer.apply_chat_template(turn, tokenize=False, **self.chat_template_kwargs)
        except TemplateError:  # a template for one turn only: it has no end of turn to find
            return None
        tail = str(text).rpartition(_MARK)[2].lstrip()
        ids = self.tokenizer(tail, add_special_tokens=False)["input_ids"]
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        return ids[0] if ids and ids[0] in special else None


def _stop_ids(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None, stop: Sequence[str | int]
) -> list[int]:
    """The tokenizer's end token, the model's, and those asked for, in this order and each once."""
    declared = getattr(generation_config, "eos_token_id", None)
    declared = declared if isinstance(declared, list) else [declared]
    asked = [_token_id(tokenizer, name) for name in stop]
    ids = [tokenizer.eos_token_id, *declared, *asked]
    found = list(dict.fromkeys(int(token) for token in ids if token is not None))
    if not found:
        raise PolicyError("neither tokenizer nor model name an end token; expected at least one (model: stop: [...])")
    return found


def _token_id(tokenizer: PreTrainedTokenizerBase, name: str | int) -> int:
    if isinstance(name, int):
        return name
    known = tokenizer.get_vocab()
    ids = [known[name]] if name in known else tokenizer(name, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids == [tokenizer.unk_token_id]:
        near = nearest(name, tokenizer.convert_ids_to_tokens(sorted(tokenizer.added_tokens_decoder)))
        raise PolicyError(
            f"stop {name!r} is {len(ids)} tokens of this tokenizer; expected exactly one known token{near}"
        )
    return int(ids[0])


def _pad_id(tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> int:
    """The pad token; without one the end token serves (as in TRL), which is safe as masks come from positions."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(stop_ids[0])
        logger.warning("the tokenizer has no pad token: its end token %r fills short rows", tokenizer.pad_token)
    tokenizer.padding_side = "left"
    return int(tokenizer.pad_token_id)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
