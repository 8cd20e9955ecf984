"""Python values as JSON and back, exactly: only the builtin types themselves, and what collections
makes of them.

A number of up to 15 digits, a text, a bool and None are themselves, a list is a list; all else is
an object with one key that names its type: ``{"tuple": [...]}``, ``{"dict": [[key, value], ...]}``,
``{"int": "0x..."}``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself would double the time that WebAssembly takes for a test
if TYPE_CHECKING:
    from typing import Any

_SMALL = 10**15
_LONGEST = 10_000
_COLLIDING = 100
_ITEMS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_KINDS: dict[str, Any] = {name: kind for kind, name in _ITEMS.items()}


class NotPlain(TypeError):
    """A value is of no builtin type that can be compared from outside; the message names its
    type.
    """


def encode(value: Any) -> Any:
    """A value as JSON-ready data; raises NotPlain for any other type, RecursionError for a cycle.

    A Counter, defaultdict or OrderedDict is the dict, a named tuple the tuple, that Python too
    finds equal to it.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"int": hex(value)}
    if kind is float:
        return {"float": float.hex(value)}
    if kind is list:
        return list(map(encode, value))
    if kind is dict:
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if kind in _ITEMS:
        return {_ITEMS[kind]: list(map(encode, value))}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [float.hex(value.real), float.hex(value.imag)]}
    # Counter, defaultdict, OrderedDict
    if isinstance(value, dict) and kind.__module__ == "collections":
        return encode(dict(value))
    if isinstance(value, tuple) and hasattr(kind, "_fields"):  # a named tuple
        return encode(tuple(value))
    raise NotPlain(f"a {kind.__name__} is not a plain value")


def returned(value: Any) -> Any:
    """A result as JSON-ready data: as `encode` writes it, or ``{"items": [...]}`` for an iterable
    of any other kind.

    Such as a generator, a view, a range; it is cut where no test looks, and `decode` refuses it.
    """
    try:
        return encode(value)
    except NotPlain:
        if not hasattr(type(value), "__iter__"):
            raise
    items = []
    for item in value:
        items.append(encode(item))
        if len(items) > _LONGEST:
            break
    return {"items": items}


def decode(data: Any) -> Any:
    """The value that `encode` wrote; raises NotPlain or ValueError for what it cannot have
    written.
    """
    if data is None or type(data) in (bool, str, int):
        return data
    if type(data) is list:
        return list(map(decode, data))
    if type(data) is not dict or len(data) != 1:
        raise NotPlain("not one of the forms of a value")
    ((name, held),) = data.items()
    if name in _KINDS and type(held) is list:
        items = list(map(decode, held))
        return _KINDS[name](items if name == "tuple" else spread(items))
    if name == "dict" and type(held) is list:
        keys = spread([decode(key) for key, _ in held])
        return dict(zip(keys, (decode(item) for _, item in held), strict=True))
    return _scalar(name, held)


def spread(items: list[Any]) -> list[Any]:
    """The items of a set or the keys of a dict; NotPlain where so many have one hash that it would
    take long to build.
    """
    if len(items) > _COLLIDING:
        hashes = sorted(map(hash, items))
        if any(map(int.__eq__, hashes, hashes[_COLLIDING:])):
            raise NotPlain("too many items with one hash")
    return items


def _scalar(name: str, held: Any) -> Any:
    if name == "int" and type(held) is str:
        return int(held, 16)
    if name == "float" and type(held) is str:
        return float.fromhex(held)
    if name == "bytes" and type(held) is str:
        return bytes.fromhex(held)
    if name == "complex" and type(held) is list:
        real, imaginary = map(float.fromhex, held)
        return complex(real, imaginary)
    raise NotPlain(f"not one of the forms of a value: {name!r:.30}")
