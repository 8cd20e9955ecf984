"""What the values of a row can be: a text, nothing at all, an image or a sound, messages; and which
of them can be said.
"""

import re
from collections.abc import Iterator, Mapping
from mimetypes import guess_type
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import Message, content_text, is_messages, present, read_messages

BYTES = bytes | bytearray | memoryview

MOST_BITS = 14_000
"""Of an integer: some more has over 4,300 digits, which Python does not write."""

FIELD = re.compile(r"\{(\{\w+\})\}|\{([^\W\d]\w*)\}")
_KINDS = ("image", "video", "audio")
_DATA_URLS = ("data:image/", "data:video/", "data:audio/")
_HOLDS = ("url", "path", "data", "source", "bytes", "base64", "file", "file_id")
_HELD = re.compile(r"(?:input_)?(?:image|video|audio)(?:_url|_file)?")
"""What a part of a message holds its image or its sound by: its place or its bytes, or the name of
its kind.
"""

_SIGNATURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"II*\x00",
    b"MM\x00*",
    b"ID3",
    b"OggS",
    b"fLaC",
)
"""How files of images and sounds begin."""


def as_python(value: Any) -> Any:
    """An array or a number of numpy as Python's own; anything else as it is."""
    if type(value).__module__ == "numpy" and not is_missing(value):
        return value.tolist()
    return value


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: None, or NaN, NA or NaT, as tables hold it."""
    if isinstance(value, str | bytes | int | Mapping | list | tuple | set):
        return False
    return value is None or str(value).lower() in ("nan", "-nan", "nat", "<na>")


def unwritable(value: Any) -> str:
    """Why a value, or one that it holds, cannot be written down, as a clause; empty if it can."""
    try:
        items = list(_inner(value))
    except RecursionError:
        return "is nested too deeply to be read"
    for item in items:
        if isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
            return f"holds half of a surrogate pair, which is no character: {item[:40]!a}"
        if isinstance(item, int) and item.bit_length() > MOST_BITS:
            return (
                f"holds an integer of {item.bit_length()} bits, expected at most {MOST_BITS}, or a"
                " text"
            )
        if not isinstance(item, Mapping):
            continue
        for key in item:
            if not isinstance(key, str):
                return f"holds a record with the key {key!r:.40}, expected keys that are texts"
    return ""


def is_media(value: Any) -> bool:
    """Whether a value is an image, a video or a sound: decoded, its bytes, a data URL, or a part of
    a message with one.
    """
    if isinstance(value, str):
        return value.startswith(_DATA_URLS)
    if isinstance(value, BYTES):
        return bytes(value[:12]).startswith(_SIGNATURES) or bytes(value[4:8]) == b"ftyp"
    if isinstance(value, Mapping):
        return _is_media_record(value) or any(map(is_media, value.values()))
    if isinstance(value, list | tuple):
        return any(is_media(item) or _is_place(item) for item in value)
    return comes_from(value, "PIL", "torchcodec")


def comes_from(value: Any, *libraries: str) -> bool:
    """Whether a value's class, or one that it inherits from, is of one of these libraries; none is
    imported to find out.
    """
    homes = [kind.__module__.partition(".")[0] for kind in type(value).__mro__]
    return not set(libraries).isdisjoint(homes)


def _is_place(value: Any) -> bool:
    """Whether an item of a list is a part of a message in whose place an image or a sound would
    come.
    """
    return (
        isinstance(value, Mapping)
        and _is_kind(value.get("type"))
        and set(present(value)) == {"type"}
    )


def _is_kind(kind: Any) -> bool:
    return isinstance(kind, str) and kind.removeprefix("input_").partition("_")[0] in _KINDS


def _is_media_record(value: Mapping[Any, Any]) -> bool:
    """Whether a record is what `datasets` stores for an image or a sound, or a part of a message
    that holds one.

    A record that only describes one is neither: a type and a topic, or the path alone.
    """
    names = {str(name) for name, item in value.items() if item is not None}
    if _is_kind(value.get("type")):
        return any(name in _HOLDS or _HELD.fullmatch(name) for name in names)
    if names and "bytes" in value and names <= {"bytes", "path"}:
        file = guess_type(str(value.get("path")))[0] or ""
        return isinstance(value.get("bytes"), BYTES) or file.partition("/")[0] in _KINDS
    return {"array", "sampling_rate"} <= names


def column_text(value: Any, name: str, where: str) -> str:
    """A column as part of a text: parts of content as what they say, other values as Python writes
    them.

    Raises TaskError for what is no text: nothing, bytes, an image or a sound, messages.
    """
    value = as_python(value)
    if is_missing(value):
        raise TaskError(f"{where}: the column {name!r}, which the template asks for, is empty")
    if is_media(value):
        raise TaskError(
            f"{where}: the column {name!r} is an image, a video or a sound; a language model here"
            " reads text alone"
        )
    for item in _inner(value):
        if isinstance(item, BYTES):
            raise TaskError(
                f"{where}: the column {name!r} is {value!r:.60}, expected a text, not bytes"
            )
        if is_talk(item):
            raise TaskError(
                f"{where}: the column {name!r} holds messages, which are no part of a text; "
                f"write `prompt: '{{{name}}}'` and nothing else to ask them"
            )
    if is_parts(value):
        return content_text(value)
    return str(value)


def is_parts(value: Any) -> bool:
    """Whether a value is the content of a message in parts of text."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, Mapping) and "text" in part for part in value)
    )


def is_text(value: Any) -> bool:
    """Whether a value can be a whole question: a text or its parts, a number, no record, list or
    bytes.
    """
    return is_parts(value) or not isinstance(value, list | tuple | set | Mapping | BYTES)


def refuse_gold(value: Any, name: str, where: str) -> None:
    """Raise TaskError for a gold answer that is missing, blank or bytes, or a list with NaN or
    bytes.
    """
    value = as_python(value)
    items = value if isinstance(value, list | tuple) else [value]
    blank = isinstance(value, str) and not value.strip()
    if value is None or blank or any(map(_is_no_answer, items)):
        raise TaskError(f"{where}: {name} is {value!r:.60}, expected a gold answer")


def _is_no_answer(item: Any) -> bool:
    return isinstance(item, BYTES) or (item is not None and is_missing(item))


def is_talk(value: Any) -> bool:
    """Whether a value is messages, by the names of the chat templates or those of ShareGPT."""
    if isinstance(value, list | tuple) and value:
        return is_messages(value) or all(
            isinstance(turn, Mapping) and {"from", "value"} <= set(turn) for turn in value
        )
    return False


def readable(value: Any, where: str) -> list[Message]:
    """Messages in one form; raises TaskError for what cannot be read as such."""
    try:
        return read_messages(value)
    except ValueError as error:
        raise TaskError(f"{where}: {error}") from error


def _inner(value: Any) -> Iterator[Any]:
    """A value and all that it holds, at any depth."""
    yield value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from _inner(item)


def only_field(template: str) -> str | None:
    """The one column that a template consists of; None where it says more."""
    field = FIELD.fullmatch(template.strip())
    return field and field[2]


def fields(template: str) -> list[str]:
    """The columns that a template asks for."""
    return [name for _, name in FIELD.findall(template) if name]


def fill(template: str, columns: Mapping[str, Any], where: str = "template") -> str:
    """Put columns into the ``{name}`` fields of a template; ``{{name}}`` gives ``{name}``; all
    other braces stay.

    Raises TaskError with the nearest column for a field that no column fills.
    """

    def value(field: re.Match[str]) -> str:
        literal, name = field.groups()
        if literal is not None:
            return str(literal)
        if name not in columns:
            raise TaskError(
                f"{where}: the template asks for {{{name}}}, which is no"
                f" column{nearest(name, columns)}"
            )
        return column_text(columns[name], name, where)

    return FIELD.sub(value, template)
