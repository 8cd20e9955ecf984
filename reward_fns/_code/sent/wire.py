"""Values as JSON between the process of the tests and that of the program; this text is put in
front of what runs there.
"""

import datetime
import decimal
import fractions
from collections import deque, namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SMALL = 10**15
_ITEMS: "dict[type, str]" = {tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque"}
_MADE: "dict[str, Any]" = {
    **dict(zip(_ITEMS.values(), _ITEMS, strict=True)),
    "int": lambda text: int(text, 16),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
    "range": lambda bounds: range(*bounds),
    "Fraction": lambda parts: fractions.Fraction(*(int(part, 16) for part in parts)),
    "Decimal": decimal.Decimal,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
}


def pack(value: "Any", refer: "Any") -> "Any":
    """A value as JSON-ready data; ``refer`` packs what is of no known type itself."""
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"int": hex(value)}
    if kind is list:
        return [pack(item, refer) for item in value]
    if kind is dict:
        return {"dict": [[pack(key, refer), pack(item, refer)] for key, item in value.items()]}
    if kind in _ITEMS:
        return {_ITEMS[kind]: pack(list(value), refer)}
    if kind.__module__ == "collections" and isinstance(value, dict):
        return pack(dict(value), refer)  # Counter, defaultdict, OrderedDict
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"named": [list(kind._fields), pack(list(value), refer)]}
    return _rarer(value, kind, refer)


def _rarer(value: "Any", kind: type, refer: "Any") -> "Any":
    name = kind.__name__
    if kind is bytes or kind is bytearray:
        return {name: value.hex()}
    if kind is complex:
        return {name: [value.real, value.imag]}
    if kind is range:
        return {name: [value.start, value.stop, value.step]}
    if kind is fractions.Fraction:
        return {name: [hex(value.numerator), hex(value.denominator)]}
    if kind is decimal.Decimal:
        return {name: str(value)}
    if kind in (datetime.date, datetime.datetime, datetime.time):
        return {name: value.isoformat()}
    if kind is datetime.timedelta:
        return {name: [value.days, value.seconds, value.microseconds]}
    return {"ref": refer(value)}


def unpack(data: "Any", refer: "Any") -> "Any":
    """The value that `pack` wrote; ``refer`` makes one of a reference."""
    if type(data) is list:
        return [unpack(item, refer) for item in data]
    if type(data) is not dict:
        return data
    ((name, held),) = data.items()
    if name == "ref":
        return refer(held)
    if name == "dict":
        return {unpack(key, refer): unpack(item, refer) for key, item in held}
    if name == "named":
        return namedtuple("named", held[0])(*unpack(held[1], refer))
    if name in _ITEMS.values():
        return _MADE[name]([unpack(item, refer) for item in held])
    return _MADE[name](held)
