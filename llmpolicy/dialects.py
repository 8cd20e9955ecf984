"""The calls that a reply makes, in the dialects that models write them in."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmpolicy.strict_json import NotJson, read

MAX_CALLS = 64
_MAX_PYTHON = 20_000

_FRAMES = {
    "<tool_call>": "</tool_call>",
    "<tool_calls>": "</tool_calls>",
    "<TOOLCALL>": "</TOOLCALL>",
    "<function_calls>": "</function_calls>",
    "<minimax:tool_call>": "</minimax:tool_call>",
    "<seed:tool_call>": "</seed:tool_call>",
    "<|tool_call_start|>": "<|tool_call_end|>",
    "<|tool_call_begin|>": "<|tool_call_end|>",
    "<|START_ACTION|>": "<|END_ACTION|>",
    "<|action_start|>": "<|action_end|>",
    "<｜tool▁call▁begin｜>": "<｜tool▁call▁end｜>",
    "[TOOL_CALLS]": "",
    "<|python_tag|>": "",
    "<|tool_call|>": "",
}
"""What a call stands between: Hermes, Qwen and GLM; Hunyuan; Nemotron; OLMo; MiniMax; Seed; LFM;
Kimi; Command; InternLM; DeepSeek. The last three, Mistral, Llama and Granite, go on to the next or
to the end."""

_HARMONY = re.compile(
    r"(?:<\|end\|>\s*)?(?:<\|start\|>\s*assistant\s*)?(?:<\|channel\|>\s*\w+\s*)?"
    r"to=(?:functions\.)?(?P<name>[\w.-]+)"
    r"(?:\s*<\|channel\|>\s*\w+)?\s*(?:<\|constrain\|>\s*)?(?:json)?\s*<\|message\|>"
)
_MARKS = "|".join([*map(re.escape, _FRAMES), "<function=", "<invoke "])
_OPENS, _OPENS_OR_HARMONY = re.compile(_MARKS), re.compile(f"{_MARKS}|{_HARMONY.pattern}")
_CLOSES = re.compile("|".join(map(re.escape, filter(None, dict.fromkeys(_FRAMES.values())))))
_WRAPPERS = re.compile(
    r"<\|tool_calls_section_(?:begin|end)\|>|<｜tool▁calls▁(?:begin|end)｜>|<\|plugin\|>"
    r"|<\|/tool_call\|>|<\|call\|>"
)
_CODE = re.compile(r"(?:```)?tool_code\s*\n(.*?)(?:\n```)?", re.DOTALL)
_ACTION = re.compile(r"Action:\s*```json\s*\n(.*)\n```", re.DOTALL)
_MISTRAL = re.compile(r"\s*([\w.-]+)(?:\[CALL_ID\]\w*)?\[ARGS\]\s*(\{.*\})\s*", re.DOTALL)
_KIMI = re.compile(
    r"\s*(?:functions\.)?([\w.-]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>(.*)", re.DOTALL
)
_DEEPSEEK = re.compile(
    r"\s*(?:function)?<｜tool▁sep｜>\s*([\w.-]+)\s*```json\s*(.*?)\s*```\s*"
    r"|\s*([\w.-]+)<｜tool▁sep｜>(.*)",
    re.DOTALL,
)
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(?:json(?![A-Za-z]))?", re.IGNORECASE)
_FUNCTION = re.compile(
    r"\s*<(?P<tag>function(?==)|invoke(?=\s))(?:=([\w.-]+)|\s+name=[\"']?([\w.-]+)[\"']?)\s*>"
)
_PARAMETER = re.compile(r"\s*<(?P<tag>parameter)(?:=([\w.-]+)|\s+name=[\"']?([\w.-]+)[\"']?)\s*>")
_GLM = re.compile(r"\s*<(?P<tag>arg_key|arg_value)>")
_PYTHON = re.compile(r"\[\s*(?:[A-Za-z_][\w.]*\s*\(|\])|[A-Za-z_][\w.]*\s*\(")
_ELEMENTS = {"<function=": "</function>", "<invoke ": "</invoke>"}
_IDS = {"id", "type", "index", "tool_call_id"}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


class Untyped(str):
    """The text of an argument in a dialect that writes all of them as text; what it means, the
    tool's schema says.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of a reply, and what stands around them, each a NUL; nothing where the whole reply
    is calls, or none are.
    """

    calls: Sequence[Call]
    around: str = ""
    bare: bool = False
    """Whether nothing marks them as calls."""


def calls_in(text: str, *, text_arguments: bool = False) -> Calls:
    """The calls that a text makes, in any dialect; NotJson for one that is begun and cannot be
    read.
    """
    spans: list[tuple[int, int]] = []
    calls: list[Call] = []
    at, begins = 0, _OPENS
    if "to=" in text and "<|message|>" in text:
        begins = _OPENS_OR_HARMONY
    while (opens := begins.search(text, at)) and len(calls) <= MAX_CALLS:
        end, body = _framed(text, opens)
        calls += _read(opens, body, text_arguments)
        spans.append((opens.start(), end))
        at = end
    around = _around(text, spans)
    if ("</" in around or "|>" in around or "｜>" in around) and _CLOSES.search(around):
        raise NotJson("the end of a call that has not begun")
    if len(calls) > MAX_CALLS:
        raise NotJson(f"more than {MAX_CALLS} calls")
    return Calls(calls, around) if spans else Calls(_bare(text.strip(), text_arguments), bare=True)


def unfenced(text: str) -> str:
    """The content of a code fence around the whole text, or the text itself."""
    fence = _FENCE.match(text)
    if fence is None or not text.endswith(fence[1]) or len(text) < fence.end() + len(fence[1]):
        return text
    return text[fence.end() : -len(fence[1])].strip()


def meant(value: Untyped) -> Any:
    """What an argument that is written as bare text says: a JSON value, else the text."""
    try:
        return read(_PYTHON_WORDS.get(value.strip(), value.strip()))
    except NotJson:
        return str(value)


def calls_of(value: Any, *, text_arguments: bool) -> list[Call]:
    """The calls that a JSON value is: one, a list of them, or such under ``tool_calls``; NotJson
    for any other.
    """
    if isinstance(value, Mapping) and set(value) == {"tool_calls"}:
        value = value["tool_calls"]
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > MAX_CALLS:
        raise NotJson(f"more than {MAX_CALLS} calls")
    return [_call(item, text_arguments) for item in values]


def _around(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with a NUL in the place of each call, without the tokens that stand around
    several.
    """
    if not spans:
        return text
    around, at = [], 0
    for start, end in spans:
        around.append(text[at:start].replace("\0", " "))
        at = end
    around.append(text[at:].replace("\0", " "))
    return _unwrapped("\0".join(around))


def _unwrapped(text: str) -> str:
    return _WRAPPERS.sub("", text) if "<" in text else text


def _framed(text: str, opens: re.Match[str]) -> tuple[int, str]:
    """Where a call that is begun ends, and what stands in it; NotJson where it does not end."""
    start, closes = opens.end(), _FRAMES.get(opens[0], "<|call|>")
    if opens[0] in _ELEMENTS:
        start, closes = opens.start(), _ELEMENTS[opens[0]]
    stop = text.find(closes, start) if closes else -1
    if stop < 0 and closes in ("", "<|call|>"):
        closes, stop = "", len(text)
        if opens[0] == "[TOOL_CALLS]" and opens[0] in text[start:]:
            stop = text.index(opens[0], start)
    if stop < 0:
        raise NotJson("a call that is not closed")
    end = stop + len(closes)
    if opens[0] in _ELEMENTS:
        return end, text[start:end]
    if opens[0] in text[start:stop]:
        raise NotJson("a call inside another")
    return end, text[start:stop]


def _read(opens: re.Match[str], body: str, text_arguments: bool) -> list[Call]:
    unframed = opens[0] not in _FRAMES and opens[0] not in _ELEMENTS
    if unframed and (harmony := _HARMONY.fullmatch(opens[0])):
        return [_named(harmony["name"], _WRAPPERS.sub("", body))]
    if opens[0] == "[TOOL_CALLS]" and (mistral := _MISTRAL.fullmatch(body)):
        return [_named(mistral[1], mistral[2])]
    if opens[0] == "<|tool_call_begin|>" and (kimi := _KIMI.fullmatch(body)):
        return [_named(kimi[1], kimi[2])]
    if opens[0] == "<｜tool▁call▁begin｜>" and (deepseek := _DEEPSEEK.fullmatch(body)):
        return [_named(deepseek[1] or deepseek[3], deepseek[2] or deepseek[4])]
    body, calls = _unwrapped(body).strip(), list[Call]()
    if opens[0] == "<|python_tag|>" and body.startswith("{"):
        for part in re.split(r"(?<=\})\s*;\s*(?=\{)", body):
            calls += calls_of(read(part), text_arguments=text_arguments)
        return calls
    if body.startswith("<"):
        return list(_elements(body))
    if body.startswith("{") or re.match(r"\[\s*(?:\{|\])", body):
        return calls_of(read(body), text_arguments=text_arguments)
    if "<arg_key>" in body or re.fullmatch(r"[\w.-]+", body):
        return [_glm(body)]
    calls = _python(body)
    if not calls:
        raise NotJson("a call that cannot be read")
    if opens[0] == "<|python_tag|>":
        return [Call(call.name.removesuffix(".call"), call.arguments) for call in calls]
    return calls


def _bare(text: str, text_arguments: bool) -> list[Call]:
    """The calls that a whole text is, without anything that marks it as such; none where it is
    something else.
    """
    if text.startswith("Action") and (shown := _ACTION.fullmatch(text)):
        return calls_of(read(shown[1]), text_arguments=text_arguments)
    if "tool_code" in text[:20] and (shown := _CODE.fullmatch(text)):
        return _python(shown[1].strip())
    if _PYTHON.match(text) and (calls := _python(text)):
        return calls
    if not text.startswith(("{", "[")):
        return []
    try:
        value = read(text)
    except NotJson:
        return []
    held = isinstance(value, dict) and set(value) == {"tool_calls"}
    values = value if isinstance(value, list) else [value]
    if not held and not any(map(_is_like_a_call, values)):
        return []
    return calls_of(value, text_arguments=text_arguments)


def _function(value: Any) -> tuple[str, Mapping[str, Any]] | None:
    """The name and the record of a call, also of one under ``function``; None for all else."""
    if isinstance(value, Mapping):
        inner = value.get("function", value)
        if isinstance(inner, Mapping):
            name = inner.get("name", inner.get("tool_name"))
            if isinstance(name, str):
                return name, inner
    return None


def _is_like_a_call(value: Any) -> bool:
    called = _function(value)
    if called is None:
        return False
    keys = set(called[1])
    return bool({"arguments", "parameters"} & keys) or keys <= {"name", "tool_name", *_IDS}


def _named(name: str, arguments: str) -> Call:
    value = read(arguments.strip())
    if not isinstance(value, Mapping):
        raise NotJson("arguments that are no object")
    return Call(name, value)


def _call(value: Any, text_arguments: bool) -> Call:
    called = _function(value)
    if called is None:
        raise NotJson("a call without a name")
    name, inner = called
    arguments = inner.get("arguments", inner.get("parameters", {}))
    parts = {"name" if "name" in inner else "tool_name", "arguments", "parameters"}
    if ("arguments" in inner and "parameters" in inner) or set(inner) - _IDS - parts:
        raise NotJson("a call with other parts than a name and arguments")
    if isinstance(arguments, str) and text_arguments:
        arguments = read(arguments)
    if not isinstance(arguments, Mapping):
        raise NotJson("arguments that are no object")
    return Call(name, arguments)


def _elements(body: str) -> Iterator[Call]:
    """Calls as elements: ``<function=f><parameter=x>1</parameter></function>``, or ``<invoke
    name="f">``.
    """
    for opens, inner in _each(body, _FUNCTION):
        name, written = opens[2] or opens[3], inner.strip()
        if written.startswith("{"):
            yield _named(name, written)
        else:
            parameters = (
                (starts[2] or starts[3], value) for starts, value in _each(written, _PARAMETER)
            )
            yield Call(name, _arguments(parameters))


def _glm(body: str) -> Call:
    """A call as GLM writes it: its name, then ``<arg_key>`` and ``<arg_value>`` by turns."""
    name, keyed, rest = body.partition("<arg_key>")
    texts = [inner for _, inner in _each(keyed + rest, _GLM)]
    if len(texts) % 2:
        raise NotJson("an argument without a value")
    keys = map(str.strip, texts[::2])
    return Call(name.strip(), _arguments(zip(keys, texts[1::2], strict=True)))


def _each(text: str, opening: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Each element of a text that holds nothing else, and what stands in it; NotJson for any other
    text.
    """
    at, text = 0, text.rstrip()
    while at < len(text):
        opens = opening.match(text, at)
        if opens is None:
            raise NotJson("a call that cannot be read")
        closes = f"</{opens['tag']}>"
        end = text.find(closes, opens.end())
        if end < 0:
            raise NotJson("a call that cannot be read")
        yield opens, text[opens.end() : end]
        at = end + len(closes)


def _arguments(pairs: Iterable[tuple[str, str]]) -> dict[str, Untyped]:
    arguments: dict[str, Untyped] = {}
    for name, value in pairs:
        if name in arguments:
            raise NotJson("an argument comes twice")
        arguments[name] = Untyped(value.removeprefix("\n").removesuffix("\n"))
    return arguments


def _python(text: str) -> list[Call]:
    """Calls as Python writes them, ``[f(a=1), g()]``, with named literal arguments; none where it
    is something else.
    """
    if len(text) > _MAX_PYTHON:
        return []
    try:
        with warnings.catch_warnings(action="ignore"):
            body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    nodes = [getattr(line, "value", None) for line in body]
    if not all(isinstance(line, ast.Expr) for line in body):
        return []
    if len(nodes) == 1 and isinstance(nodes[0], ast.List):
        nodes = list(nodes[0].elts)
    try:
        return list(map(_python_call, nodes))
    except (ValueError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.AST | None) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call with named arguments")
    name, names = ast.unparse(node.func), [keyword.arg for keyword in node.keywords]
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        raise ValueError("no call by a name")
    if None in names or len(set(names)) < len(names):
        raise ValueError("an argument without a name of its own")
    values = [_literal(ast.literal_eval(keyword.value)) for keyword in node.keywords]
    return Call(name, dict(zip(map(str, names), values, strict=True)))


def _literal(value: Any) -> Any:
    """A Python literal as a JSON value; ValueError for what JSON has not."""
    if isinstance(value, list | tuple):
        return list(map(_literal, value))
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return dict(zip(value, map(_literal, value.values()), strict=True))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} is no JSON value")
