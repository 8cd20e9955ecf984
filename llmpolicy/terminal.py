"""Lines for a terminal: as wide as it is, never broken inside a word, and not among those of the libraries."""

import errno
import logging
import os
import re
import shutil
import sys
import textwrap
import warnings

LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "torch", "huggingface_hub")
"""Whose warnings about their own future tell a user nothing."""
COMMAND = "go on with: "
"""What is said before the command that goes on with a run."""
COPIED = re.compile(r"(.* with:) ((?:llmpolicy|torchrun|accelerate|pip) .*)")
"""A line that ends in a command: it is there to be copied, and so stays in one piece."""


def visible(text: str) -> str:
    """A text in one line, with what a terminal would not show, line breaks too, spelled out: a backslash stays one."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def columns(otherwise: int = 0) -> int:
    """How wide the terminal is, as it or ``COLUMNS`` says; ``otherwise`` where the output goes to a file."""
    return shutil.get_terminal_size((otherwise, 24)).columns


def wrapped(text: str, width: int | None = None) -> str:
    """A text whose lines are at most ``width`` columns, broken between words and indented under their beginning."""
    width = columns() if width is None else width
    return "\n".join(_wrapped(line, width) for line in text.split("\n")) if width else text


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    if ends := COPIED.fullmatch(line):
        text, command = _wrapped(ends[1], width), ends[2]
        return f"{text} {command}" if text == ends[1] else f"{text}\n{indent}{command}"
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(parts)


def quiet() -> None:
    """Keep the libraries' own progress bars and notes to developers out of the way of ours; warnings and errors still show."""
    import transformers

    for library in LIBRARIES:
        warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{library}(\.|$)")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def tell(text: str) -> None:
    """Print lines at once, also into a file or a pipe; where nobody reads them any more, what goes on is worth more."""
    try:
        print(wrapped(text), file=sys.stdout, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_standard() -> None:
    """Open standard input, output and errors on nothing where they are closed: other files would get their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
