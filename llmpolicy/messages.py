"""Chat messages as data sets hold them: content in parts, fields that Arrow filled in, and the text
that they say.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmpolicy.bounded import load_json

Message = dict[str, Any]
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


def read_messages(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages without absent fields, content as a text or as a list of ``{type: text, text:
    ...}``.

    Raises ValueError in a clause for content that is no text, or none at all.
    """
    return [_read(message, place) for place, message in enumerate(messages)]


def content_text(content: Any) -> str:
    """What a content says: a text as it is, the texts of its parts one after the other, nothing
    where there is none.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Mapping):
        return content_text(content.get("text"))
    return "".join(content_text(part) for part in content)


def thought(message: Mapping[str, Any]) -> str:
    """What a message says was thought before its content, in a field of its own; empty where
    nothing was.
    """
    given = (message.get(name) for name in THINKING)
    return next((text for text in given if isinstance(text, str) and text.strip()), "")


def plain(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages with every content as one text, as rewards read them."""
    return [{**message, "content": content_text(message.get("content"))} for message in messages]


def present(value: Any) -> Any:
    """A value without the fields that are None, at any depth: Arrow gives every record the fields
    of all others.
    """
    if isinstance(value, Mapping):
        return {key: present(inner) for key, inner in value.items() if inner is not None}
    return [present(inner) for inner in value] if isinstance(value, list | tuple) else value


def _read(message: Mapping[str, Any], place: int) -> Message:
    where = f"message {place} ({message.get('role')})"
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
    rest = {key: value for key, value in message.items() if value is not None and key not in _CALLS}
    return rest | ({"tool_calls": present(calls)} if calls else {}) | {"content": content}


def _calls(message: Mapping[str, Any], where: str) -> list[Any]:
    """A message's tool calls, which data sets also hold as JSON text, one by one or all, or as a
    single one.
    """
    name = next((name for name in _CALLS if message.get(name)), "tool_calls")
    try:
        given = _from_json(message.get(name))
        calls = [
            _from_json(call) for call in ([given] if isinstance(given, Mapping) else given or [])
        ]
    except (ValueError, TypeError):
        calls = [None]
    if not all(isinstance(call, Mapping) for call in calls):
        raise ValueError(
            f"{where} has the {name} {message[name]!r:.60}, expected a list of {{name: ...,"
            " arguments: ...}"
        )
    if name == "function_call":
        return [{"type": "function", "function": call} for call in calls]
    return [
        {**call, "function": _from_json(call["function"])} if "function" in call else call
        for call in calls
    ]


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
    given = {key: value for key, value in part.items() if value is not None}
    kind = given.get("type", "text" if "text" in given else next(iter(given), "nothing"))
    if kind not in _TEXT:
        raise ValueError(
            f"{where} has a part of type {kind!r}; a language model here reads text alone, no"
            f" {kind}"
        )
    if not isinstance(given.get("text"), str):
        raise ValueError(
            f"{where} has a part without text ({part!r:.60}), expected {{type: text, text: ...}}"
        )
    return {"type": "text", "text": given["text"]}
