"""The prompt template of a task: the columns that its ``{name}`` fields ask for, and their text."""

import re
from collections.abc import Mapping
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.tasks.content import column_text

FIELD = re.compile(r"\{(\{\w+\})\}|\{([^\W\d]\w*)\}")


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
