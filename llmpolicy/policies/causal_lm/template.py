"""Chat messages as the text that a tokenizer's template makes of them, compared with what was asked
for.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from os.path import commonprefix
from typing import Any

from transformers import PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError
from llmpolicy.messages import THINKING, Message, content_text, read_messages, thought
from llmpolicy.policies.causal_lm.message_forms import (
    blanks,
    called,
    forms,
    holds_all,
    is_in,
    last_turn,
    left_out,
    letters,
    name_of,
    with_blanks,
)
from llmpolicy.policies.causal_lm.thinking import thinking_marks

logger = logging.getLogger("llmpolicy")

_MARK, _OTHER = "llmpolicy", "interlocutor"
THOUGHT = re.compile(r"\s*(?:<|\[)/?(?:\w+:)?think(?:ing)?(?:>|\])", re.IGNORECASE)
OPENED = re.compile(r"(?:<|\[)(?:\w+:)?think(?:ing)?(?:>|\])\s*\Z", re.IGNORECASE)
_SPOKEN_OF = re.compile(r"(?:<|\[)(\w+)(?:>|\])(?!\w+(?:<|\[)/).*?(?:<|\[)/\1(?:>|\])", re.DOTALL)
"""A pair of tags with what stands between them, which is not the name of a role:
``<answer>...</answer>``.
"""


class Template:
    """A tokenizer's chat template with its arguments: what kinds of content it shows, and what it
    makes of messages.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Any]) -> None:
        self.tokenizer, self.arguments = tokenizer, dict(arguments)
        self._shown: dict[tuple[str, bool], bool] = {}
        self._said: set[str] = set()

    def text(self, messages: Sequence[Mapping[str, Any]], where: str) -> str:
        """The text that is continued: up to the assistant's turn, or with the beginning of it that
        the last message is.

        Raises PolicyError in one sentence for what the template refuses, fails at, or leaves out.
        """
        options = {**self.arguments, **getattr(messages, "options", {})}
        try:
            asked = read_messages(messages)
        except ValueError as error:
            raise PolicyError(f"{where}: {error}") from error
        self._say_unread(options)
        text = self._first_whole(self.fitted(asked), options, where)
        self._compare(asked, text, options, where)
        if asked[-1]["role"] == "assistant":
            self.say_marks(text)
        return text

    def _first_whole(self, messages: list[Message], options: Mapping[str, Any], where: str) -> str:
        """The text of the first form of the messages that has all tool calls and thinking in it, or
        else most of them.
        """
        names = called(messages)
        thoughts = [letters(thought(message)) for message in last_turn(messages)]
        best, most, failure = "", (-1, -1), None
        for form in forms(messages):
            try:
                text = self._text(form, options)
            except Exception as error:  # noqa: BLE001 - a template is a program of somebody else's and may raise anything
                failure = failure or error
                continue
            seen = letters(text) if any(thoughts) else ""
            shown = holds_all(text, names), holds_all(seen, thoughts)
            if shown > most:
                best, most = text, shown
            if most == (1, 1):
                break
        if most < (0, 0):
            words = "" if failure is None else _told(failure)
            raise PolicyError(
                f"{where}: the chat template refuses these messages ({words})"
            ) from failure
        return best

    def _text(self, messages: list[Message], options: Mapping[str, Any]) -> str:
        if messages[-1]["role"] != "assistant" or messages[-1].get("tool_calls"):
            return self.render(messages, options, add_generation_prompt=True)
        return self._continued(messages, content_text(messages[-1]["content"]), options)

    def fitted(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with contents of the kind that the template shows: parts where it takes
        parts, else one text.
        """
        return [
            {**message, "content": self._fit(message["role"], message["content"])}
            for message in messages
        ]

    def end_of_turn(self) -> list[int]:
        """The special tokens that the template puts after an assistant's words; empty if there is
        only ordinary text.

        Some templates end a turn only where another follows.
        """
        talk = [{"role": "user", "content": _OTHER}, {"role": "assistant", "content": _MARK}]
        return self._after_mark(talk, set()) or self._after_mark(
            [*talk, talk[0]], self._opening(talk)
        )

    def frame(self) -> str:
        """What the template writes around messages; without the tags that words of its own speak
        of, such as ``<answer>``.

        A system prompt of its own is in no conversation that has another.
        """
        user: Message = {"role": "user", "content": _MARK}
        assistant, system = {**user, "role": "assistant"}, {**user, "role": "system"}
        turns: list[list[Message]] = [[user, assistant], [user, assistant, user]]
        talks = [self._tried(self.fitted([system, *talk])) for talk in turns]
        if not any(talks):  # no system prompt is taken
            talks = [self._tried(self.fitted(talk)) for talk in ([user], *turns)]
        between = ""
        for talk in talks:
            for gap in re.split(_MARK, talk, flags=re.IGNORECASE):
                between += _SPOKEN_OF.sub("", gap)
        return between

    def _fit(self, role: str, content: Any) -> Any:
        if isinstance(content, str):
            if self._shows(role, parts=False) or not self._shows(role, parts=True):
                return content
            return [{"type": "text", "text": content}]
        return content if self._shows(role, parts=True) else content_text(content)

    def _shows(self, role: str, *, parts: bool) -> bool:
        """Whether a message of this role has its words in the text, in its one kind of content or
        the other.
        """
        if (role, parts) not in self._shown:
            content: Any = [{"type": "text", "text": _MARK}] if parts else _MARK
            answered = {
                "role": "user",
                "content": [{"type": "text", "text": _OTHER}] if parts else _OTHER,
            }
            message = {"role": role, "content": content}
            talk = {"user": [message], "system": [message, answered]}.get(role, [answered, message])
            seen = self._tried(talk).casefold()
            self._shown[role, parts] = (
                _MARK in seen and "'text'" not in seen and '"text"' not in seen
            )
        return self._shown[role, parts]

    def _continued(self, messages: list[Message], prefill: str, options: Mapping[str, Any]) -> str:
        """The text up to the end of a prefill, which begins the assistant's own words.

        Templates that write an empty thinking block before a turn's words do so before a prefill
        too, though thinking was not turned off: there the prefill follows what a generation begins
        with, and where a template has a system prompt only in what is answered next. Where a
        thinking block is opened, only the template knows how to get out of it.
        """
        opened = (
            self.render(messages[:-1], options, add_generation_prompt=True) if messages[:-1] else ""
        )
        begun = self._begun(messages, prefill, options, opened)
        if begun is not None:
            return begun
        opens = OPENED.search(opened)
        if opens and THOUGHT.match(prefill):
            return opened[: opens.start()] + prefill
        if not prefill.strip() or (messages[:-1] and THOUGHT.match(prefill)):
            return opened + prefill
        try:
            written = self.render(messages, options, continue_final_message=True)
        except ValueError:  # transformers finds the prefill nowhere in what the template made of it
            if opens or not messages[:-1]:
                raise
            return opened + prefill
        if not written.endswith(prefill) and written.endswith(
            prefill.strip()
        ):  # the template has trimmed it
            written = with_blanks(written.removesuffix(prefill.strip()), prefill)
        added = written.removeprefix(opened).removesuffix(prefill)
        if not opens and written.startswith(opened) and THOUGHT.match(added):
            return opened + prefill
        before = written.removesuffix(prefill)
        if left_out(messages[:-1], opened, options) < left_out(messages[:-1], before, options):
            return opened + blanks(opened, before) + prefill
        self._say_difference(opened, before)
        return written

    def _begun(
        self, messages: list[Message], prefill: str, options: Mapping[str, Any], opened: str
    ) -> str | None:
        """The text where thinking stands before a prefill, or the template has yet to say what the
        words are.

        Such a template writes a channel after what a generation begins with: there are the words,
        or the thinking.
        """
        inner, special = (
            thought(messages[-1]),
            prefill and (not prefill.strip() or THOUGHT.match(prefill)),
        )
        if not inner and not (special and opened):
            return None
        before = self._before(messages, options)
        added = "" if before is None else before[len(commonprefix([opened, before])) :]
        if before is None or (inner and letters(inner) not in letters(added)):
            return None
        if inner:
            return with_blanks(before, prefill)
        if not before.startswith(opened) or not added.strip() or THOUGHT.match(added):
            return None
        thinking = self._thinking(messages, prefill, options)
        if thinking is None:
            self._say_difference(opened, before)
        return before + prefill if thinking is None else thinking

    def _thinking(
        self, messages: list[Message], prefill: str, options: Mapping[str, Any]
    ) -> str | None:
        """A prefill of thinking, where the template writes thinking in marks of its own; None where
        it has no place.
        """
        tag = THOUGHT.match(prefill)
        if tag is None or "/" in tag.group():
            return None
        inside, end, words = prefill[tag.end() :].partition(
            tag.group().strip().replace("<", "</").replace("[", "[/")
        )
        for name in THINKING:
            message = {"role": "assistant", "content": "", name: inside.strip() if end else _MARK}
            begun = self._before(
                [*messages[:-1], message], options, field="content" if end else name
            )
            if begun is not None and (not end or letters(inside) in letters(begun)):
                return begun + (words if end else inside).lstrip("\n")
        return None

    def _before(
        self, messages: list[Message], options: Mapping[str, Any], field: str = "content"
    ) -> str | None:
        """What the template writes before a field of the last message; None where it does not show
        it.
        """
        around = self.around(messages, options, field)
        return None if around is None else around[0]

    def around(
        self, messages: list[Message], options: Mapping[str, Any], field: str = "content"
    ) -> tuple[str, str] | None:
        """What the template writes before and behind a field of the last message; None where it
        does not show it.
        """
        mark = self._fit("assistant", _MARK) if field == "content" else _MARK
        try:
            text = self.render([*messages[:-1], {**messages[-1], field: mark}], options)
        except Exception:  # noqa: BLE001 - as above; what cannot be rendered shows nothing
            return None
        before, shown, behind = text.rpartition(_MARK)
        return (before, behind) if shown else None

    def _say_difference(self, opened: str, before: str) -> None:
        """Say what a prefill is preceded by that a generation is not, or the reverse."""
        if not opened or opened.split() == before.split():
            return
        common = len(commonprefix([opened, before]))
        self._say(
            f"the chat template begins a generation with {opened[common:]!r}, and writes"
            f" {before[common:]!r} before a prefill: completions are sampled from there"
        )

    def _compare(
        self, asked: Sequence[Message], text: str, options: Mapping[str, Any], where: str
    ) -> None:
        """Every message's words must be in the text; only the one that is answered or continued is
        insisted upon.
        """
        seen = letters(text)
        insisted = len(asked) - 1 - (asked[-1]["role"] == "assistant")
        for index, message in enumerate(asked):
            if is_in(message, text, seen):
                continue
            name = f"message {index} ({message['role']})"
            if index >= insisted:
                raise PolicyError(
                    f"{where}: the chat template leaves out {name}, what is asked; expected its"
                    " words"
                )
            self._say(f"the chat template leaves out {name} of {where}")
        for index, message in enumerate(asked):
            if letters(thought(message)) not in seen:
                self._say(
                    f"the chat template leaves out the thinking of message {index}"
                    f" ({message['role']}) of {where}"
                )
        if not holds_all(text, called(asked)):
            self._say(f"the chat template leaves out the tool calls of {where}")
        if not holds_all(text, map(name_of, options.get("tools") or ())):
            self._say(f"the chat template leaves out the tools of {where}")

    def say_marks(self, text: str) -> None:
        """Say that a model with marks of its own for thinking takes a ``<think>`` in its turn for
        other text.
        """
        tag = re.search(r"</?think>", text)
        if tag and self._marks and tag.group() not in self._marks:
            self._say(
                f"{tag.group()} is no token of this model, whose thinking stands between"
                f" {' and '.join(self._marks)}"
            )

    @cached_property
    def _marks(self) -> dict[str, str]:
        return thinking_marks(self.tokenizer)

    def _say_unread(self, options: Mapping[str, Any]) -> None:
        """Say which arguments the template does not look at."""
        source = self.tokenizer.chat_template
        if not isinstance(source, str):
            return
        if "strftime_now" in source and not any("date" in name for name in options):
            self._say(
                "the chat template may write today's date into every prompt: they are other prompts"
                " on another day"
            )
        for name in options:
            if name not in source and name != "tools":
                self._say(
                    f"the chat template does not read the argument {name!r}: it changes nothing"
                )

    def _say(self, sentence: str) -> None:
        kind = re.sub(r"\d+", "", sentence)
        if kind not in self._said:
            self._said.add(kind)
            logger.warning("%s", sentence)

    def render(self, messages: list[Message], options: Mapping[str, Any], **how: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(messages, tokenize=False, **{**options, **how})
        )

    def _tried(self, messages: list[Message]) -> str:
        """The text of a conversation, an empty one where the template does not take it."""
        try:
            return self.render(messages, self.arguments)
        except Exception:  # noqa: BLE001 - as above; what cannot be rendered shows nothing
            return ""

    def _after_mark(self, talk: list[Message], beginnings: set[int]) -> list[int]:
        """The special tokens behind the mark, up to one that the template begins a turn with."""
        text = self._tried(self.fitted(talk))
        start = text.casefold().rfind(_MARK)
        if start < 0:  # a template that does not show what an assistant says
            return []
        ids = self._special(text[start + len(_MARK) :].lstrip())
        return [
            token
            for token in takewhile(lambda token: token not in {None, *beginnings}, ids)
            if token is not None
        ]

    def _opening(self, talk: list[Message]) -> set[int]:
        """The special tokens that stand before the first words."""
        text = self._tried(self.fitted(talk[:1]))
        head = text[: max(text.casefold().find(_OTHER), 0)]
        return {token for token in self._special(head) if token is not None}

    def _special(self, text: str) -> list[int | None]:
        """The ids of a text, None in the place of what is no special token."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [token if token in special else None for token in ids]

    @cached_property
    def exists(self) -> bool:
        """Whether the tokenizer has a chat template at all."""
        return bool(self.tokenizer.chat_template)


def _told(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
