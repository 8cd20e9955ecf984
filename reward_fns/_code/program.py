"""The one program that a completion hands in: its last Python block, or what is Python of a
completion without one.
"""

import ast
import re
import warnings
from collections.abc import Collection
from itertools import dropwhile, filterfalse

from .._text.completion import NoAnswer, ThinkingMarks, after_reasoning, check_length

_FENCE = re.compile(r"^([ ]{0,12})(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON = re.compile(r"\{?\.?(?:python|py)[\d.]*\}?", re.IGNORECASE)
_CODE = re.compile(
    r"(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[:(]|import\s+\w+(?:\.\w+)*\s*(?:$|,|as\s)"
    r"|from\s+[\w.]+\s+import\s|@\w"
    r"|[A-Za-z_][\w, .\[\]]*=[^=]|print\(|(?:for|while|if|with|try)\b.*:\s*$|#"
)
_QUOTED = re.compile(r"(['\"]{1,3})\s*((?:def|class|import|from|async|@).*)\1", re.DOTALL)
_LONGEST = 20_000
_CUTS = 8
_TYPING = (
    "Any Callable DefaultDict Deque Dict FrozenSet Generator Generic Iterable Iterator List Literal"
    " Mapping NamedTuple Optional Sequence Set Tuple Type TypeVar Union"
)
_LEETCODE = {
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "copy": "copy deepcopy",
    "functools": "cache cmp_to_key lru_cache partial reduce",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "itertools": (
        "accumulate chain combinations combinations_with_replacement count cycle groupby islice"
        " pairwise permutations product repeat starmap takewhile zip_longest"
    ),
    "math": (
        "ceil comb cos exp factorial floor gcd inf isqrt lcm log log2 log10 perm pi prod sin"
        " sqrt tan"
    ),
    "operator": "itemgetter",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits",
}
_MODULES = (*_LEETCODE, "datetime", "json", "random", "re", "statistics", "sys")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SOLUTION = re.compile(r"^class\s+Solution\b", re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import [^\n(]*\n", re.MULTILINE)


def code_of(
    completion: str, prompt: str = "", name: str | None = None, thinking_marks: ThinkingMarks = ()
) -> str:
    """The program of a completion, unchanged; raises NoAnswer when there is none or it is too long.

    It stands after the last closed think. Of several blocks marked as Python the last counts that
    defines ``name``, the function to be called, or else the last; where none is marked, of those
    without a mark. The last block need not be closed. Without a block it is what stands between
    [BEGIN] and [DONE], or all of the completion but the prose around.
    """
    check_length(completion)
    text = after_reasoning(completion, prompt, thinking_marks)
    blocks = _blocks(text)
    for programs in (
        [content for language, content in blocks if _PYTHON.fullmatch(language)],
        [content for language, content in blocks if not language],
        list(map(_unquoted, _frames(text))),
    ):
        if programs:
            defining = (block for block in reversed(programs) if _defines(block, name))
            return next(defining, programs[-1])
    if blocks or not text.strip():
        raise NoAnswer("there is no Python block")
    return _without_prose(text)


def _defines(block: str, name: str | None) -> bool:
    """Whether a block makes a function, a class (also Solution) or a variable of the name: it is no
    example of its use.
    """
    if name is None:
        return False
    wanted = re.escape(name.partition(".")[0])
    definition = rf"^(?:(?:async\s+)?def|class)\s+(?:{wanted}|Solution)\b|^{wanted}\s*=(?!=)"
    return re.search(definition, block, re.MULTILINE) is not None


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each block that holds something; the last may end with the text."""
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif (
            fence[2].startswith(opened[2]) and not fence[3] and len(fence[1]) <= len(opened[1]) + 3
        ):
            blocks.append(_block(opened, text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is not None:
        before, rest = text[: opened.start()], text[opened.end() + 1 :].partition(opened[2])[0]
        if not blocks and not opened[3] and before.strip() and _is_python(before):
            rest = before  # the prompt has opened the block that this fence closes
        blocks.append(_block(opened, rest))
    return [block for block in blocks if block[1].strip() or block[0]]


def _block(fence: re.Match[str], content: str) -> tuple[str, str]:
    """The language, and the content without the indentation of its fence, as in a list."""
    if fence[1]:
        content = re.sub(rf"^ {{1,{len(fence[1])}}}", "", content, flags=re.MULTILINE)
    return fence[3].lower(), content


def _frames(text: str) -> list[str]:
    """What stands between MBPP's own marks, of which the prompt may hold the first."""
    if "[BEGIN]" not in text and "[DONE]" not in text:
        return []
    parts = text.split("[BEGIN]")
    return [part.partition("[DONE]")[0] for part in parts[1:] or parts]


def _unquoted(content: str) -> str:
    quoted = _QUOTED.fullmatch(content.strip())
    return quoted[2] if quoted else content


def _without_prose(text: str) -> str:
    """A text without the sentences before and after its program; the text itself where that does
    not make it Python.
    """
    if len(text) > _LONGEST or _error_line(text) is None:
        return text
    unfenced = filterfalse(_FENCE.match, text.split("\n"))
    lines = list(dropwhile(lambda line: not _CODE.match(line), unfenced))
    if not lines:
        return text
    for _ in range(_CUTS):
        program = "\n".join(lines)
        wrong = _error_line(program)
        if wrong is None:
            return program
        last = min(wrong, len(lines)) - 1
        while last > 0 and not _is_prose(lines[last]):
            last -= 1
        if last <= 0:
            return text
        lines = lines[:last]
    return text


def _is_prose(line: str) -> bool:
    words = " " in line.strip() or line.startswith("</")
    return bool(line) and not line[0].isspace() and words and not _CODE.match(line)


def _is_python(text: str) -> bool:
    return len(text) <= _LONGEST and _error_line(text) is None


def _error_line(text: str) -> int | None:
    """The line, from 1, at which a text stops being Python; None when all of it is."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def with_names(code: str, called: Collection[str | None]) -> str:
    """The program with imports of the names that it uses and that are given: those of typing, and
    for a class Solution those of LeetCode. Never a name that is called, so that a program without
    it stays without it.
    """
    used = set(_WORD.findall(code)).difference(called)
    imports = _from("typing", _TYPING, used)
    if "Solution" in used and _SOLUTION.search(code):
        for module in filter(used.__contains__, _MODULES):
            imports += f"import {module}\n"
        # copy and bisect are functions of that name too, which LeetCode's star imports leave; a
        # program writes copy.copy.
        for module, names in _LEETCODE.items():
            imports += _from(module, names, used.difference(_MODULES))
    start = 0
    if imports and "__future__" in code:
        for line in _FUTURE.finditer(code):
            start = line.end()
    return code[:start] + imports + code[start:]


def _from(module: str, names: str, used: set[str]) -> str:
    wanted = ", ".join(filter(used.__contains__, names.split()))
    return f"from {module} import {wanted}\n" if wanted else ""
