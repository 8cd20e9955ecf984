"""The one program that a completion hands in: its last closed Python block, or all of it when it has no block."""

import re

from ._text import MAX_CHARS, NoAnswer, after_reasoning

_FENCE = re.compile(r"^([ ]{0,3})(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON = ("python", "py", "python3", "python2", "py3")


def code_of(completion: str, prompt: str = "", name: str | None = None) -> str:
    """The program of a completion, unchanged; raises NoAnswer when there is none or it is too long.

    It stands after the last closed think. Of several blocks marked as Python the last counts that defines ``name``, the
    function to be called, or else the last; where none is marked, of those without a mark.
    """
    if len(completion) > MAX_CHARS:
        raise NoAnswer(f"{len(completion)} characters are more than {MAX_CHARS}")
    text = after_reasoning(completion, prompt)
    blocks = _blocks(text)
    for marked in (_PYTHON, ("",)):
        found = [content for language, content in blocks if language in marked]
        if found:
            return next((block for block in reversed(found) if _defines(block, name)), found[-1])
    if blocks or not text.strip():
        raise NoAnswer("there is no Python block")
    return text


def _defines(block: str, name: str | None) -> bool:
    """Whether a block makes a function, a class (also Solution) or a variable of the name: it is no example of its use."""
    if name is None:
        return False
    wanted = re.escape(name.partition(".")[0])
    made = rf"^(?:(?:async\s+)?def|class)\s+(?:{wanted}|Solution)\b|^{wanted}\s*=(?!=)"
    return re.search(made, block, re.MULTILINE) is not None


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each block; raises NoAnswer when the last one is not closed."""
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[2].startswith(opened[2]) and not fence[3]:
            blocks.append((opened[3].lower(), _outdented(text[opened.end() + 1 : fence.start()], len(opened[1]))))
            opened = None
    if opened is not None:
        raise NoAnswer("the last block is not closed")
    return blocks


def _outdented(block: str, spaces: int) -> str:
    """The block without the indentation of its fence, as in a list."""
    return re.sub(rf"^ {{1,{spaces}}}", "", block, flags=re.MULTILINE) if spaces else block
