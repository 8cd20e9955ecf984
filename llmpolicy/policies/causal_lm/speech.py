"""How a policy's tokenizer speaks in dialogues: by its chat template, or in plain text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmpolicy.environments.conversation import ToolCall
from llmpolicy.episode import Turn
from llmpolicy.errors import PolicyError
from llmpolicy.messages import Conversation, Message, content_text
from llmpolicy.policies.causal_lm import dialogue
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.dialogue import Tool
from llmpolicy.policies.causal_lm.template_probe import check_turns, take_training_template
from llmpolicy.policies.causal_lm.tool_calls import (
    in_words,
    plain_answer,
    read_reply,
    with_tools,
)
from llmpolicy.types import Prompt

KEPT = 4096
"""How many messages are kept as ids."""


@dataclass(frozen=True)
class ChatSpeech:
    """By the chat template, which is shown the tools."""

    codec: Codec
    tools: Sequence[Tool]
    rendered: dict[tuple[Any, ...], list[int]] = field(default_factory=dict, repr=False)
    """What was said before, as ids: partners often say the same."""

    def opening(self, prompt: Prompt) -> list[int]:
        """The ids of the first state, up to where the model begins to speak."""
        return dialogue.opening(self.codec, self.asked(prompt))

    def asked(self, prompt: Prompt) -> str | list[Message]:
        """A prompt with the tools, as the first state shows it."""
        asked = _conversation(prompt)
        if self.tools:
            asked.options["tools"] = list(self.tools)
        return asked

    def following(self, held: Sequence[int], messages: Sequence[Message], ended: bool) -> list[int]:
        """The ids of new messages behind a turn of the model's, up to where it speaks again."""
        key = (json.dumps(messages), ended, *held[-1:])  # of what is held, its last token decides
        if key not in self.rendered:
            if len(self.rendered) == KEPT:
                self.rendered.clear()
            self.rendered[key] = self._following(held, messages, ended)
        return self.rendered[key]

    def _following(
        self, held: Sequence[int], messages: Sequence[Message], ended: bool
    ) -> list[int]:
        return dialogue.following(self.codec, held, messages, self.tools, ended)

    def read(self, turn: Turn) -> tuple[str, list[ToolCall], str]:
        """The text of a turn, the calls in it, and what is wrong with one that cannot be read."""
        if not self.tools and turn.text:
            return turn.text, [], ""
        said = read_reply(self.codec, turn.action, turn.state, self.tools)
        return said.text, list(said.calls), said.problem or ""


@dataclass(frozen=True)
class ToldSpeech(ChatSpeech):
    """By a chat template that knows of no tools: they are described in the first message, and
    what they say is the user's.
    """

    def asked(self, prompt: Prompt) -> str | list[Message]:
        """A prompt with the tools, as the first state shows it."""
        asked = _conversation(prompt)
        told = with_tools(asked, self.tools)
        assert not isinstance(told, str)
        return Conversation(in_words(told), **asked.options)

    def _following(
        self, held: Sequence[int], messages: Sequence[Message], ended: bool
    ) -> list[int]:
        return dialogue.following(self.codec, held, in_words(messages), (), ended)


@dataclass(frozen=True)
class PlainSpeech(ChatSpeech):
    """In plain text, exactly as it is written; tools are described before it."""

    def asked(self, prompt: Prompt) -> str | list[Message]:
        """A prompt with the tools, as the first state shows it."""
        return with_tools(str(prompt), self.tools) if self.tools else str(prompt)

    def _following(
        self, held: Sequence[int], messages: Sequence[Message], ended: bool
    ) -> list[int]:
        return dialogue.following(self.codec, held, "".join(map(_words, messages)))


def _conversation(prompt: Prompt) -> Conversation:
    """The messages of a prompt, with its options."""
    if isinstance(prompt, str):
        return Conversation([{"role": "user", "content": prompt}])
    options = prompt.options if isinstance(prompt, Conversation) else {}
    return Conversation(map(dict, prompt), **options)


def _words(message: Message) -> str:
    content = content_text(message["content"])
    return f"\n{plain_answer(message)}\n" if message["role"] == "tool" else content


def speech_of(
    codec: Codec,
    tools: Sequence[Tool],
    *,
    chat: bool = True,
    template: Literal["own", "training"] = "own",
    tools_in: Literal["template", "prompt"] = "template",
) -> ChatSpeech:
    """How a policy speaks; its template is looked at, or TRL's variant of it is taken, with which
    the policy is then saved. PolicyError for a template that cannot serve.
    """
    if not chat:
        return PlainSpeech(codec, tools)
    if not codec.template.exists:
        raise PolicyError(
            "the tokenizer has no chat template; write `environment: {chat: false}`, and what the"
            " environment says is appended as it is"
        )
    if template == "training":
        take_training_template(codec.tokenizer)
        codec.read_template()
    told = tools_in == "prompt"
    check_turns(codec, () if told else tools)
    return ToldSpeech(codec, tools) if told and tools else ChatSpeech(codec, tools)
