"""Tool calls: does the completion call the expected tools with the expected arguments, and nothing else?"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmpolicy.messages import present
from llmpolicy.rewards import RewardError, Score, reward

from ._json import NotJson, gold, identity, read, unfenced
from ._reply import reply
from ._schema import misfit
from ._text import NoAnswer, says_something

_TAG = re.compile(r"</?tool_call>")
_MENTIONED = re.compile(
    r"[\"'`\u2018\u201c\u00ab][ \t]*\0|\0[ \t]*[\"'`\u2019\u201d\u00bb]|(?:```|~~~)[^`~]*\0|<!--(?:(?!-->)[^\0])*\0"
)
"""A call, written as NUL, between quotation marks, in a code block or in a comment."""
_MAX_CALLS = 64
_WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Mapping[str, Any]


@reward(
    passes=[
        {
            "completion": '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
            "answer": _WEATHER,
        },
        {"completion": '<think>so</think>{"name": "weather", "arguments": {"city": "Oslo"}}', "answer": [_WEATHER]},
        {"completion": "No tool is needed: it is 4.", "answer": []},
    ],
    fails=[
        {"completion": '{"name": "weather", "arguments": {"city": "Rome"}}', "answer": _WEATHER},
        {"completion": '{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}', "answer": _WEATHER},
        {"completion": '<think><tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call></think>x'}
        | {"answer": _WEATHER},
    ],
    range=(0, 1),
    kind="answer",
    formats=("{}", "<tool_call>\n{}\n</tool_call>"),
)
def match(
    completion: str,
    answer: Any,
    prompt: str = "",
    tools: Any = None,
    ordered: bool = True,
    text_arguments: bool = False,
) -> Score:
    """1.0 when the calls after the last closed think are the expected ones, no more and no fewer, else 0.0.

    Calls are ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, with prose around them or not (one that is quoted,
    in a code block or in a comment is not made), or the whole text is such an object or a list of them; ``parameters`` may
    stand for ``arguments``, and ``{"function": {...}}`` around both.
    ``answer`` is one call or a list, as objects or JSON text; an empty list expects a reply without a call. Arguments are
    compared as JSON values; where ``answer`` holds objects, one that is null is one left out.
    With ``tools`` (the definitions, with their JSON schemas) they must fit the schema, and an
    argument left out is its default. ``text_arguments`` also takes arguments written as JSON text in a string. None for an
    answer that cannot be read; RewardError for tools that are none.
    """
    known = _tools(tools)
    try:
        expected = _calls(_given(answer), text_arguments=True)
    except NotJson as reason:
        return Score(None, why=f"the answer column cannot be read: {reason}")
    if why := next(filter(None, (_misfit(call, known) for call in expected)), ""):
        return Score(None, why=f"the answer column does not fit the tools: {why}")
    try:
        found = _said(completion, prompt, text_arguments)
    except (NoAnswer, NotJson) as reason:
        return Score(0.0, why=str(reason))
    if not isinstance(answer, str):
        found = [Call(call.name, present(call.arguments)) for call in found]
    why = _difference(expected, found, known, ordered)
    return Score(0.0 if why else 1.0, parsed=", ".join(call.name for call in found)[:200], why=why)


def _difference(expected: Sequence[Call], found: Sequence[Call], known: Mapping[str, Any], ordered: bool) -> str:
    if len(found) != len(expected):
        return f"{len(found)} calls; expected {len(expected)}"
    if why := next(filter(None, (_misfit(call, known) for call in found)), ""):
        return why
    one, other = ([_identity(call, known) for call in calls] for calls in (expected, found))
    return "" if (one == other if ordered else Counter(one) == Counter(other)) else "other calls than expected"


def _said(completion: str, prompt: str, text_arguments: bool) -> list[Call]:
    text = unfenced(reply(completion, prompt))
    tags = [(tag[0], tag.start(), tag.end()) for tag in _TAG.finditer(text)]
    if tags:
        if [tag for tag, *_ in tags] != ["<tool_call>", "</tool_call>"] * (len(tags) // 2):
            raise NotJson("a <tool_call> that is not closed, or inside another")
        spans = [(first[1:], last[1:]) for first, last in zip(tags[::2], tags[1::2], strict=True)]
        if _mentions(text, [(first[0], last[1]) for first, last in spans]):
            raise NotJson("a <tool_call> that is quoted, not made")
        return _calls([read(text[first[1] : last[0]].strip()) for first, last in spans], text_arguments)
    if text.lstrip().startswith(("{", "[")):
        return _calls(read(text), text_arguments)
    if not says_something(text):
        raise NotJson("it says nothing")
    return []


def _mentions(text: str, calls: Sequence[tuple[int, int]]) -> bool:
    """Whether the text around the calls speaks of one instead of making it."""
    ends = [0, *(end for _, end in calls)]
    between = [text[end:start].replace("\0", " ") for end, (start, _) in zip(ends, calls, strict=False)]
    around = "\0".join([*between, text[ends[-1] :].replace("\0", " ")])
    # What is a closed block between two calls holds neither.
    return _MENTIONED.search(re.sub(r"(```|~~~)[^`~\0]*\1|<!--(?:(?!-->)[^\0])*-->", " ", around)) is not None


def _given(answer: Any) -> Any:
    """The calls of a column; of objects a field that is None is absent, since Arrow fills it in."""
    return gold(answer) if isinstance(answer, str) else present(gold(answer))


def _calls(value: Any, text_arguments: bool) -> list[Call]:
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > _MAX_CALLS:
        raise NotJson(f"more than {_MAX_CALLS} calls")
    return [_call(one, text_arguments) for one in values]


def _call(value: Any, text_arguments: bool) -> Call:
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise NotJson("a call without a name")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if ("arguments" in inner and "parameters" in inner) or set(inner) - {
        "name",
        "arguments",
        "parameters",
        "id",
        "type",
    }:
        raise NotJson("a call with other parts than a name and arguments")
    if isinstance(arguments, str) and text_arguments:
        arguments = read(arguments)
    if not isinstance(arguments, Mapping):
        raise NotJson("arguments that are no object")
    return Call(inner["name"], arguments)


def _tools(tools: Any) -> dict[str, Any]:
    """The schema of each tool's arguments by its name."""
    try:
        rows = gold(tools) if isinstance(tools, str) else present(tools) or []
    except NotJson as reason:
        raise RewardError(f"tool_call:match got tools that are no JSON: {reason}.") from None
    known = {}
    for row in rows if isinstance(rows, list | tuple) else [rows]:
        inner = row.get("function", row) if isinstance(row, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise RewardError(f"tool_call:match got the tool {row!r:.80}; expected a name and parameters.")
        known[inner["name"]] = inner.get("parameters") or {}
    return known


def _misfit(call: Call, known: Mapping[str, Any]) -> str:
    if not known:
        return ""
    if call.name not in known:
        return f"there is no tool {call.name[:60]!r}"
    return misfit(dict(call.arguments), known[call.name], f"tool_call:match, tool {call.name!r}")


def _identity(call: Call, known: Mapping[str, Any]) -> Any:
    properties = known.get(call.name, {}).get("properties", {})
    defaults = {
        name: one["default"] for name, one in properties.items() if isinstance(one, Mapping) and "default" in one
    }
    return (call.name, identity({**defaults, **call.arguments}))
