"""The forms that messages take for other templates, and whether their words are in a text."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.messages import THINKING, Message, content_text, thought

_SWITCH = re.compile(r"(?<!\S)/\w+(?!\S)")
"""A word by which a message speaks to its template, which may take it out: ``/no_think``."""

_WORD = re.compile(r"[a-z0-9]+")


def forms(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages as they are, and as other templates want them: thinking by another name, tool
    calls in other forms.
    """
    yield from _call_forms(messages)
    if any(map(thought, last_turn(messages))):
        for name in THINKING:
            renamed = map(partial(_with_thought, name=name), messages)
            yield from _call_forms(list(renamed))


def _call_forms(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages; with tool calls, with and without their content, and with arguments as an
    object and as JSON text.
    """
    if not any(message.get("tool_calls") for message in messages):
        yield messages
        return
    for arguments, content in product((as_object, _json), ("", None)):
        yield [_with_calls(message, arguments, content) for message in messages]


def last_turn(messages: Sequence[Message]) -> list[Message]:
    """What follows the last message of a user: templates leave out what was thought before that on
    purpose.
    """
    turn: list[Message] = []
    for message in messages:
        turn.append(message)
        if message["role"] == "user":
            turn.clear()
    return turn


def _with_thought(message: Message, name: str) -> Message:
    if not thought(message):
        return message
    renamed = {**message, name: thought(message)}
    for field in THINKING:
        if field != name:
            renamed.pop(field, None)
    return renamed


def _with_calls(message: Message, arguments: Callable[[Any], Any], content: str | None) -> Message:
    if not message.get("tool_calls"):
        return message
    calls = [_rewritten(call, arguments) for call in message["tool_calls"]]
    return {**message, "tool_calls": calls, "content": message["content"] or content}


def _rewritten(call: Any, arguments: Callable[[Any], Any]) -> Any:
    inner = function_of(call)
    if "arguments" not in inner:
        return call
    written = {**inner, "arguments": arguments(inner["arguments"])}
    if "function" in call:
        return {**call, "function": written}
    return written


def as_object(arguments: Any) -> Any:
    """A tool call's arguments, which may stand in JSON text, as an object."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return load_json(arguments)
    except json.JSONDecodeError:
        return arguments


def _json(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def called(messages: Sequence[Message]) -> list[str]:
    """The names of the tools that are called."""
    names: list[str] = []
    for message in messages:
        names += map(name_of, message.get("tool_calls") or ())
    return names


def is_in(message: Message, text: str, seen: str) -> bool:
    """Whether a message's words are in a text: its letters in their order, or of a tool's reply
    each word somewhere.
    """
    words = content_text(message["content"])
    if (
        message["role"] == "tool"
    ):  # some templates write it as JSON, with other line breaks and quotes
        return holds_all(text.casefold(), _WORD.findall(words.casefold()))
    answer = re.split(r"</?think(?:ing)?>", words)[-1]  # earlier thinking is left out on purpose
    return letters(answer) in seen or letters(_SWITCH.sub("", answer)) in seen


def left_out(messages: Sequence[Message], text: str, options: Mapping[str, Any]) -> set[int | str]:
    """The places of the messages, and the names of the tools, that a text does not hold."""
    seen, tools = letters(text), map(name_of, options.get("tools") or ())
    unread = {index for index, message in enumerate(messages) if not is_in(message, text, seen)}
    return unread.union(name for name in tools if name not in text)


def holds_all(text: str, words: Iterable[str]) -> bool:
    """Whether all of these are in a text."""
    return all(word in text for word in words)


def blanks(opened: str, before: str) -> str:
    """The blanks that a template writes between the end of a turn and a reply, and not where a
    generation begins.
    """
    ends, begins = opened.rstrip(), before.rstrip()
    added = before[len(begins) :].removeprefix(opened[len(ends) :])
    return added if ends[-1:] == begins[-1:] else ""


def letters(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(filter(str.isalnum, text.casefold()))


def with_blanks(before: str, prefill: str) -> str:
    """A prefill with its own blanks behind what comes before it, which may end in the same
    blank.
    """
    lead = prefill[: len(prefill) - len(prefill.lstrip())]
    if lead.strip("\n") == lead:
        before = before.removesuffix(lead)
    return before + prefill


def name_of(tool: Any) -> str:
    """The name of a tool or of a call of it; empty if it has none."""
    return str(function_of(tool).get("name", ""))


def function_of(tool: Any) -> Mapping[str, Any]:
    """What a tool or a call of it says of its function; empty where it is none."""
    if isinstance(tool, Mapping):
        tool = tool.get("function", tool)
    return tool if isinstance(tool, Mapping) else {}
