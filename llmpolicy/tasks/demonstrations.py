"""Demonstrations for a supervised warm start: prompts with the reply that should be imitated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import Message, Reply, content_text
from llmpolicy.tasks.content import readable
from llmpolicy.tasks.rows import make_rows, messages_in
from llmpolicy.tasks.sources import read_rows
from llmpolicy.tasks.spec import TaskSpec
from llmpolicy.types import Prompt

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with its reply; ``question`` is the prompt's canonical form."""

    prompt: Prompt
    reply: Reply
    question: str


def load_demonstrations(spec: TaskSpec, base_dir: Path | None = None) -> list[Demonstration]:
    """The demonstrations of a source whose rows have a ``reply``, a ``completion``, or ``messages``
    that end in one.

    Raises TaskError in one sentence, naming the row.
    """
    raws, demonstrations = [], []
    for index, raw in enumerate(read_rows(spec, base_dir)):
        raws.append(_replied(raw, spec, index))
    for row in make_rows(spec, raws, base_dir):
        demonstrations.append(Demonstration(row.prompt, row.columns["reply"], row.question))
    return demonstrations


def _replied(row: Mapping[str, Any], spec: TaskSpec, index: int) -> dict[str, Any]:
    """The row with its reply in the column ``reply``, and with messages as prompt and reply."""
    where = f"demonstrations {spec.label!r}, row {index}"
    columns = dict(row)
    if "messages" in columns and "reply" not in columns and "prompt" not in columns:
        *columns["prompt"], columns["reply"] = _talk(columns.pop("messages"), where)
    elif "reply" not in columns and "completion" in columns:
        columns["reply"] = columns.pop("completion")
    reply = spec.columns.get("reply", "reply")
    if reply not in columns:
        raise TaskError(f"{where}: no column {reply!r} with the reply{nearest(reply, columns)}")
    columns[reply] = read_reply(columns[reply], where)
    return columns


def _talk(value: Any, where: str) -> Sequence[Any]:
    """A whole conversation: something that is answered, and the answer."""
    messages = talk_in(value, where)
    if not isinstance(messages, list | tuple) or len(messages) < 2:
        raise TaskError(
            f"{where}: messages is {value!r:.60}, expected one reply behind a prompt's messages"
        )
    refuse_two_replies(messages[-2], where)
    return messages


def refuse_two_replies(before: Any, where: str) -> None:
    """Raise TaskError where what stands before a conversation's reply is a reply as well, and no
    call of a tool.
    """
    if (
        isinstance(before, Mapping)
        and before.get("role") == "assistant"
        and not before.get("tool_calls")
    ):
        raise TaskError(
            f"{where}: two messages of the assistant follow on one another; expected one reply to"
            " what was asked"
        )


def talk_in(value: Any, where: str) -> Any:
    """Messages that a text holds, one or several, by the roles of a chat; anything else, other JSON
    too, as it is.
    """
    if not isinstance(value, str):
        return messages_in(value, where)
    listed = f"[{value}]" if value.lstrip().startswith("{") else value
    messages = messages_in(listed, where)
    if isinstance(messages, str):
        return value
    for message in messages:
        if message.get("role", "user") not in ROLES:
            return value
    return messages


def read_reply(reply: Any, where: str) -> Reply:
    """A reply that is a text or one message of the assistant: its text, or the message where it
    holds more than that.

    Messages may stand in JSON text. Raises TaskError for anything else.
    """
    message = talk_in(reply, where)
    if isinstance(message, list | tuple) and len(message) == 1:
        message = message[0]
    if isinstance(message, Mapping) and message.get("role") == "assistant":
        return _said(message, where)
    if not isinstance(message, str):
        raise TaskError(
            f"{where}: found {reply!r:.60}, expected one reply: a text or a message of the"
            " assistant"
        )
    return _spoken(message, where)


def _said(message: Mapping[str, Any], where: str) -> Reply:
    """What an assistant's message says: a text, or with its thinking, tool calls and all else the
    message itself.
    """
    [read] = readable([message], where)
    reply: Message = {**read, "content": content_text(read["content"])}
    if reply.keys() == {"role", "content"}:
        return _spoken(reply["content"], where)
    if not reply.get("tool_calls"):
        _spoken(reply["content"], where)
    return reply


def _spoken(text: str, where: str) -> str:
    if not text.strip():
        raise TaskError(f"{where}: the reply is blank")
    return text
