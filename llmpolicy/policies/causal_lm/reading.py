"""Tokens as a person reads them: thinking and answer told apart, without the marks that frame a
turn.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_parsing import ResponseParser
from transformers.utils.chat_parsing.response_templates import load_response_template

from llmpolicy.errors import PolicyError
from llmpolicy.messages import THINKING
from llmpolicy.policies.causal_lm.template import Template
from llmpolicy.policies.causal_lm.thinking import TAGS, thinking_marks

logger = logging.getLogger("llmpolicy")

_FRAMES = re.compile(r"<\|.*\|>|<\w+_of_\w+>")

_HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
_TEXT_OF_CHANNEL = {"close_pattern": r"<\|(?:end|return)\|>\s*", "content": "text"}
_CHANNELS: dict[str, Any] = {
    "start_anchor": "<|start|>assistant",
    "fields": {
        "thinking": {"open": "<|channel|>analysis<|message|>", **_TEXT_OF_CHANNEL},
        "commentary": {"open": "<|channel|>commentary<|message|>", **_TEXT_OF_CHANNEL},
        "content": {"open": "<|channel|>final<|message|>", **_TEXT_OF_CHANNEL},
        "tool_calls": {
            "open_pattern": (
                r"(?:<\|channel\|>commentary"
                r" )?to=functions\.(?P<name>[\w.-]+)(?:<\|channel\|>commentary)?"
                r"\s*(?:<\|constrain\|>)?\s*(?:json)?<\|message\|>"
            ),
            "close_pattern": r"<\|call\|>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"function": {"name": "{name}", "arguments": "{content}"}},
        },
    },
}
"""OpenAI's harmony format, as a response template: its channels are its own whatever a tokenizer
says.
"""


class Reader:
    """The text of a tokenizer's tokens.

    Left out are the named special tokens (begin, end, pad ...), those that end a completion, and
    those that the chat template writes around messages; other special tokens (``<answer>``,
    ``<tool_call>``) are text. Thinking is always between ``<think>`` and ``</think>``, whatever
    marks the model has for it, and a model of channels has its final one behind it.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, template: Template, stop_ids: Sequence[int]
    ) -> None:
        self.tokenizer, self.template, self.stop_ids = tokenizer, template, list(stop_ids)
        self._said: set[str] = set()
        self._gone: set[int] = set()
        self._begins: dict[int, bool] = {}

    def check(self) -> None:
        """Raise PolicyError where the tokenizer's own response template cannot be read."""
        if getattr(self.tokenizer, "response_template", None) is not None:
            _ = self._parsed

    def completion(self, token_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """What a completion says, ``after`` the tokens of its prompt."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_ids:
            ids.pop()
        channels = (
            None if self._parsed is None else self._channels(self.raw(ids, after), self.raw(after))
        )
        if channels is not None:
            return channels
        gone = sorted({token for token in ids if token in self.left_out} - self._gone)
        if gone:
            self._gone.update(gone)
            names = ", ".join(map(str, self.tokenizer.convert_ids_to_tokens(gone)))
            self._say(
                f"some completions have special tokens inside ({names}), which the text that"
                " rewards read leaves out; a reward gets all that was written by the name `raw`"
            )
        return self.thoughts_read(
            _apart([self.raw(piece, before) for before, piece in self._pieces(ids, after)])
        )

    def prompt(self, token_ids: Sequence[int], unknown: Sequence[str] | None = None) -> str:
        """What a prompt says, up to the thinking that it opens for the completion.

        ``unknown`` is what was asked in the place of each token for the unknown; without it they
        are left out.
        """
        if self._parsed is not None:
            written = self.raw(token_ids)
            begun = self._parsed.truncate_past_last_anchor(written)
            events = ResponseParser(self._parsed, prefix=written).initial_events
            if events and begun != written:
                return self._without_frame(written[: len(written) - len(begun)]) + self._told(
                    events, closed=True
                )
        words = self._words(
            list(token_ids), keep=None if unknown is None else self.tokenizer.unk_token_id
        )
        parts = words.split(str(self.tokenizer.unk_token))
        if unknown is None or len(parts) != len(unknown) + 1:
            return words
        return "".join(part + word for part, word in zip(parts, [*unknown, ""], strict=True))

    def raw(self, token_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """All that was written ``after`` those tokens, special tokens included.

        Many decoders take a blank away from the beginning of a text, or join its first token in
        another way: what follows on other words is read behind a letter, which is cut off again.
        """
        ids = list(token_ids)
        if ids and after and not self._begins_a_text(after[-1]):
            letter = self._decoded(self._letter)
            written = self._decoded([*self._letter, *ids])
            if written.startswith(letter):
                return written.removeprefix(letter)
        return self._decoded(ids)

    @cached_property
    def left_out(self) -> frozenset[int]:
        """The special tokens that are no part of a text."""
        named = [
            getattr(self.tokenizer, f"{name}_id", None)
            for name in self.tokenizer.SPECIAL_TOKENS_ATTRIBUTES
        ]
        marks = {str(token): index for index, token in self._special.items()}
        # Without a template nothing tells what frames a turn but the look of its marks.
        written = (
            self.template.frame()
            if self.template.exists
            else "".join(filter(_FRAMES.fullmatch, marks))
        )
        framing = [
            index for mark, index in marks.items() if mark in written and mark not in self._thoughts
        ]
        return frozenset(
            token for token in [*named, *self.stop_ids, *framing] if isinstance(token, int)
        )

    def _words(self, ids: Sequence[int], keep: int | None = None) -> str:
        kept = [token for token in ids if token == keep or token not in self.left_out]
        return self.thoughts_read(self.raw(kept))

    def _pieces(
        self, ids: Sequence[int], after: Sequence[int]
    ) -> list[tuple[Sequence[int], list[int]]]:
        """The tokens between those that are left out, each with what stands before them.

        A token that only stands for an unknown character parts nothing.
        """
        pieces: list[tuple[Sequence[int], list[int]]] = [(after[-1:], [])]
        for token in ids:
            if token not in self.left_out:
                pieces[-1][1].append(token)
            elif token != self.tokenizer.unk_token_id:
                pieces.append(([token], []))
        return [(before, piece) for before, piece in pieces if piece]

    def _begins_a_text(self, token: int) -> bool:
        """Whether the tokenizer writes what follows on this token in the same way as the beginning
        of a text.
        """
        if token not in self._begins:
            mark = self.tokenizer.added_tokens_decoder.get(token)
            known = mark is not None and token != self.tokenizer.unk_token_id
            self._begins[token] = known and self._encoded(f"{mark}a") == [token, *self._letter]
        return self._begins[token]

    @cached_property
    def _letter(self) -> list[int]:
        return self._encoded("a")

    def _encoded(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def thoughts_read(self, text: str) -> str:
        for mark, tag in self._thoughts.items():
            text = text.replace(mark, tag)
        return text

    def _without_frame(self, text: str) -> str:
        for mark in self.tokenizer.convert_ids_to_tokens(sorted(self.left_out)):
            text = text.replace(str(mark), "")
        return text

    @cached_property
    def _special(self) -> dict[int, Any]:
        """The special tokens by their ids."""
        added = {
            index: str(token)
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
        }
        return added | dict(
            zip(self.tokenizer.all_special_ids, self.tokenizer.all_special_tokens, strict=True)
        )

    @cached_property
    def _thoughts(self) -> dict[str, str]:
        return thinking_marks(self.tokenizer)

    # channels

    @cached_property
    def _parsed(self) -> Any:
        """The response template, where what it tells apart is not in the text already; None where
        it is.
        """
        spec = self._response_template()
        if spec is None:
            return None
        try:
            parsed = load_response_template(spec)
        except ValueError as error:
            raise PolicyError(
                f"the tokenizer's response template cannot be read ({error})"
            ) from error
        thinking = [field for name, field in parsed.fields.items() if name in THINKING]
        content = parsed.fields.get("content")
        read = all(
            field.close_re and TAGS.search(field.close_re.pattern.replace("\\", ""))
            for field in thinking
        )
        return None if read and (content is None or content.open_re is None) else parsed

    def _response_template(self) -> Any:
        """How this tokenizer's replies are read: as it says, as its tokens do, or as is known of
        its chat template.
        """
        from trl.chat_template_utils import add_response_schema

        template = getattr(self.tokenizer, "response_template", None)
        if template is not None:
            return template
        if set(_HARMONY) <= set(self._special.values()):
            return _CHANNELS
        known: Any = SimpleNamespace(chat_template=self.tokenizer.chat_template)
        try:
            add_response_schema(known)
        except ValueError:
            return None
        return getattr(known, "response_template", None)

    def _channels(self, text: str, before: str) -> str | None:
        """A completion in channels as thinking and answer; None where it has none, or they cannot
        be read.
        """
        parser = ResponseParser(self._parsed, prefix=before)
        try:
            events = parser.feed(text)
            events += parser.finalize()[1]
        except ValueError:  # a call that is no JSON, say
            return None
        if not events:
            return None
        self._say(
            "completions are read by the tokenizer's response template: thinking stands between"
            " <think> and </think>, the answer behind it; a reward gets all that was written by the"
            " name `raw`"
        )
        return self._told(events, closed=self._ends_closed(events, text))

    def _ends_closed(self, events: Sequence[Mapping[str, Any]], text: str) -> bool:
        """Whether the last region was closed by its own mark, and not only by the end of the
        text.
        """
        close = self._parsed.fields[events[-1]["field"]].close_re
        return close is not None and any(
            match.end() == len(text) and match.group() for match in close.finditer(text)
        )

    def _told(self, events: Sequence[Mapping[str, Any]], *, closed: bool) -> str:
        """The regions of a reply one after the other; of thinking that goes on, the end is left
        open.
        """
        text = ""
        for index, event in enumerate(events):
            last = index == len(events) - 1
            kind, field = event["type"], self._parsed.fields[event["field"]]
            if field.name in THINKING and kind == "region_open":
                goes_on = text.endswith(
                    "</think>"
                )  # what is thought in two regions is thought in one
                text = text.removesuffix("</think>") + "\n" if goes_on else text + "<think>"
            elif field.name in THINKING:
                ends = "</think>" if closed or not last else ""
                text += ends if kind == "region_close" else event["text"]
            elif kind == "region_open":
                text += "" if not text or text.endswith("</think>") else "\n"
            elif field.name != "tool_calls":
                text += event.get("text", "")
            elif kind == "region_close":
                text += "".join(_call(call) for call in _listed(event["value"]))
        return text

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logger.warning("%s", sentence)


def _apart(texts: Sequence[str]) -> str:
    """Texts one after the other, on a line of its own each: run together they would say something
    else.
    """
    joined = ""
    for text in texts:
        joined += (
            "\n" if joined and not joined[-1].isspace() and not text[:1].isspace() else ""
        ) + text
    return joined


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def _call(call: Any) -> str:
    """A tool call as text, in the form that most models write and `tool_call:match` reads."""
    inner = call.get("function", call) if isinstance(call, Mapping) else call
    return f"<tool_call>\n{json.dumps(inner, ensure_ascii=False)}\n</tool_call>"
