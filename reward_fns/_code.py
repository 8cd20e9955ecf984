"""The one program that a completion hands in: its last closed Python block, or all of it when it has no block."""

import re

from ._text import MAX_CHARS, NoAnswer, after_reasoning

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON = ("python", "py", "python3", "python2", "py3")


def code_of(completion: str, prompt: str = "") -> str:
    """The program of a completion, unchanged; raises NoAnswer when there is none or it is too long.

    It stands after the last closed think. Of several blocks marked as Python the last counts, else the last without a mark.
    """
    if len(completion) > MAX_CHARS:
        raise NoAnswer(f"{len(completion)} characters are more than {MAX_CHARS}")
    text = after_reasoning(completion, prompt)
    blocks = _blocks(text)
    for marked in (_PYTHON, ("",)):
        found = [content for language, content in blocks if language in marked]
        if found:
            return found[-1]
    if blocks or not text.strip():
        raise NoAnswer("there is no Python block")
    return text


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each block; raises NoAnswer when the last one is not closed."""
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2]:
            blocks.append((opened[2].lower(), text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is not None:
        raise NoAnswer("the last block is not closed")
    return blocks
