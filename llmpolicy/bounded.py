"""Files that somebody else may have written: read in bounded time and memory, or refused in a
clause.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 2**26
"""Of a recipe, a manifest, or another file that is read whole."""

MOST_CHARACTERS = 2**25
"""Of one value in a row, or of a line of JSON: some million tokens."""

DEPTH = 64
"""Levels of YAML within each other."""

ALIASED = 100_000
"""Nodes that the aliases of YAML may stand for, those within them counted as often as they are
meant.
"""

NUMBERS = 1_000
"""Keys of a mapping that are numbers: as many more can be chosen such that each is compared with
all others.
"""

_TYPES = ("str", "int", "float", "bool", "null", "seq", "map")
TAGS = frozenset((None, "!", *map("tag:yaml.org,2002:{}".format, _TYPES)))
"""The types that a value may be said to have; none where it says itself what it is."""

DIGITS = 4_000
"""Of a number; Python writes no more than some of them."""

_HALF = re.compile("[\ud800-\udfff]")

_SLOW = 2**16
"""Characters up to which YAML is read by Python's own parser, which says better where something is
wrong.
"""


class Unreadable(ValueError):
    """A file or a text is not read, for a reason that is said as a clause."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a plain file; raises Unreadable for a pipe, a device, or more than so many
    bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise Unreadable("it is a pipe, a device or a folder, expected a file")
        content = file.read(most + 1) if seen.st_size <= most else None
    if content is None or len(content) > most:
        raise Unreadable(f"it has {seen.st_size:,} bytes, expected at most {most:,}")
    return content


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a plain file in UTF-8; raises Unreadable, or UnicodeDecodeError."""
    return read_bytes(path, most).decode("utf-8")


def read_json(path: Path) -> Any:
    """The value in a file of JSON; raises ValueError (Unreadable) and OSError."""
    return load_json(read_text(path))


def load_json(text: str | bytes, **options: Any) -> Any:
    """The value that a text of JSON says; raises ValueError, also where it is nested too deeply."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error


# YAML


class _Core:
    """YAML whose bare words mean what they mean in YAML 1.2 (its core schema,
    https://yaml.org/spec/1.2.2/#103-core-schema).

    In YAML 1.1 ``yes`` and ``no`` are booleans, ``010`` is 8, ``12:30`` 750 and ``1e-4`` a text. A
    number with a 0 before it stays the text that it is.
    """

    yaml_implicit_resolvers = {  # PyYAML's own way of keeping them
        sign: [form for form in forms if not form[0].endswith((":bool", ":int", ":float"))]
        for sign, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse what would take a time that grows with the square of its size."""
        if isinstance(node, yaml.MappingNode) and len(node.value) > NUMBERS:
            numbers = sum(key.tag.endswith((":int", ":float")) for key, _ in node.value)
            if numbers > NUMBERS:
                raise Unreadable(
                    f"a mapping has {numbers:,} keys that are numbers, expected at most {NUMBERS:,}"
                )
        return super().construct_mapping(node, deep)  # type: ignore[misc]

    def construct_yaml_int(self, node: Any) -> Any:
        """Refuse what Python could not write again, or would take long to read."""
        return super().construct_yaml_int(_short(node))  # type: ignore[misc]

    def construct_yaml_float(self, node: Any) -> Any:
        """The same of a number with a fraction."""
        return super().construct_yaml_float(_short(node))  # type: ignore[misc]


def _short(node: Any) -> Any:
    if len(str(node.value)) > DIGITS or ":" in str(node.value):
        raise Unreadable(
            f"line {node.start_mark.line + 1}: {str(node.value):.20}... is no number of at most"
            f" {DIGITS:,} digits"
        )
    return node


class Loader(_Core, yaml.SafeLoader):
    """Reads YAML in Python alone."""


class _Fast(_Core, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same by libyaml."""


for _tag, _form, _signs in (
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)([eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$", "-+0123456789"),
    ("float", r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", "-+."),
):
    for _loader in (Loader, _Fast):
        _loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), list(_signs))
        for _number in ("int", "float"):
            _loader.add_constructor(
                f"tag:yaml.org,2002:{_number}", getattr(_Core, f"construct_yaml_{_number}")
            )


def load_yaml(text: str) -> Any:
    """The data of one document of YAML; raises ValueError (Unreadable) and yaml.YAMLError."""
    return load_nodes(text)[1]()


def load_nodes(text: str) -> tuple[yaml.Node | None, Callable[[], Any]]:
    """The nodes of one document of YAML, which know their lines, and how its data is made of them;
    raises as `load_yaml` does.
    """
    kind = Loader if len(text) <= _SLOW else _Fast
    _check(yaml.parse(text, Loader=kind))
    loader = kind(text)
    node = loader.get_single_node()
    return node, lambda: None if node is None else loader.construct_document(node)


def _check(events: Iterator[Any]) -> None:
    """Refuse what would be too deep or too much, from the stream of events, before anything is
    built of it.
    """
    sizes: dict[str, int] = {}  # of what an anchor stands for
    within: list[tuple[str | None, int]] = []
    count = aliased = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)
            count, aliased = count + size, aliased + size
            if event.anchor in dict(within):
                raise _at(
                    event,
                    f"a block is nested without end, in itself by its own alias *{event.anchor}",
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = within.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if (tag := getattr(event, "tag", None)) not in TAGS:
                raise _at(
                    event,
                    f"the tag {tag!r:.60} is not read, expected one of !!str, !!int, !!float,"
                    " !!bool, !!null",
                )
            if event.anchor:
                sizes[event.anchor] = 1
            if isinstance(event, yaml.CollectionStartEvent):
                within.append((event.anchor, count - 1))
            if isinstance(event, yaml.ScalarEvent) and _HALF.search(event.value):
                raise _at(
                    event,
                    f"{event.value!a:.60} holds half of a surrogate pair, which is no character",
                )
        if aliased > ALIASED:
            raise _at(event, f"its aliases stand for more than {ALIASED:,} values")
        if len(within) > DEPTH:
            raise _at(event, f"it is nested more than {DEPTH} levels deep")


def _at(event: Any, why: str) -> Unreadable:
    return Unreadable(f"line {event.start_mark.line + 1}: {why}")
