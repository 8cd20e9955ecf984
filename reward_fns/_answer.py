"""Finding the answers that a completion marks: boxed, ``####``, ``Answer:``, ``<answer>``, or nothing but an answer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from ._assertion import why_not_asserted
from ._forms import MAX_ANSWER, Form, GoldUnreadable, read, same, value_of
from ._latex import clean
from ._text import NoAnswer, ThinkingMarks, final_text
from ._units import read_unit
from ._words import ANSWER, FILLER, LINK, PERCENT, SCALE, STEMS

Extract = Literal["strict", "last_number"]

_MAX_MARKS = 64
_MAX_CONTENT = 2_000
_MAX_LINE = 500
_MAX_BARE = 200
_MAX_WORD = 20

_BOX = re.compile(r"\\(?:f?boxed\b|fbox\b|boxed(?=[^A-Za-z]))")
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n#]*)")
_HEADING = re.compile(
    r"(?:[*_]*step\b|\d+[.)]\s+[a-z]|[*_]*(?:the\s+)?(?:final\s+)?(?:answer|solution)\W*\Z)", re.IGNORECASE
)
_LINE = re.compile(
    rf"{ANSWER}"
    r"(?:\s+(?:to|of|for|à|auf|zur?|alla)\s+[^.:\n]{1,60}?|\s+(?:that\s+)?(?:we|i)\s+\w+|\s+here)?[*_`]*[ \t]*"
    r"(?:,[ \t]*\w+(?:[ \t]\w+)?,[ \t]*|[ \t]*\((?:in|to|rounded)\b[^()\n]{1,30}\)[ \t]*)?"
    r"(?:(?:[:=]|\u2192|\u662f|\u4e3a)[*_`]*(?:[ \t]*\})?|\b(?:is|equals"
    r"|(?:would|should|must|will|has to|turns out to|comes out to|is found to)[ \t]+be"
    rf"|(?:comes|works)(?: out)? to(?: be)?|to be)\b(?:[ \t]*(?::|=|equal to\b))?|{LINK}[ \t]*:?)"
    r"[ \t]*(?:(?:therefore|thus|then|hence|simply|just|clearly|obviously|only|exactly|indeed|given by)\b,?[ \t]*)?"
    rf"(?:{FILLER}[ \t]*){{0,2}}",
    re.IGNORECASE,
)
_HEADED = re.compile(
    rf"(?im)^[ \t]*(?:[#*_]+[ \t]*)?(?:(?:the|final|die|la|a|最终|最終)[ \t]*){{0,2}}{ANSWER}[ \t*_:#]*$(?=\s*\S)"
)
_IS_THE_ANSWER = re.compile(
    r"(?<![\w.,$\\{(-])([-+$(*]{0,4}\d[\d,./]{0,40}[%$)*]{0,4})[ \t]+is[ \t]+(?:the|my|our)[ \t]+"
    r"(?:(?:final|correct|right)[ \t]+)?answer\b",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"(?:\s*\n|(?<=</answer>))\s*([-+$(]{0,3}(?:\d[\d,./]{0,40}|(?!(?i:done|thank|q|end))[A-Za-z][a-z]{0,30}(?!\w))[%$).]{0,3})\s*"
)
_ABOUT = re.compile(r"\A~(?=\s*[-$\d])")
_NOT = re.compile(r"(?:not|never)\b", re.IGNORECASE)
_STATES = re.compile(
    r"(?:[\w ,'$\\]{0,60}\b(?:it|this|that|which|(?:result|solution|total|value|sum|number|amount|ratio|probability|area|perimeter"
    r"|volume|length|difference|product|average|mean|maximum|minimum|cost|price|remainder)(?:\s+of\s+[^\W\d][^\W\d ]{0,40})?)"
    r"\s+(?:is|equals)\b"
    r"|\W*(?:(?:so|thus|hence|therefore)\b,?\s*)?there (?:is|are|was|were|will be)\b"
    r"|(?:\W*(?:final\s+)?(?:result|solution|total|value|output|ans?)\W*:))[\s*:]*(?:equal to\s+)?",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?![^\d]*(?:\b(?:not?|never|nobody|none|nothing|neither|nor|or|if|unless|would|could|might|may|cannot|without)\b|n['\u2019]t))"
    r"(?:that\s+)?[A-Za-z][\w ,'\u2019-]{0,60}?\b(?:is|are|was|were|equals?|has|have|had|makes?|made|earn(?:s|ed)?|needs?|gets?|got"
    r"|costs?|spen[dt]s?|sold|pa(?:id|ys?)|saves?|saved|weighs?|takes?|took"
    r"|runs?|ran|walks?|eats?|ate|drives?|drove|reads?|buys?|bought)\s+(?:a total of\s+|now\s+)?(?=[-$\\(*]*\d)",
    re.IGNORECASE,
)
_REST = re.compile(r"(?:(?!</answer>)[^\n])*", re.IGNORECASE)
_NEXT = re.compile(r"(?:\s|\\\[|\\\(|\$\$)*[^\n]*")
_OPENED = re.compile(r"(?:\s|\\\[|\\\(|\$\$|[-*\u2022]\s+)*")
_REASON = re.compile(
    r"[\s,;(\u2013\u2014-]*\b(?:because|since|as|which|where|weil|denn|car|parce que|porque|perché)\b.*"
    r"|[,;(]\s*(?:i\.e\b|namely\b).*"
    r"|[,;]?\s+and\s+(?:we|that|this|so)\b.*"
    r"|(?:[,(]\s*|\s+)(?:and\s+)?(?:not|rather than|instead of|nicht|non|pas|no|не)\s+[-$\\(*]*(?:\d|[A-J]\b).*",
    re.IGNORECASE,
)
_AFTER_A_VALUE = re.compile(
    r"\s+[-\u2013\u2014]{1,3}\s+(?:[aA]\s|[^\W\d_]{2}).*|;\s+[^\W\d_]{2}.*|,\s+(?!(?:and|or)\b)[a-z]{3,}\b[^\d\\]*\Z|,\s+for\s+.*"
    r"|\s+\((?!\s*(?:mod|base)\b)(?=[^()]*(?<![\\A-Za-z])[^\W\d_]{3})[^()]*\).*"
)
"""Words that explain a number or a formula, and are no part of it."""
_SENTENCE_END = re.compile(r"\.[*_)]*(?=\s|\Z)|。")
_TELLS = re.compile(r"[\d\\]")
_COMMENTED = re.compile(r"(?m)^[ \t]*(?:[>%]|\[//\]:)[^\n]*$|\\verb\*?([|!+/])[^\n]{0,500}?\1")
_LAYOUT = re.compile(r"</?(?:b|i|u|em|strong|p|br|center|span|div)\s*/?>", re.IGNORECASE)
_COLOUR = re.compile(r"\\(?:text)?color\s*\{[^{}]{0,40}\}")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?%?", re.ASCII)
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
_STRUCK = re.compile(r"\\(?:[xb]?cancel|sout|st|[hv]?phantom)\s*(?=\{)")
_HIDDEN = (("```", "```"), ("<!--", "-->"), ("~~", "~~"), ("<s>", "</s>"), ("<del>", "</del>"), ("\\iffalse", "\\fi"),
           ("\\begin{comment}", "\\end{comment}"), ("\\begin{verbatim}", "\\end{verbatim}"))  # fmt: skip
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[A-Za-z_]{1,30}\|>|</s>|<eos>))+\s*\Z")
_BRACE = re.compile(r"\s*(?=\{)")
_TOKEN = re.compile(r"\s*[^\s$,.;]*")
_MINUS = re.compile(r"(?:=\s*-\s*|(?:\A|[\s$(\[])-)\Z")
_UNIT = re.compile(
    r"[ \t$]*(\\text\s*\{[^{}]{1,30}\}|\\?%|\^\s*\{?\\circ\}?|[\u00b0\u00a2]|[A-Za-z]{1,12}(?:/[A-Za-z]{1,4})?(?![A-Za-z]))"
)
_SAID_AFTER = re.compile(
    r"(?<=[\dA-J])\s*(?:です|である|だ|입니다|이다|입니다)[。.]?\Z|(?<=\d)[个個只隻元人张張件天年岁歲次种種名位块塊棵朵条條枚円個人개명원]\Z"
)
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?|[A-Za-z]\([\w,]+\)|[A-Z]{1,3}")
_EQUALS = re.compile(
    r"[\s$*}&]*(?:\\[\])])?\s*=\s*((?:(?!\\\\|\\[\])]|\\end|\\text|\\q?quad|[$,;\n]|\.(?!\d)|\s[A-Za-z]{2}).)+)"
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


def final_answer(
    completion: str, prompt: str = "", extract: Extract = "strict", thinking_marks: ThinkingMarks = ()
) -> tuple[Form, str]:
    """The one final answer, read, and its text; raises NoAnswer when there is none, or several that differ."""
    text = visible(final_text(completion, prompt, thinking_marks))
    answers = marked_answers(text)
    if not answers:
        answers = stated(text)
        if extract == "last_number" and not (answers and _is_number(answers[0])):
            answers = [found[0] for found in _NUMBER.finditer(text)][-1:]
    if not answers:
        raise NoAnswer("no answer is marked by \\boxed{...}, '#### ...', 'Answer: ...' or <answer>...</answer>")
    forms = [read(answer) for answer in answers]
    if not all(_agree(forms[0], form) for form in forms[1:]):
        raise NoAnswer(f"{len(answers)} answers are marked, and they differ")
    return forms[-1], answers[-1]


def marked_answers(text: str, telling: re.Pattern[str] = _TELLS) -> list[str]:
    """The different answers that a text marks, in order; raises NoAnswer when the last is not asserted.

    Beside a box, ``Answer: ...`` is a mark only with something ``telling`` in it.
    """
    marks = _marks(text, telling)
    if not marks:
        return []
    last = marks[-1]
    why = why_not_asserted(text, max(last.start, last.said_from), last.end)
    if why:
        raise NoAnswer(why)
    if text.startswith("\\", last.start) and not _equal_to(last.content, _EQUALS.match(text, last.end)):
        raise NoAnswer("the answer is part of an equation that does not hold")
    after = _ANOTHER.fullmatch(text, last.end)
    said = [mark.content for mark in marks if mark is last or not _NOT.match(mark.content)]
    if after and (not after[1].isalpha() or not re.search(r"\d", last.content)):
        said.append(after[1])
    return list(dict.fromkeys(said))


def _equal_to(content: str, sides: re.Match[str] | None) -> bool:
    """Whether what a box is said to equal is a name, equal to it, or beyond this reader."""
    if sides is None:
        return True
    try:
        form = value_of(read(content))
        return all(
            bool(_NAME.fullmatch(side.strip())) or same(read(side), form, "ignore") for side in sides[1].split("=")
        )
    except (NoAnswer, GoldUnreadable):
        return True


def alone(text: str) -> list[str]:
    """A text of one short line, which is then an answer and nothing else."""
    return [text] if text and "\n" not in text and len(text) <= _MAX_BARE else []


def stated(text: str) -> list[str]:
    """A text that is one answer, or one sentence that states it (``The total is 18.``); raises NoAnswer for a denial."""
    short = alone(_formula_alone(text))
    said = _STATES.match(short[0]) if short else None
    if said is None:
        return short
    content = _cut(short[0][said.end() :])
    start = short[0].find(content, said.end())
    why = why_not_asserted(short[0], start, start + len(content))
    if why:
        raise NoAnswer(why)
    return [content]


def _formula_alone(text: str) -> str:
    """A displayed formula that is the whole text, on one line."""
    shown = re.fullmatch(r"(?:\\\[|\$\$)([^\n$]{0,200}|\n[^\n$]{0,200}\n)(?:\\\]|\$\$)", text)
    return shown[1].strip() if shown else text


def visible(text: str) -> str:
    """The text without what is quoted, commented out or struck through."""
    if text.endswith(">"):
        text = _END_TOKENS.sub("", text[-200:]).join((text[:-200], ""))
    for opening, closing in _HIDDEN:
        text = _without(text, opening, closing)
    text = _COLOUR.sub("", _LAYOUT.sub("", _CALCULATION.sub("", _COMMENTED.sub("", text))))
    for _ in range(_MAX_MARKS):
        struck = _STRUCK.search(text)
        if struck is None:
            break
        text = text[: struck.start()] + text[_closing(text, struck.end()) :]
    return text.strip()


def _marks(text: str, telling: re.Pattern[str]) -> list[Mark]:
    marks = sorted(
        [*boxes(text), *_tags(text), *_hashes(text), *_lines(text)], key=lambda mark: (mark.start, -mark.end)
    )
    if len(marks) > _MAX_MARKS:
        raise NoAnswer(f"more than {_MAX_MARKS} answers are marked")
    marks = [mark for mark in marks if not any(_only_holds(text, mark, inner) for inner in marks)]
    marks = [mark for mark in marks if not _only_heads(text, mark, marks[-1])]
    if any(mark.strong and _TELLS.search(mark.content) for mark in marks):
        # "The answer is as follows": words that lead to the answer.
        marks = [mark for mark in marks if mark.strong or telling.search(mark.content)]
    return marks


def boxes(text: str) -> list[Mark]:
    """The boxes of a text that hold something; raises NoAnswer for one that is not closed."""
    found_boxes = []
    for found in _BOX.finditer(text):
        start = _end(_BRACE, text, found.end())
        if text[start : start + 1] == "{":
            end = _closing(text, start)
            content = text[start + 1 : end - 1]
        else:
            end = _end(_TOKEN, text, start)
            content = text[start:end]
        if content.strip():
            minus = "-" if _MINUS.search(text, max(0, found.start() - 10), found.start()) else ""
            found_boxes.append(Mark(minus + content.strip() + _unit_after(text, end), found.start(), end, True))
        if len(found_boxes) > _MAX_MARKS:
            break
    return found_boxes


def _unit_after(text: str, position: int) -> str:
    """The unit, or the word that scales the number, which follows a box: it belongs to the answer."""
    following = text[position : position + 60]
    if not following.strip(" $.\n"):
        return ""
    if PERCENT.match(following):
        return " percent"
    if scale := SCALE.match(following):
        return f" {scale[1]}"
    unit = _UNIT.match(following)
    return f" {clean(unit[1])}" if unit and read_unit(clean(unit[1])) else ""


def _tags(text: str) -> list[Mark]:
    tags: list[Mark] = []
    lower = text.lower()
    start = lower.find("<answer>")
    while start >= 0 and len(tags) <= _MAX_MARKS:
        stop = lower.find("</answer>", start)
        # A stop string may have cut the closing tag off.
        inner, end = (text[start + 8 : stop], stop + 9) if stop >= 0 else (text[start + 8 :], len(text))
        if inner.strip():
            tags.append(Mark(inner.strip(), start, end, True))
        start = lower.find("<answer>", end)
    return tags


def _hashes(text: str) -> list[Mark]:
    begin = text.find("####")
    if begin < 0:
        return []
    found = (mark for mark in _HASHES.finditer(text, begin) if mark[1].strip() and not _HEADING.match(mark[1]))
    return [Mark(_cut(mark[1]), mark.start(), mark.end(), False) for mark in islice(found, _MAX_MARKS + 1)]


def _lines(text: str) -> list[Mark]:
    begin = _first_word(text)
    if begin < 0:
        return []
    lines = [Mark(found[1], *found.span(), False, said_from=found.start()) for found in _reversed(text, begin)]
    for found in [*_headings(text, begin), *islice(_LINE.finditer(text, begin), _MAX_MARKS + 1)]:
        begin, end = found.end(), _end(_REST, text, found.end())
        if not text[begin:end].strip(" *_`$\\[("):
            end = _end(_NEXT, text, end)
            begin = max(found.end(), text.rfind("\n", 0, end) + 1)
            begin = _end(_OPENED, text, begin)
        kept = _value_said(_cut(text[begin:end]))
        if kept:
            said = text.find(kept, begin)
            lines.append(Mark(kept, found.start(), said + len(kept), False, said_from=said))
        if len(lines) > _MAX_MARKS:
            break
    return lines


def _value_said(content: str) -> str:
    """The number of a short sentence that states it (``She has 18 eggs``), any other content as it is."""
    sentence = _SENTENCE.match(content)
    return content[sentence.end() :] if sentence and _is_number(content[sentence.end() :]) else content


def _first_word(text: str) -> int:
    """Where the first line begins in which an answer is called by a word, -1 without any; found fast."""
    lower = text.lower()
    places = [place for stem in STEMS if (place := lower.find(stem)) >= 0]
    if not places:
        return -1
    # The lower case of a few characters is longer than they are.
    return text.rfind("\n", 0, min(places)) + 1 if len(lower) == len(text) else 0


def _headings(text: str, begin: int) -> Iterator[re.Match[str]]:
    """Lines that are the words "Final Answer" and no more: what follows is the answer."""
    return islice(_HEADED.finditer(text, begin), _MAX_MARKS + 1)


def _reversed(text: str, begin: int) -> Iterator[re.Match[str]]:
    """``18 is the answer``."""
    return islice(_IS_THE_ANSWER.finditer(text, begin), _MAX_MARKS + 1)


def _is_number(answer: str) -> bool:
    try:
        return value_of(read(answer)).number is not None
    except NoAnswer:
        return False


def _agree(one: Form, other: Form) -> bool:
    try:
        return same(one, other)
    except GoldUnreadable:
        return False


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _cut(content: str) -> str:
    """The first sentence of a line, without a reason that follows."""
    start = content[:_MAX_LINE]
    sentence = _SENTENCE_END.split(start, maxsplit=1)[0]
    sentence = re.sub(r"(?<=\d)[$*_]*!\s*\Z", "", sentence)
    kept = _SAID_AFTER.sub("", _ABOUT.sub(r"\\approx ", _REASON.sub("", sentence).strip()))
    explained = _AFTER_A_VALUE.search(kept)
    if explained and re.search(r"[\d\\]", kept[: explained.start()]):
        kept = kept[: explained.start()]
    # A line that is too long to be an answer is handed on as such.
    return content[: MAX_ANSWER + 1] if len(content) > len(start) and kept == start.strip() else kept


def _only_holds(text: str, outer: Mark, inner: Mark) -> bool:
    """Whether a mark only leads to another inside it, as ``Answer: \\boxed{5}`` does, and adds no number of its own."""
    if inner is outer or not (outer.start <= inner.start and inner.end <= outer.end):
        return False
    if (outer.start, outer.end) == (inner.start, inner.end):
        return False
    before, after = text[outer.start : inner.start], text[inner.end : outer.end]
    before = re.sub(r"\A\W*\banswer\b", "", before)
    leads = not re.search(r"\d", before) or before.rstrip(" $\\([{").endswith("=")
    return leads and not re.search(r"\d", after)


def _only_heads(text: str, mark: Mark, last: Mark) -> bool:
    """Whether a mark is a heading "Answer" with a line of prose under it, and the answer comes later."""
    return mark is not last and len(mark.content) > _MAX_WORD and "\n" in text[mark.start : mark.said_from + 1]


def _closing(text: str, start: int) -> int:
    """The position after the brace that closes the one at start; raises NoAnswer when it is not near."""
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


def _without(text: str, opening: str, closing: str) -> str:
    kept, position = [], 0
    while (start := text.find(opening, position)) >= 0:
        stop = text.find(closing, start + len(opening))
        if stop < 0 and closing not in ("```", "-->"):
            break
        kept.append(text[position:start])
        position = len(text) if stop < 0 else stop + len(closing)
    return "".join([*kept, text[position:]])
