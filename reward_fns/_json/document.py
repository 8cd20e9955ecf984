"""The JSON document that a completion or a column holds, and when two are the same value."""

import numbers
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmpolicy.dialects import unfenced
from llmpolicy.strict_json import MAX_CHARS, NotJson, read
from llmpolicy.thinking import may_hold_marks

from .._text.completion import NoAnswer, ThinkingMarks, reply

_OPENINGS = ("{", "[", '"', "`" * 3, "~~~")
_OPEN_END = re.compile(r"(?:(?:`{3,}|~{3,})(?:json)?\s*)?[{\[]\s*$")


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
