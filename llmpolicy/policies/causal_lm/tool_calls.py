"""Calls of tools in what a model said, whether they fit the tools, and tools in words."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmpolicy.dialects import Call, Untyped, calls_in, meant, unfenced
from llmpolicy.environments.conversation import ToolCall
from llmpolicy.messages import Message, content_text
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.message_forms import name_of
from llmpolicy.policies.causal_lm.template import OPENED
from llmpolicy.strict_json import NotJson

Tool = Mapping[str, Any]
"""The definition of a tool, with the JSON schema of its arguments."""

_CLOSES = re.compile(r".*(?:</think>|<\|channel\|>final<\|message\|>)", re.DOTALL)
_UNCLOSED = re.compile(
    r"<think>.*|<\|channel\|>analysis<\|message\|>(?:(?!<\|end\|>).)*", re.DOTALL
)
_ATTEMPT = re.compile(
    r"<[|\uff5c/]{0,2}\s*(?:tool[_\u2581]?calls?\b|function=|invoke\s)|\[TOOL_CALLS|to=functions\."
    r"|[\"'](?:name|tool_name)[\"']\s*:[^{}]{0,200}[\"'](?:arguments|parameters)[\"']\s*:",
    re.IGNORECASE,
)
"""What only a call has in it, well written or not."""
_TAG_TOKENS = 24
"""At the end of a state, in which a tag stands that opens a thought."""
_ARGUMENTS = re.compile(r"[\"'](?:arguments|parameters)[\"']\s*:")


class Said(NamedTuple):
    """What a reply says: its text as a person reads it, its calls, and why one cannot be read."""

    text: str
    calls: list[ToolCall]
    problem: str | None = None


def read_reply(
    codec: Codec,
    token_ids: Sequence[int],
    after: Sequence[int] = (),
    tools: Sequence[Tool] = (),
) -> Said:
    """What a reply says ``after`` the tokens of its state; without tools there are no calls.

    Calls are read behind the thinking, in any of the dialects that models write them in (the
    template's own among them), or in the plain form ``<tool_call>{"name": ..., "arguments":
    ...}</tool_call>``. A whole reply that is JSON or Python of a call is one without marks too, if
    it names a tool or has arguments. Arguments take the types of their schema where nothing is lost
    by it: a whole number written as 3.0 for an integer, and the bare text that some dialects write
    all values as. ``problem`` is a sentence to the model, where a call is begun
    that cannot be read; then there are no calls.
    """
    text = codec.decode(token_ids, after)
    if not tools:
        return Said(text, [])
    thinks = OPENED.search(codec.raw(after[-_TAG_TOKENS:])) is not None
    raw = _behind_thinking(_written(codec, token_ids, after), thinks)
    try:
        calls = _calls(raw, tools) or _calls(_behind_thinking(text, thinks), tools)
    except NotJson as reason:
        return Said(text, [], f"the call of a tool cannot be read: {reason}; write it again")
    calls = calls or _by_response_template(codec, token_ids, after, tools)
    if not calls and _ATTEMPT.search(raw):
        return Said(
            text, [], "the call of a tool cannot be read; write it again, with nothing else"
        )
    return Said(text, [_fitted(call, tools) for call in calls])


def plain_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as any model may write it, also one whose template knows of no tools."""
    call = json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def plain_tools(tools: Sequence[Tool]) -> str:
    """Tools in words, for a prompt of a model whose template has no place for them."""
    lines = ["You may call these tools:", ""]
    for tool in tools:
        inner = tool.get("function", tool)
        schema = inner.get("parameters") or {}
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        names = (name if name in required else f"{name}?" for name in properties)
        description = " ".join(str(inner.get("description") or "").split())
        lines.append(f"- {name_of(tool)}({', '.join(names)}): {description}".rstrip(": "))
        for name, what in properties.items():
            words = " ".join(str(what.get("description") or "").split())
            lines.append(f"    {name}: {_type(what)}{', ' if words else ''}{words}")
    form = plain_call("NAME", {"ARGUMENT": "VALUE"})
    return "\n".join(
        [*lines, "", f"To call one, write\n\n{form}\n\nand stop: its answer comes next."]
    )


def with_tools(messages: str | Sequence[Message], tools: Sequence[Tool]) -> str | list[Message]:
    """A prompt that begins with its tools in words: in its first message, a system's or a user's,
    since some templates take no system's.
    """
    words = plain_tools(tools)
    if isinstance(messages, str):
        return f"{words}\n\n{messages}"
    asked = [dict(message) for message in messages]
    asked[0]["content"] = f"{words}\n\n{content_text(asked[0].get('content'))}"
    return asked


def plain_answer(message: Message) -> str:
    """A tool's answer in words, for a model whose template has no place for it."""
    return f"<tool_response>\n{content_text(message.get('content'))}\n</tool_response>"


def in_words(messages: Sequence[Message]) -> list[Message]:
    """The messages with tools' answers as a user's words, those in a row as one message: templates
    without tools often want user and assistant by turns.
    """
    spoken: list[Message] = []
    answered = False
    for message in messages:
        answers, before = message["role"] == "tool", spoken[-1:]
        words = plain_answer(message) if answers else content_text(message.get("content"))
        joins = (answers or answered) and (answers or message["role"] == "user")
        if joins and before and before[0]["role"] == "user":
            spoken[-1] = {"role": "user", "content": f"{before[0]['content']}\n{words}"}
        else:
            spoken.append({"role": "user", "content": words} if answers else dict(message))
        answered = answers
    return spoken


def _written(codec: Codec, token_ids: Sequence[int], after: Sequence[int]) -> str:
    ids = list(token_ids)
    if ids and ids[-1] in codec.stop_ids:
        ids.pop()
    return codec.reader.thoughts_read(codec.raw(ids, after))


def _behind_thinking(text: str, thinks: bool) -> str:
    """What stands behind the last thought; nothing where one goes on to the end."""
    if thinks and "</think>" not in text:
        return ""
    return _UNCLOSED.sub("", _CLOSES.sub("", text, count=1))


def _calls(text: str, tools: Sequence[Tool]) -> list[Call]:
    """The calls in a text; NotJson for one that is begun and cannot be read."""
    words = unfenced(text.strip())
    written, names = calls_in(words, text_arguments=True), set(map(name_of, tools))
    if written.bare and not _ARGUMENTS.search(words):
        return [call for call in written.calls if call.name in names]
    return list(written.calls)


def _by_response_template(
    codec: Codec, token_ids: Sequence[int], after: Sequence[int], tools: Sequence[Tool]
) -> list[Call]:
    """The calls that the tokenizer's own response template tells apart, in a dialect of its own."""
    template = getattr(codec.tokenizer, "response_template", None)
    if template is None:
        return []
    try:
        message = codec.tokenizer.parse_response(
            list(token_ids), template, prefix=list(after), tools=list(map(dict, tools))
        )
        calls = [call.get("function", call) for call in message.get("tool_calls") or []]
        return [Call(str(call["name"]), dict(call.get("arguments") or {})) for call in calls]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _schemas(tools: Sequence[Tool]) -> dict[str, dict[str, Any]]:
    """The schema of each tool's arguments by its name."""
    return {
        name_of(tool): dict(tool.get("function", tool).get("parameters") or {}) for tool in tools
    }


def _fitted(call: Call, tools: Sequence[Tool]) -> ToolCall:
    properties = _schemas(tools).get(call.name, {}).get("properties") or {}
    return ToolCall(
        call.name,
        {name: _fit(value, properties.get(name)) for name, value in call.arguments.items()},
    )


def _fit(value: Any, schema: Any) -> Any:
    """A value in the type of its schema, where that is the same value."""
    types = _types(schema)
    if isinstance(value, Untyped):
        read = meant(value)
        fits = types and not any(map(_is_of, [read] * len(types), types))
        if types == ["string"] or ("string" in types and fits):
            return str(value)
        value = read
    if isinstance(value, float) and value.is_integer() and types and "number" not in types:
        return int(value) if "integer" in types else value
    inner = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, list):
        return [_fit(item, inner.get("items")) for item in value]
    if isinstance(value, Mapping):
        known = inner.get("properties") or {}
        return {name: _fit(item, known.get(name)) for name, item in value.items()}
    return value


_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": Mapping,
    "null": type(None),
}


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return kind not in _KINDS or isinstance(value, _KINDS[kind])


def _types(schema: Any) -> list[str]:
    """The JSON types that a schema allows, in order; none where it says nothing of them."""
    if not isinstance(schema, Mapping):
        return []
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        kinds = [_types(option) for option in options]
        types = [kind for inner in kinds for kind in inner] if all(kinds) else []
    else:
        kind = schema.get("type")
        types = [kind] if isinstance(kind, str) else list(kind or ())
    return types + ["null"] if types and schema.get("nullable") else types


def _type(schema: Any) -> str:
    words = " or ".join(dict.fromkeys(_types(schema))) or "any value"
    choices = schema.get("enum") if isinstance(schema, Mapping) else None
    return f"{words}, one of {_json(choices)}" if choices else words


def _json(value: Any) -> str:
    text = _clean(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else text[:57] + "..."


def _clean(text: str) -> str:
    """A text without half of a surrogate pair, which JSON can say and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
