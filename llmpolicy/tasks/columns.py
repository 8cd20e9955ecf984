"""Columns that mean something to a chat model beside the prompt: used where they can be, refused or
said where not.
"""

import json
import logging
import re
from collections.abc import Collection, Mapping
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.errors import TaskError
from llmpolicy.messages import present
from llmpolicy.tasks.content import is_media, is_missing

CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
WORD = re.compile(r"[^\W\d_]+")
MEDIA_WORDS = {"image", "img", "picture", "pic", "photo", "video", "audio"}
"""What no language model here can see or hear, in the singular."""
PLACE_WORDS = {
    "url",
    "uri",
    "link",
    "path",
    "file",
    "filename",
    "name",
    "src",
    "decoded",
    "byte",
    "base",
    "b",
    "data",
    "raw",
    "input",
}
"""What a column's name may say besides and still mean the image itself: where it lies, or how it is
written.
"""

OPTIONS = ("tools", "chat_template_kwargs")
"""What a row gives its chat template."""

MEANT = (*OPTIONS, "system", "messages")


def names_media(name: str) -> bool:
    """Whether a column's name says that it is an image, a video or a sound, or where one lies, as
    image_1 and img_url do.
    """
    words = {word.rstrip("s") for word in WORD.findall(CAMEL.sub("_", name).lower())}
    return bool(words & MEDIA_WORDS) and words <= MEDIA_WORDS | PLACE_WORDS


def refuse_media(
    columns: Mapping[str, Any], asked: Collection[str], renamed: Collection[str], where: str
) -> None:
    """Raise TaskError for a row with an image, a video or a sound that its prompt would leave out.

    Renamed are the columns that the task gave names of its own: what they hold is known to be for
    the rewards.
    """
    for name, value in columns.items():
        # It has none, or a count of 0.
        none_there = isinstance(value, bool | int | float) and not value
        if name in asked or none_there or _empty(present(value)):
            continue
        if names_media(name) or (name not in renamed and is_media(value)):
            raise TaskError(
                f"{where}: the column {name!r} would be left out of the prompt: a language model"
                f" here reads text alone; write `columns: {{my_{name}: {name}}}` if only the"
                " rewards need it"
            )


def template_options(
    columns: Mapping[str, Any], asked: Collection[str], where: str
) -> dict[str, Any]:
    """What a row's columns give its chat template: ``tools``, and further arguments; asked are
    those in the prompt already.
    """
    options: dict[str, Any] = {}
    for name, kind in (("chat_template_kwargs", dict), ("tools", list)):
        value = _from_json(columns.get(name), name, where)
        if name in asked or _empty(value):
            continue
        if not isinstance(value, kind):
            raise TaskError(
                f"{where}: {name} is {value!r:.60}, expected a {kind.__name__} or its JSON text"
            )
        options |= present(value) if kind is dict else {name: present(value)}
    return options


def system_text(columns: Mapping[str, Any], asked: Collection[str], where: str) -> str | None:
    """The row's own system prompt; None where there is none, or the prompt says it already."""
    value = columns.get("system")
    if "system" in asked or _empty(value):
        return None
    if not isinstance(value, str):
        raise TaskError(f"{where}: system is {value!r:.60}, expected a text")
    return value


def say_unused(columns: Collection[str], label: str) -> None:
    """Say that prompts of plain text have no place for what is meant for a chat template."""
    unused = [name for name in OPTIONS if name in columns]
    if unused:
        logging.getLogger("llmpolicy").warning(
            "task %r: prompts of plain text (chat: false) leave out the columns %s; only the"
            " rewards get them",
            label,
            ", ".join(unused),
        )


def _empty(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str | list | tuple | dict) and not value)


def _from_json(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, str) or not value.strip():
        return None if is_missing(value) else value or None
    try:
        return load_json(value)
    except json.JSONDecodeError as error:
        raise TaskError(
            f"{where}: {name} is no JSON: {error.msg} at column {error.colno}"
        ) from error
    except ValueError as error:
        raise TaskError(
            f"{where}: {name} cannot be read: {str(error).partition(';')[0]}"
        ) from error
