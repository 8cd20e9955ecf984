"""Tool calls: does the completion call the expected tools with the expected arguments, and nothing
else?
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmpolicy.dialects import Call, Untyped, calls_in, calls_of, meant, unfenced
from llmpolicy.messages import present
from llmpolicy.rewards import RewardError, Score, reward
from llmpolicy.strict_json import NotJson

from ._json.document import gold, identity
from ._json.schema import misfit
from ._text.completion import NoAnswer, ThinkingMarks, passed, reply, says_something

_MENTIONED = re.compile(
    r"[\"'`\u2018\u201c\u00ab][ \t]*\0|\0["
    r" \t]*[\"'`\u2019\u201d\u00bb]|(?:```|~~~)[^`~]*\0|<!--(?:(?!-->)[^\0])*\0"
)
"""A call, written as NUL, between quotation marks, in a code block or in a comment."""
_GOES_ON = re.compile(r"\0[ \t]*[,;]?[ \t]*[^\W\d_A-ZÀ-ÞА-Я\0]|\0\s*[,;]?\s*[a-z]")
_WOULD = re.compile(
    r"(?:\b(?:would|could|might|cannot|can['’]t|won['’]t|not|never)|n['’]t|I['’]d)\s+(?:\w+\s+)?"
    r"(?:call|use|make|write|run|send|invoke)(?:\s+(?:it|this|that|the|an?|such|tools?|functions?"
    r"|calls?|following|as|like))*"
    r"\s*[:,]?\s*\0",
    re.IGNORECASE,
)
"""The sentence goes on behind a call, or says that it would be made or is not."""
_ATTEMPT = re.compile(
    r"<[|\uff5c/]*\s*(?:tool|function|invoke|action|python_tag|parameter)|\[TOOL_CALLS|<arg_"
    r"|to=functions\.|```tool"
    r"|(?m:^\s*Action(?: Input)?\s*:)|\[\s*[A-Za-z_][\w.]*\(\s*[A-Za-z_]\w*\s*="
    r"|[\"'](?:name|tool_name|function)[\"']\s*:[^{}]{0,200}[\"'](?:arguments|parameters)[\"']\s*:"
    r"|[\"'](?:arguments|parameters)[\"']\s*:.{0,400}[\"'](?:name|tool_name)[\"']\s*:",
    re.IGNORECASE | re.DOTALL,
)
_WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}


@reward(
    passes=[
        {
            "completion": (
                '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
            ),
            "answer": _WEATHER,
        },
        {
            "completion": '<think>so</think>{"name": "weather", "arguments": {"city": "Oslo"}}',
            "answer": [_WEATHER],
        },
        {"completion": "No tool is needed: it is 4.", "answer": []},
    ],
    fails=[
        {"completion": '{"name": "weather", "arguments": {"city": "Rome"}}', "answer": _WEATHER},
        {
            "completion": '{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
            "answer": _WEATHER,
        },
        {
            "completion": (
                '<think><tool_call>{"name": "weather", "arguments": {"city":'
                ' "Oslo"}}</tool_call></think>x'
            )
        }
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
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the calls after the last closed think are the expected ones, no more and no fewer,
    else 0.0.

    Calls are read in the dialects that models write them in: JSON, alone or in ``<tool_call>``,
    ``[TOOL_CALLS]``, ``<|python_tag|>`` and the like, ``<function=...>`` and ``<invoke ...>`` with
    their parameters, ``<arg_key>``, channels, or Python, ``[f(a=1)]``. One that is quoted, in a
    code block or a comment, or in the middle of a sentence is not made. ``answer`` is one call or a
    list, as objects or JSON text. Arguments are compared as JSON values, those that a dialect
    writes as bare text by the type of the expected one; where ``answer`` holds objects, one that is
    null is one left out. An empty list expects a reply in words without a call or an attempt at
    one: what the words say is not judged. With ``tools`` (the definitions, with their JSON schemas)
    they must fit the schema, and an argument left out is its default. ``text_arguments`` also takes
    arguments written as JSON text in a string. None for an answer that cannot be read; RewardError
    for tools that are none.
    """
    schemas = _schemas(tools)
    try:
        expected = calls_of(_wanted(answer), text_arguments=True)
    except NotJson as reason:
        return Score(None, why=f"the answer column cannot be read: {reason}")
    for call in expected:
        if why := _misfit(call, schemas):
            return Score(None, why=f"the answer column does not fit the tools: {why}")
    try:
        text = unfenced(reply(completion, prompt, thinking_marks))
        calls = _made(text, text_arguments)
        if not calls:
            _check_silent(text, schemas, attempts=bool(expected))
    except (NoAnswer, NotJson) as reason:
        return Score(0.0, why=str(reason))
    if not isinstance(answer, str):
        calls = [Call(call.name, present(call.arguments)) for call in calls]
    why = _difference(expected, calls, schemas, ordered)
    return passed(not why, why, ", ".join(call.name for call in calls)[:200])


def _difference(
    expected: Sequence[Call], calls: Sequence[Call], schemas: Mapping[str, Any], ordered: bool
) -> str:
    if len(calls) != len(expected):
        return f"{len(calls)} calls; expected {len(expected)}"
    left = list(expected)
    for call in calls:
        why = ""
        for number, wanted in enumerate(left[:1] if ordered else left):
            typed = _typed(call, wanted, schemas)
            unfit = _misfit(typed, schemas)
            if not unfit and _identity(typed, schemas) == _identity(wanted, schemas):
                del left[number]
                break
            why = why or unfit
        else:
            return why or "other calls than expected"
    return ""


def _made(text: str, text_arguments: bool) -> Sequence[Call]:
    """The calls that a reply makes; NotJson for one that is only spoken of."""
    written = calls_in(text, text_arguments=text_arguments)
    if written.around.strip("\0 \n") and _mentions(written.around):
        raise NotJson("a call that is spoken of, not made")
    return written.calls


def _check_silent(text: str, schemas: Mapping[str, Any], *, attempts: bool) -> None:
    """Raise NotJson for a reply without calls that says nothing or, unless ``attempts`` may be, has
    an attempt at a call in it.
    """
    if not says_something(text):
        raise NotJson("it says nothing")
    if not attempts and (_ATTEMPT.search(text) or any(f"{name}(" in text for name in schemas)):
        raise NotJson("an attempt at a call")


def _typed(call: Call, expected: Call, schemas: Mapping[str, Any]) -> Call:
    """The call with arguments that its dialect writes as text read as the expected ones, or as the
    schema, have it.
    """
    if call.name != expected.name:
        return call
    properties = schemas.get(call.name, {}).get("properties", {})
    arguments = dict(call.arguments)
    for name, value in call.arguments.items():
        if isinstance(value, Untyped):
            arguments[name] = _meant(value, expected.arguments.get(name), properties.get(name))
    return Call(call.name, arguments)


def _meant(value: Untyped, expected: Any, schema: Any) -> Any:
    texts = isinstance(schema, Mapping) and schema.get("type") == "string"
    if isinstance(expected, str) or (expected is None and texts):
        return str(value)
    return meant(value)


def _mentions(around: str) -> bool:
    """Whether the text around the calls, each a NUL, speaks of one instead of making it."""
    if "```" in around or "~~~" in around or "<!--" in around:
        # What is a closed block between two calls holds neither.
        around = re.sub(r"(```|~~~)[^`~\0]*\1|<!--(?:(?!-->)[^\0])*-->", " ", around)
    return any(pattern.search(around) for pattern in (_GOES_ON, _MENTIONED, _WOULD))


def _wanted(answer: Any) -> Any:
    """The calls of a column; of objects a field that is None is absent, since Arrow fills it in."""
    return gold(answer) if isinstance(answer, str) else present(gold(answer))


def _schemas(tools: Any) -> dict[str, Any]:
    """The schema of each tool's arguments by its name."""
    try:
        rows = gold(tools) if isinstance(tools, str) else present(tools) or []
    except NotJson as reason:
        raise RewardError(f"tool_call:match got tools that are no JSON: {reason}.") from None
    schemas = {}
    for row in rows if isinstance(rows, list | tuple) else [rows]:
        inner = row.get("function", row) if isinstance(row, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise RewardError(
                f"tool_call:match got the tool {row!r:.80}; expected a name and parameters."
            )
        schemas[inner["name"]] = inner.get("parameters") or {}
    return schemas


def _misfit(call: Call, schemas: Mapping[str, Any]) -> str:
    if not schemas:
        return ""
    if call.name not in schemas:
        return f"there is no tool {call.name[:60]!r}"
    return misfit(dict(call.arguments), schemas[call.name], f"tool_call:match, tool {call.name!r}")


def _identity(call: Call, schemas: Mapping[str, Any]) -> Any:
    arguments = {}
    for name, schema in schemas.get(call.name, {}).get("properties", {}).items():
        if isinstance(schema, Mapping) and "default" in schema:
            arguments[name] = schema["default"]
    return (call.name, identity(arguments | dict(call.arguments)))
