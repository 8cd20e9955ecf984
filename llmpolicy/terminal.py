"""Lines for a terminal: as wide as it is, never broken inside a word, and not among those of the
libraries.
"""

import errno
import io
import logging
import os
import re
import shlex
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence

LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "torch", "huggingface_hub")
"""Whose warnings about their own future tell a user nothing."""
COMMAND = "go on with: "
"""What is said before the command that goes on with a run."""
COPIED = re.compile(r"(.* with:) ((?:llmpolicy|torchrun|accelerate|pip) .*)")
"""A line that ends in a command: it is there to be copied, and so stays in one piece."""

Say = Callable[[str], None]
"""What shows lines to the user, as `tell` does."""

_words: list[str] = []

INVISIBLE = re.compile(
    "[\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u2800\\u3164\\uffa0\\ufe00-\\ufe0e\\U000e0000-\\U000e0fff]"
)
"""Signs that Unicode calls letters or marks and that show nothing: fillers, selectors of variants,
tags.
"""
BETWEEN = re.compile("[^\\n\\t\\u00a0\\u2000-\\u200a\\u202f\\u205f\\u3000]+")
"""What lies between breaks, tabs and wide or narrow spaces, which break no terminal."""


def visible(text: str) -> str:
    """A text in one line, with what a terminal would not show, line breaks too, spelled out: a
    backslash stays one.
    """
    if text.isprintable() and not INVISIBLE.search(text):
        return text
    return "".join(map(_spelled_out, text))


def shown(text: str) -> str:
    """Lines of text with all that would not show but their breaks, tabs and spaces spelled out, as
    `visible` does.
    """
    return BETWEEN.sub(lambda between: visible(between[0]), text)


def _spelled_out(sign: str) -> str:
    if sign.isprintable() and not INVISIBLE.match(sign):
        return sign
    return sign.encode("unicode_escape").decode()


def columns(otherwise: int = 0) -> int:
    """How wide the terminal is, as it or ``COLUMNS`` says; ``otherwise`` where the output goes to a
    file.
    """
    return shutil.get_terminal_size((otherwise, 24)).columns


def wrapped(text: str, width: int | None = None) -> str:
    """A text whose lines are at most ``width`` columns, broken between words and indented under
    their beginning.
    """
    if width is None:
        width = columns()
    if not width:
        return text
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    if ends := COPIED.fullmatch(line):
        text, command = _wrapped(ends[1], width), ends[2]
        return f"{text} {command}" if text == ends[1] else f"{text}\n{indent}{command}"
    parts = textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return "\n".join(parts)


def quiet() -> None:
    """Keep the libraries' own progress bars and notes to developers out of the way of ours;
    warnings and errors still show.
    """
    import transformers

    for library in LIBRARIES:
        warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{library}(\.|$)")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def tell(text: str) -> None:
    """Print lines at once, also into a file or a pipe; where nobody reads them any more, what goes
    on is worth more.
    """
    try:
        print(wrapped(shown(text)), file=sys.stdout, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def ask(question: str) -> str | None:
    """What the user types; None where nobody can: no terminal, or several processes that would
    ask.
    """
    if _has_peers() or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    print(wrapped(shown(question)), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def _has_peers() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def begun_by(words: Sequence[str]) -> None:
    """Note the words of the command line that this process carries out."""
    _words[:] = words


def again(more: str) -> str | None:
    """The command of this process with one more word, to be copied; None where it was no command,
    or of several processes.
    """
    if not _words or _has_peers():
        return None
    return f"llmpolicy {shlex.join([*_words, more])}"


def show_all() -> None:
    """Have warnings and the log spell out what would not show, as `tell` does, and no sign end
    them.
    """
    write = warnings.formatwarning
    warnings.formatwarning = lambda *args, **kwargs: shown(write(*args, **kwargs))
    logging.setLogRecordFactory(_ShownRecord)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _ShownRecord(logging.LogRecord):
    def getMessage(self) -> str:
        return shown(super().getMessage())


def show_traceback(error: BaseException) -> None:
    """Print where an error comes from, as Python does at its end."""
    print(shown("".join(traceback.format_exception(error))), end="", file=sys.stderr, flush=True)


def open_standard() -> None:
    """Open standard input, output and errors on nothing where they are closed: other files would
    get their numbers.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
