"""Where a completion marks an answer: boxes, ``####``, ``Answer: ...`` in ten languages,
``<answer>`` tags.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

from .._maths.forms import MAX_ANSWER, read, value_of
from .._maths.latex import clean
from .._maths.units import read_unit
from .._text.completion import NoAnswer
from .._text.words import ANSWER, FILLER, LINK, PERCENT, REASON, SCALE, STEMS

MAX_MARKS = 64
_MAX_CONTENT = 2_000
_MAX_LINE = 500
_MAX_WORD = 20
_BOX = re.compile(r"\\(?:f?boxed\b|fbox\b|boxed(?=[^A-Za-z]))")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n#]*)")
_HEADING = re.compile(
    r"(?:[*_]*step\b|\d+[.)]\s+[a-z]|[*_]*(?:the\s+)?(?:final\s+)?(?:answer|solution)\W*\Z)",
    re.IGNORECASE,
)
_LINE = re.compile(
    rf"{ANSWER}"
    r"(?:\s+(?:to|of|for|à|auf|zur?|alla)\s+[^.:\n]{1,60}?|\s+(?:that\s+)?(?:we|i)\s+\w+"
    r"|\s+here)?[*_`]*["
    r" \t]*"
    r"(?:,[ \t]*\w+(?:[ \t]\w+)?,[ \t]*|[ \t]*\((?:in|to|rounded)\b[^()\n]{1,30}\)[ \t]*)?"
    r"(?:(?:[:=】]|\u2192|\u662f|\u4e3a)[*_`]*(?:[ \t]*\})?|\b(?:is|equals"
    r"|(?:would|should|must|will|has to|turns out to|comes out to|is found to)[ \t]+be"
    rf"|(?:comes|works)(?: out)? to(?: be)?|to be)\b(?:[ \t]*(?::|=|equal to\b))?|{LINK}[ \t]*:?)"
    r"[ \t]*(?:(?:therefore|thus|then|hence|simply|just|clearly|obviously|only|exactly|indeed|given"
    r" by)\b,?[ \t]*)?"
    rf"(?:{FILLER}[ \t]*){{0,2}}",
    re.IGNORECASE,
)
_HEADED = re.compile(
    rf"(?im)^[ \t]*(?:[#*_]+[ \t]*)?(?:(?:the|final|die|la|a|最终|最終)[ \t]*){{0,2}}{ANSWER}["
    r" \t*_:#]*$(?=\s*\S)"
)
_IS_THE_ANSWER = re.compile(
    r"(?<![\w.,$\\{(-])([-+$(*]{0,4}\d[\d,./]{0,40}[%$)*]{0,4})[ \t]+is[ \t]+(?:the|my|our)[ \t]+"
    r"(?:(?:final|correct|right)[ \t]+)?answer\b",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"\A~(?=\s*[-$\d])")
_SENTENCE = re.compile(
    r"(?![^\d]*(?:\b(?:not?|never|nobody|none|nothing|neither|nor|or|if|unless|would|could|might"
    r"|may|cannot|without)\b|n['\u2019]t))"
    r"(?:that\s+)?[A-Za-z][\w ,'\u2019-]{0,60}?"
    r"\b(?:is|are|was|were|equals?|has|have|had|makes?|made|earn(?:s|ed)?|needs?|gets?|got"
    r"|costs?|spen[dt]s?|sold|pa(?:id|ys?)|saves?|saved|weighs?|takes?|took"
    r"|runs?|ran|walks?|eats?|ate|drives?|drove|reads?|buys?|bought)\s+(?:a total"
    r" of\s+|now\s+)?(?=[-$\\(*]*\d)",
    re.IGNORECASE,
)
_REST = re.compile(r"(?:(?!</answer>)[^\n])*", re.IGNORECASE)
_NEXT = re.compile(r"(?:\s|\\\[|\\\(|\$\$)*[^\n]*")
_OPENED = re.compile(
    r"(?:\s|\\\[|\\\(|\$\$|[-*\u2022]\s+)*(?:\d{1,2}[.)][ \t]+(?=[*_$\\(]*(?:-?\d|\\[a-z]|[A-Za-z]["
    r" \t]*=)))?"
)
_ITEM = re.compile(r"[-*\u2022][ \t]|\d[.)][ \t]")
_NEXT_ITEM = re.compile(r"[^\n]*\n\s*(?:[-*\u2022]|\d{1,2}[.)])[ \t]+(?=([^\n]*))")
_REASON = re.compile(
    rf"[\s,;(\u2013\u2014-]*\b(?:{REASON}|which|where)\b.*|[，,]?\s*(?:因为|因為).*"
    r"|[,;(]\s*(?:i\.e\b|namely\b).*"
    r"|[,;]?\s+and\s+(?:we|that|this|so)\b.*"
    r"|(?:[,(]\s*|\s+)(?:and\s+)?(?:not|rather than|instead"
    r" of|nicht|non|pas|no|не)\s+[-$\\(*]*(?:\d|[A-J]\b).*",
    re.IGNORECASE,
)
_AFTER_A_VALUE = re.compile(
    r"\s+[-\u2013\u2014]{1,3}\s+(?:[aA]\s|[^\W\d_]{2}).*|;\s+[^\W\d_]{2}.*|,\s+(?!(?:and"
    r"|or)\b)[a-z]{3,}\b[^\d\\]*\Z|,\s+for\s+.*"
    r"|,?\s+(?:(?:when|if)\s+(?:we\s+)?)?(?:rounded|round to|(?:correct |accurate )?to (?:the"
    r" nearest|\w+ (?:decimal|significant)))"
    r"\b[^\d\\]*(?:\d\s+[a-z ]+)?\Z"
    r"|\s+\((?!\s*(?:mod|base)\b)(?=[^()]*(?<![\\A-Za-z])[^\W\d_]{3})[^()]*\).*"
)
"""Words that explain a number or a formula, and are no part of it."""
_SENTENCE_END = re.compile(r"(?<!\bca)(?<!\bapprox)\.[*_)]*(?=\s|\Z)|。")
TELLS = re.compile(r"[\d\\]")
_BRACE = re.compile(r"\s*(?=\{)")
_TOKEN = re.compile(r"\s*[^\s$,.;]*")
_MINUS = re.compile(r"(?:=\s*-\s*|(?:\A|[\s$(\[])-)\Z")
_UNIT = re.compile(
    r"[ \t$]*(?!in[ \t$]+\w)"
    r"(\\text\s*\{[^{}]{1,30}\}|\\?%|\^\s*\{?\\circ\}?|[\u00b0\u00a2]"
    r"|[A-Za-z]{1,12}(?:/[A-Za-z]{1,4})?(?![A-Za-z]))"
)
_SAID_AFTER = re.compile(
    r"(?<=[\dA-J])\s*(?:です|である|だ|입니다|이다|입니다)[。"
    r".]?\Z|(?<=\d)[个個只隻元人张張件天年岁歲次种種名位块塊棵朵条條枚円個人개명원]"
    r"(?:(?![半多余餘左右或点點倍万萬亿億千百十不])[\u4e00-\u9fff]){0,6}\Z"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One marked answer: its content, and where the whole mark lies in the text."""

    content: str
    start: int
    end: int
    strong: bool
    """A box or a tag marks on purpose; ``####`` and the word "answer" also head other things."""
    said_from: int = -1
    """Where the content begins, when words of the sentence belong to the mark."""


def all_marks(text: str, telling: re.Pattern[str]) -> list[Mark]:
    marks = sorted(
        [*boxes(text), *_tags(text), *_hashes(text), *_lines(text)],
        key=lambda mark: (mark.start, -mark.end),
    )
    if len(marks) > MAX_MARKS:
        raise NoAnswer(f"more than {MAX_MARKS} answers are marked")
    marks = [mark for mark in marks if not any(_only_holds(text, mark, inner) for inner in marks)]
    marks = [mark for mark in marks if not _only_heads(text, mark, marks[-1])]
    if any(mark.strong and TELLS.search(mark.content) for mark in marks):
        # "The answer is as follows": words that lead to the answer.
        marks = [mark for mark in marks if mark.strong or telling.search(mark.content)]
    return marks


def boxes(text: str) -> list[Mark]:
    """The boxes of a text that hold something; raises NoAnswer for one that is not closed."""
    marks: list[Mark] = []
    for box in _BOX.finditer(text):
        start = _end(_BRACE, text, box.end())
        if text[start : start + 1] == "{":
            end = brace_end(text, start)
            content = text[start + 1 : end - 1].strip()
        else:
            end = _end(_TOKEN, text, start)
            content = text[start:end].strip()
        if content:
            if _MINUS.search(text, max(0, box.start() - 10), box.start()):
                content = f"-{content}"
            marks.append(Mark(content + _unit_after(text, end), box.start(), end, True))
        if len(marks) > MAX_MARKS:
            break
    return marks


def _unit_after(text: str, position: int) -> str:
    """The unit, or the word that scales the number, which follows a box: it belongs to the
    answer.
    """
    following = text[position : position + 60]
    if not following.strip(" $.\n"):
        return ""
    if PERCENT.match(following):
        return " percent"
    if scale := SCALE.match(following):
        return f" {scale[1]}"
    unit = _UNIT.match(following)
    return _known_unit(unit[1]) if unit else ""


@lru_cache(maxsize=4096)
def _known_unit(text: str) -> str:
    unit = clean(text)
    return f" {unit}" if read_unit(unit) else ""


def _tags(text: str) -> list[Mark]:
    tags: list[Mark] = []
    lower = text.lower()
    start = lower.find("<answer>")
    while start >= 0 and len(tags) <= MAX_MARKS:
        stop = lower.find("</answer>", start)
        if stop < 0:
            stop = len(text)  # a stop string may have cut the closing tag off
        end = min(stop + len("</answer>"), len(text))
        if inner := text[start + len("<answer>") : stop].strip():
            tags.append(Mark(inner, start, end, True))
        start = lower.find("<answer>", end)
    return tags


def _hashes(text: str) -> list[Mark]:
    begin = text.find("####")
    if begin < 0:
        return []
    marks: list[Mark] = []
    for hashes in _HASHES.finditer(text, begin):
        if hashes[1].strip() and not _HEADING.match(hashes[1]):
            marks.append(Mark(first_sentence(hashes[1]), hashes.start(), hashes.end(), False))
        if len(marks) > MAX_MARKS:
            break
    return marks


def _lines(text: str) -> list[Mark]:
    begin = _first_word(text)
    if begin < 0:
        return []
    # "18 is the answer", lines that are the words "Final Answer" and no more, "Answer: 18".
    marks = []
    for line in islice(_IS_THE_ANSWER.finditer(text, begin), MAX_MARKS + 1):
        marks.append(Mark(line[1], *line.span(), False, said_from=line.start()))
    headings = islice(_HEADED.finditer(text, begin), MAX_MARKS + 1)
    for line in chain(headings, islice(_LINE.finditer(text, begin), MAX_MARKS + 1)):
        if mark := _line(text, line):
            marks.append(mark)
        if len(marks) > MAX_MARKS:
            break
    return marks


def _line(text: str, line: re.Match[str]) -> Mark | None:
    """What the words for an answer lead to, on their line or below it; None for nothing."""
    begin, end = line.end(), _end(_REST, text, line.end())
    if not text[begin:end].strip(" *_`$\\[("):
        end = _end(_NEXT, text, end)
        begin = max(line.end(), text.rfind("\n", 0, end) + 1)
        begin = _end(_OPENED, text, begin)
    content = _value_said(first_sentence(text[begin:end]))
    if not content:
        return None
    start = text.find(content, begin)
    end = start + len(content)
    if _ITEM.search(text, line.end(), start):
        content, end = _with_items(text, content, start)
    return Mark(content, line.start(), end, False, said_from=start)


def _with_items(text: str, content: str, start: int) -> tuple[str, int]:
    """The list of numbers that begins with an item at start, and where the last of them ends."""
    values, end = [content.strip("*_ ")], start + len(content)
    while len(values) <= MAX_MARKS and (item := _NEXT_ITEM.match(text, end)):
        value = _value_said(first_sentence(item[1])).strip("*_ ")
        if not is_number(value):
            break
        values.append(value)
        end = item.end(1)
    return ", ".join(values) if len(values) > 1 else content, end


def _value_said(content: str) -> str:
    """The number of a short sentence that states it (``She has 18 eggs``), any other content as it
    is.
    """
    sentence = _SENTENCE.match(content)
    if sentence and is_number(content[sentence.end() :]):
        return content[sentence.end() :]
    return content


def _first_word(text: str) -> int:
    """Where the first line begins in which an answer is called by a word, -1 without any; found
    fast.
    """
    lower = text.lower()
    begin = len(lower)
    for stem in STEMS:
        at = lower.find(stem, 0, begin)
        if at >= 0:
            begin = at
    if begin == len(lower):
        return -1
    # The lower case of a few characters is longer than they are.
    return text.rfind("\n", 0, begin) + 1 if len(lower) == len(text) else 0


def is_number(answer: str) -> bool:
    try:
        return value_of(read(answer)).number is not None
    except NoAnswer:
        return False


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    matched = pattern.match(text, start)
    return matched.end() if matched else start


def first_sentence(content: str) -> str:
    """The first sentence of a line, without a reason that follows."""
    start = content[:_MAX_LINE]
    sentence = _SENTENCE_END.split(start, maxsplit=1)[0]
    sentence = re.sub(r"(?<=\d)[$*_]*!\s*\Z", "", sentence)
    kept = _SAID_AFTER.sub("", _ABOUT.sub(r"\\approx ", _REASON.sub("", sentence).strip()))
    explained = _AFTER_A_VALUE.search(kept)
    if explained and re.search(r"[\d\\]", kept[: explained.start()]):
        kept = kept[: explained.start()]
    if len(content) > len(start) and kept == start.strip():
        return content[: MAX_ANSWER + 1]  # too long to be an answer, and handed on as such
    return kept


def _only_holds(text: str, outer: Mark, inner: Mark) -> bool:
    """Whether a mark only leads to another inside it, as ``Answer: \\boxed{5}`` does, and adds no
    number of its own.
    """
    if (outer.start, outer.end) == (inner.start, inner.end):
        return False
    if not outer.start <= inner.start <= inner.end <= outer.end:
        return False
    before, after = text[outer.start : inner.start], text[inner.end : outer.end]
    before = re.sub(r"\A\W*\banswer\b", "", before)
    leads = not re.search(r"\d", before) or before.rstrip(" $\\([{").endswith("=")
    return leads and not re.search(r"\d", after)


def _only_heads(text: str, mark: Mark, last: Mark) -> bool:
    """Whether a mark is a heading "Answer" with a line of prose under it, and the answer comes
    later.
    """
    return (
        mark is not last
        and len(mark.content) > _MAX_WORD
        and "\n" in text[mark.start : mark.said_from + 1]
    )


def brace_end(text: str, start: int) -> int:
    """The position after the brace that closes the one at start; raises NoAnswer when it is not
    near.
    """
    depth, i = 0, start
    while i < min(len(text), start + _MAX_CONTENT):
        if text[i] == "\\":
            i += 2
            continue
        depth += (text[i] == "{") - (text[i] == "}")
        i += 1
        if depth == 0:
            return i
    raise NoAnswer(f"a brace is not closed within {_MAX_CONTENT} characters")
