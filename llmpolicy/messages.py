"""Chat messages as data sets hold them: content in parts, fields that Arrow filled in, and the text
that they say.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmpolicy.bounded import load_json

Message = dict[str, Any]
Given = Mapping[str, Any]
"""A message as a data set has it."""
Reply = str | Message
"""What an assistant says: a text, or a message where it holds more than its content."""

_TEXT = ("text", "input_text", "output_text")
"""The names that a part of text goes by."""


THINKING = ("thinking", "reasoning_content", "reasoning")
"""The names that messages, chat templates and response templates give to what is thought before the
answer.
"""


_CALLS = ("tool_calls", "function_call")
"""The names of tool calls, of now and of old."""


class Conversation(list[Message]):
    """Messages with what their chat template is given besides: ``tools``, and further arguments of
    this one prompt.
    """

    def __init__(self, messages: Iterable[Message], **options: Any) -> None:
        super().__init__(messages)
        self.options = options


def is_messages(value: Any) -> bool:
    """Whether a value is a list of messages, each with a role."""
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) > 0
    return listed and all(isinstance(message, Mapping) and "role" in message for message in value)


def read_messages(messages: Sequence[Given]) -> list[Message]:
    """The messages without absent fields, content as a text or as a list of ``{type: text, text:
    ...}``.

    Raises ValueError in a clause for content that is no text, or none at all.
    """
    return [_read(message, index) for index, message in enumerate(messages)]


def content_text(content: Any) -> str:
    """What a content says: a text as it is, the texts of its parts one after the other, nothing
    where there is none.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Mapping):
        return content_text(content.get("text"))
    return "".join(map(content_text, content))


def thought(message: Given) -> str:
    """What a message says was thought before its content, in a field of its own; empty where
    nothing was.
    """
    for text in map(message.get, THINKING):
        if isinstance(text, str) and text.strip():
            return text
    return ""


def plain(messages: Sequence[Given]) -> list[Message]:
    """The messages with every content as one text, as rewards read them."""
    return [{**message, "content": content_text(message.get("content"))} for message in messages]


def present(value: Any) -> Any:
    """A value without the fields that are None, at any depth: Arrow gives every record the fields
    of all others.
    """
    if isinstance(value, Mapping):
        return {key: present(inner) for key, inner in value.items() if inner is not None}
    return list(map(present, value)) if isinstance(value, list | tuple) else value


def _read(message: Given, index: int) -> Message:
    where = f"message {index} ({message.get('role')})"
    if not isinstance(message.get("role"), str):
        raise ValueError(
            f"{where} has the role {message.get('role')!r}, expected a text such as 'user'"
        )
    content, calls = message.get("content"), _calls(message, where)
    if content is None:
        if not calls and not thought(message):
            raise ValueError(f"{where} has no content, expected a text")
        content = ""
    elif not isinstance(content, str):
        content = _parts(content, where)
    read = {key: value for key, value in message.items() if value is not None and key not in _CALLS}
    if calls:
        read["tool_calls"] = present(calls)
    return read | {"content": content}


def _calls(message: Given, where: str) -> list[Any]:
    """A message's tool calls, which data sets also hold as JSON text, one by one or all, or as a
    single one.
    """
    for name in _CALLS:
        if value := message.get(name):
            break
    else:
        return []
    calls = []
    try:
        value = _from_json(value)
        for call in map(_from_json, [value] if isinstance(value, Mapping) else value or []):
            calls.append(_call(call, name))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where} has the {name} {message[name]!r:.60}, expected a list of {{name: ...,"
            " arguments: ...}"
        ) from error
    return calls


def _call(call: Any, name: str) -> Given:
    if not isinstance(call, Mapping):
        raise TypeError(f"found {call!r:.60}, expected a record")
    if name == "function_call":
        return {"type": "function", "function": call}
    if "function" in call:
        return {**call, "function": _from_json(call["function"])}
    return call


def _from_json(value: Any) -> Any:
    return load_json(value) if isinstance(value, str) and value.strip() else value


def _parts(content: Any, where: str) -> list[dict[str, str]]:
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(
            f"{where} has the content {content!r:.60}, expected a text or parts of text"
        )
    return [_part(part, where) for part in parts]


def _part(part: Any, where: str) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise ValueError(f"{where} has the part {part!r:.60}, expected {{type: text, text: ...}}")
    fields = {key: value for key, value in part.items() if value is not None}
    default = "text" if "text" in fields else next(iter(fields), "nothing")
    kind = fields.get("type", default)
    if kind not in _TEXT:
        raise ValueError(
            f"{where} has a part of type {kind!r}; a language model here reads text alone, no"
            f" {kind}"
        )
    if not isinstance(fields.get("text"), str):
        raise ValueError(
            f"{where} has a part without text ({part!r:.60}), expected {{type: text, text: ...}}"
        )
    return {"type": "text", "text": fields["text"]}
