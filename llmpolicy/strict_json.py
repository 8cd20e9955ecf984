"""JSON as RFC 8259 writes it and no more: no NaN, no doubled keys, nothing around it, within
caps.
"""

import json
import math
import re
from decimal import Decimal
from typing import Any

MAX_CHARS = 200_000
"""Of a text that a model wrote; a longer one is not read."""

MAX_DEPTH = 50
_MAX_DIGITS = 400
_MAX_VALUES = 20_000


class NotJson(ValueError):
    """The text is no JSON document within the caps; the message says why."""


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
