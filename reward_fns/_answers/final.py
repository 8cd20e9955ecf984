"""The answer that a completion marks and asserts, or that is all there is."""

import re
from dataclasses import replace
from itertools import zip_longest
from typing import Literal

from .._maths.forms import Form, GoldUnreadable, read, same, value_of
from .._text.completion import NoAnswer, ThinkingMarks, final_text
from .assertion import why_not_asserted
from .marks import MAX_MARKS, TELLS, Mark, all_marks, brace_end, first_sentence, is_number

Locale = Literal["en", "de", "fr", "es", "pt", "it", "ru", "zh", "ja", "ko"]
Extract = Literal["strict", "last_number"]
Several = Literal["agree", "last", "list"]
_MAX_BARE = 200
_ANOTHER = re.compile(
    r"(?:\s*\n|(?<=</answer>))\s*([-+$(]{0,3}(?:\d[\d,./]{0,40}|(?!(?i:done|thank|q"
    r"|end))[A-Za-z][a-z]{0,30}(?!\w))[%$).]{0,3})\s*"
)
_NOT = re.compile(r"(?:not|never)\b", re.IGNORECASE)
_STATES = re.compile(
    r"(?:[\w ,'$\\]{0,60}\b(?:it|this|that|which"
    r"|(?:result|solution|total|value|sum|number|amount|ratio|probability|area|perimeter|volume"
    r"|length|difference|product|average|mean|maximum|minimum|cost|price|remainder)"
    r"(?:\s+of\s+[^\W\d][^\W\d ]{0,40})?)"
    r"\s+(?:is|equals)\b"
    r"|\W*(?:(?:so|thus|hence|therefore)\b,?\s*)?there (?:is|are|was|were|will be)\b"
    r"|(?:\W*(?:final\s+)?(?:result|solution|total|value|output|ans?)\W*:))[\s*:]*(?:equal to\s+)?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"(?:[\s$,;]|\\[()\[\],;]|\\q?quad)*(?:(?:\\text\w*\s*\{\s*)?(?:and|or|und|oder|y|o|et|ou|e|и"
    r"|или|和"
    r"|或)(?:\s*\})?(?:[\s$]|\\[(\[,;])*)?"
    r"(?:[A-Za-z](?:_\w|_\{\w+\})?\s*=\s*)?(?:\$|\\[(\[])?"
)
"""What stands between two boxes of one list."""
_BRACKET = re.compile(r"(?:(?<!\\)[(\[]|\\\{)[\s$]*\Z")
_WORD = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{\w+\}|\\[A-Za-z]+")
_COMMENTED = re.compile(r"(?m)^[ \t]*(?:[>%]|\[//\]:)[^\n]*$|\\verb\*?([|!+/])[^\n]{0,500}?\1")
_LAYOUT = re.compile(r"</?(?:b|i|u|em|strong|p|br|center|span|div)\s*/?>", re.IGNORECASE)
_COLOUR = re.compile(r"\\(?:text)?color\s*\{[^{}]{0,40}\}")
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?%?", re.ASCII
)
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
_STRUCK = re.compile(r"\\(?:[xb]?cancel|sout|st|[hv]?phantom)\s*(?=\{)")
_HIDDEN = (
    ("```", "```"),
    ("<!--", "-->"),
    ("~~", "~~"),
    ("<s>", "</s>"),
    ("<del>", "</del>"),
    ("\\iffalse", "\\fi"),
    ("\\begin{comment}", "\\end{comment}"),
    ("\\begin{verbatim}", "\\end{verbatim}"),
)
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[A-Za-z_]{1,30}\|>|</s>|<eos>))+\s*\Z")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?|[A-Za-z]\([\w,]+\)|[A-Z]{1,3}")
_EQUALS = re.compile(
    r"[\s$*}&]*(?:\\[\])])?\s*=\s*((?:(?!\\\\|\\[\])]|\\end|\\text|\\q?quad|[$,;\n]|\.(?!\d)"
    r"|\s[A-Za-z]{2}).)+)"
)
_COMMA, _POINT_GROUPS = {"de", "fr", "es", "pt", "it", "ru"}, {"de", "es", "pt", "it"}
_GROUPED = r"\d{1,3}(?:\.\d{3})+(?![\d.])"
_WRITTEN_NUMBER = re.compile(
    rf"(?<![\w.,([])(?<!\\\{{)({_GROUPED}|\d+)(?:(?:,|\{{,\}})(\d+))?(?![.,]?\d|,\w)",
    re.ASCII,
)


def final_answer(
    completion: str,
    prompt: str = "",
    extract: Extract = "strict",
    several: Several = "agree",
    locale: Locale = "en",
    thinking_marks: ThinkingMarks = (),
) -> tuple[Form, str]:
    """The one final answer, read, and its text; raises NoAnswer when there is none, or several that
    differ.
    """
    text = localised(visible(final_text(completion, prompt, thinking_marks)), locale)
    answers = listed_answers(text) if several == "list" else marked_answers(text, several=several)
    if not answers:
        answers = stated(text)
        if extract == "last_number" and (not answers or _is_prose(answers[0])):
            answers = [number[0] for number in _NUMBER.finditer(text)][-1:]
    if not answers:
        raise NoAnswer(
            "no answer is marked by \\boxed{...}, '#### ...', 'Answer: ...' or <answer>...</answer>"
        )
    if several == "list":
        return read(", ".join(answers)), ", ".join(answers)
    forms = [read(answer) for answer in answers]
    if not all(_agree(forms[0], form) for form in forms[1:]):
        raise NoAnswer(f"{len(answers)} answers are marked, and they differ")
    return forms[-1], answers[-1]


def marked_answers(
    text: str, telling: re.Pattern[str] = TELLS, several: Several = "agree"
) -> list[str]:
    """The different answers that a text marks, in order, or the last; raises NoAnswer when the last
    is not asserted.

    Beside a box, ``Answer: ...`` is a mark only with something ``telling`` in it.
    """
    marks = all_marks(text, telling)
    if not marks:
        return []
    last = marks[-1]
    _must_be_asserted(text, last)
    if several == "last":
        return [last.content]
    contents = [mark.content for mark in marks if mark is last or not _NOT.match(mark.content)]
    return list(dict.fromkeys(contents))


def listed_answers(text: str) -> list[str]:
    """The answers that a text marks one by one, as members of one list; raises NoAnswer when one is
    not asserted.
    """
    marks = [mark for mark in all_marks(text, TELLS) if not _NOT.match(mark.content)]
    begin, joined = 0, False
    for mark, following in zip_longest(marks, marks[1:]):
        start = max(mark.start, mark.said_from)
        if not joined:
            begin = start
        joined = bool(following and _BETWEEN.fullmatch(text, mark.end, following.start))
        if not joined:
            if begin < start and _BRACKET.search(text, max(0, begin - 10), begin):
                raise NoAnswer("the answers are parts of a larger expression")
            # Members that follow each other are led to together: "x is 1 or 2".
            member = replace(mark, start=begin, end=begin + mark.end - start, said_from=-1)
            _must_be_asserted(text[:begin] + text[start:], member)
    return list(dict.fromkeys(mark.content for mark in marks))


def _is_prose(answer: str) -> bool:
    """Whether a short text is a sentence with a number in it, and no number or formula by
    itself.
    """
    if is_number(answer) or not _NUMBER.search(answer):
        return False
    return len(_WORD.findall(_COMMAND.sub(" ", answer))) > 1


def _must_be_asserted(text: str, mark: Mark) -> None:
    why = why_not_asserted(text, max(mark.start, mark.said_from), mark.end)
    if why:
        raise NoAnswer(why)
    if text.startswith("\\", mark.start) and not _equal_to(
        mark.content, _EQUALS.match(text, mark.end)
    ):
        raise NoAnswer("the answer is part of an equation that does not hold")
    another = _ANOTHER.fullmatch(text, mark.end)
    if another is None or (another[1].isalpha() and re.search(r"\d", mark.content)):
        return
    if not _same(another[1], mark.content):
        raise NoAnswer("another value follows the marked answer")


def _equal_to(content: str, sides: re.Match[str] | None) -> bool:
    """Whether what a box is said to equal is a name, equal to it, or beyond this reader."""
    if sides is None:
        return True
    try:
        form = value_of(read(content))
        for side in sides[1].split("="):
            if not _NAME.fullmatch(side.strip()) and not same(read(side), form, "ignore"):
                return False
    except (NoAnswer, GoldUnreadable):
        pass
    return True


def alone(text: str) -> list[str]:
    """A text of one short line, which is then an answer and nothing else."""
    return [text] if text and "\n" not in text and len(text) <= _MAX_BARE else []


def stated(text: str) -> list[str]:
    """A text that is one answer, or one sentence that states it (``The total is 18.``); raises
    NoAnswer for a denial.
    """
    answers = alone(_formula_alone(text))
    for line in answers:
        if states := _STATES.match(line):
            content = first_sentence(line[states.end() :])
            start = line.find(content, states.end())
            if why := why_not_asserted(line, start, start + len(content)):
                raise NoAnswer(why)
            return [content]
    return answers


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
    for _ in range(MAX_MARKS):
        struck = _STRUCK.search(text)
        if struck is None:
            break
        text = text[: struck.start()] + text[brace_end(text, struck.end()) :]
    return text.strip()


def _same(another: str, marked: str) -> bool:
    try:
        return _agree(read(another), read(marked))
    except NoAnswer:
        return False


def _agree(form: Form, later: Form) -> bool:
    try:
        return same(form, later)
    except GoldUnreadable:
        return False


def _without(text: str, opening: str, closing: str) -> str:
    kept, position = "", 0
    while (start := text.find(opening, position)) >= 0:
        kept += text[position:start]
        stop = text.find(closing, start + len(opening))
        if stop < 0:
            return kept if closing in ("```", "-->") else kept + text[start:]
        position = stop + len(closing)
    return kept + text[position:]


def localised(text: str, locale: Locale) -> str:
    """The text with its numbers as English writes them, for a locale with a decimal comma.

    A comma right behind an opening bracket's first number, as in ``(1,2)``, still separates; so
    does one before a space.
    """
    if locale not in _COMMA:
        return text
    grouped = locale in _POINT_GROUPS
    return _WRITTEN_NUMBER.sub(_in_groups if grouped else _with_point, text)


def _with_point(number: re.Match[str]) -> str:
    return ".".join(filter(None, number.groups()))


def _in_groups(number: re.Match[str]) -> str:
    return ".".join(filter(None, (number[1].replace(".", ""), number[2])))
