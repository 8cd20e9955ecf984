"""Lines for a terminal: as wide as it is, and never broken inside a word."""

import shutil
import sys
import textwrap

COMMAND = "go on with: "
"""What begins a line that is there to be copied, and so stays in one piece."""


def columns(otherwise: int = 0) -> int:
    """How wide the terminal is, as it or ``COLUMNS`` says; ``otherwise`` where the output goes to a file."""
    return shutil.get_terminal_size((otherwise, 24)).columns


def wrapped(text: str, width: int | None = None) -> str:
    """A text whose lines are at most ``width`` columns, broken between words and indented under their beginning."""
    width = columns() if width is None else width
    return "\n".join(_wrapped(line, width) for line in text.split("\n")) if width else text


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width or line.startswith(COMMAND):
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(parts)


def tell(text: str) -> None:
    """Print lines at once, also into a file or a pipe."""
    print(wrapped(text), file=sys.stdout, flush=True)
