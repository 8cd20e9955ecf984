"""JSON as RFC 8259 writes it and no more: no NaN, no doubled keys, nothing around it, within
caps.
"""

import json
import math
import numbers
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmpolicy.thinking import may_hold_marks

from .._text.completion import MAX_CHARS, NoAnswer, ThinkingMarks
from .._text.reply import reply

MAX_DEPTH = 50
_MAX_DIGITS = 400
_MAX_VALUES = 20_000
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(?:json(?![A-Za-z]))?", re.IGNORECASE)


_OPENINGS = ("{", "[", '"', "`" * 3, "~~~")
_OPEN_END = re.compile(r"(?:(?:`{3,}|~{3,})(?:json)?\s*)?[{\[]\s*$")


class NotJson(ValueError):
    """The text is no JSON document within the caps; the message says why."""


def answered(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> Any:
    """The one JSON value that a completion consists of, alone or in one code fence, after its
    reasoning; or NotJson.
    """
    if len(completion) > MAX_CHARS:
        raise NotJson(f"{len(completion)} characters are more than {MAX_CHARS}")
    whole = completion.strip()
    if whole.startswith(("{", "[", '"')) and not _opened(prompt, thinking_marks):
        # A document may have a reasoning tag in one of its strings, and is then no reasoning.
        try:
            return read(whole)
        except NotJson:
            if not may_hold_marks(whole):
                raise
    try:
        text = reply(completion, prompt, thinking_marks)
    except NoAnswer as reason:
        raise NotJson(str(reason)) from reason
    return read(unfenced(text))


def begun(completion: str, prompt: str = "", messages: Any = None) -> str:
    """The completion behind what a prefill has begun of a document: ``{``, ``{"age":``, a code
    fence, and the like.

    Of chat messages the prefill is the last one where that is the assistant's; a plain prompt has
    begun a document where it ends in an opening brace or bracket.
    """
    prefill = ""
    if not messages:
        opening = _OPEN_END.search(prompt)
        prefill = opening[0] if opening else ""
    elif messages[-1].get("role") == "assistant":
        content = messages[-1].get("content")
        if isinstance(content, str) and content.lstrip().startswith(_OPENINGS):
            prefill = content
    return prefill + completion


def unfenced(text: str) -> str:
    """The content of a code fence around the whole text, or the text itself."""
    fence = _FENCE.match(text)
    if fence is None or not text.endswith(fence[1]) or len(text) < fence.end() + len(fence[1]):
        return text
    return text[fence.end() : -len(fence[1])].strip()


def read(text: str) -> Any:
    """The value of a JSON document; raises NotJson with what is wrong."""
    if len(text) > MAX_CHARS:
        raise NotJson(f"{len(text)} characters are more than {MAX_CHARS}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except RecursionError as error:
        raise NotJson(f"nested deeper than {MAX_DEPTH}") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} at character {error.pos}") from error
    _check_size(value)
    return value


def identity(value: Any) -> Any:
    """A hashable stand-in: two JSON values are the same value exactly when these are equal;
    TypeError for no JSON value.

    Types count: true is not 1 and "5" is not 5. JSON has one type of number, so that 5.0 is 5 and
    1e2 is 100. The order of keys does not count, the order of a list does.
    """
    if type(value) is str:
        return ("text", value)
    if type(value) is int:
        return ("number", Decimal(value))
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return ("literal", value)
    if isinstance(value, str):
        return ("text", str(value))
    if isinstance(value, numbers.Real | Decimal):
        return ("number", _decimal(value))
    if isinstance(value, dict | Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of an object are text")
        return ("object", frozenset((key, identity(inner)) for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(identity(inner) for inner in value))
    raise TypeError(f"a {type(value).__name__} is no JSON value")


def gold(answer: Any) -> Any:
    """The value that a column holds: JSON text, text that is itself the answer, or the value as
    objects; or NotJson.
    """
    if isinstance(answer, str):
        if not answer.strip():
            raise NotJson("the column is empty")
        try:
            return read(answer.strip())
        except NotJson:
            if answer.strip()[0] in '{["' or answer.strip() in ("NaN", "Infinity", "-Infinity"):
                raise
            return answer
    try:
        identity(answer)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"it is no JSON value: {error}") from error
    return answer


def _check_size(value: Any) -> None:
    """Raise NotJson for a value nested too deep or with too many parts."""
    count, levels, level = 0, -1, [value]
    while level:
        count, levels, inside = count + len(level), levels + 1, list[Any]()
        for item in level:
            if isinstance(item, dict):
                inside += item.values()
            elif isinstance(item, list):
                inside += item
        level = inside
        if levels > MAX_DEPTH or count > _MAX_VALUES:
            raise NotJson(f"nested deeper than {MAX_DEPTH}, or more than {_MAX_VALUES} values")


def _opened(prompt: str, thinking_marks: ThinkingMarks) -> bool:
    """Whether the prompt has opened a reasoning block: then a completion alone is not an answer."""
    try:
        reply("", prompt, thinking_marks)
    except NoAnswer:
        return True
    return False


def _decimal(value: Any) -> Decimal:
    if isinstance(value, numbers.Integral):
        return Decimal(int(value))
    number = value
    if not isinstance(value, Decimal):
        number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise TypeError(f"{value} is no JSON number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise NotJson("an object has the same key twice")
    return value


def _constant(name: str) -> Any:
    raise NotJson(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    lost = math.isinf(value) or (value == 0 and re.match(r"[^eE]*[1-9]", text))
    if lost or len(text) > _MAX_DIGITS:
        raise NotJson("a number too large or too small")
    if abs(value) < 2**53 and value.is_integer() and Decimal(text) != Decimal(value):
        raise NotJson("a fraction with more digits than a double holds")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise NotJson(f"a number of {len(text)} digits")
    return int(text)
