"""Text as the rewards read it: normalised, and without the reasoning that comes before the answer."""

import numbers
import re
import unicodedata
from decimal import Decimal
from typing import Any

MAX_CHARS = 200_000
"""A longer completion is judged wrong unread."""

_MAX_MARKS = 16
_HIDDEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_KEPT = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
_MARKUP = re.compile(
    r"<!--.{0,5000}?(?:-->|\Z)|</?[A-Za-z][^<>]{0,200}>|&(?:[A-Za-z]{2,10}|#\w{1,7});"
    r"|\\(?:[hv]?phantom|[hv]space|[hvm]skip|kern|rule|[xb]?cancel|sout|label|color)\*?\s*(?:\{[^{}]{0,200}\})?"
    r"|\\(?:boxed|fbox|text|mbox|hbox|mathrm|mathbf|quad|qquad|n|t|r|left|right|big|displaystyle)(?![A-Za-z])",
    re.DOTALL,
)
_REASONING = re.compile(r"<(/?)(think|thinking|thought|reasoning|reflection|scratchpad)>", re.IGNORECASE)


class NoAnswer(ValueError):
    """The completion holds no answer that can be judged; the message says why."""


def normalise(text: str) -> str:
    """NFKC without zero-width characters; raises NoAnswer for a text too long or flooded with combining marks.

    Superscripts, fractions and circled digits are kept as they are: 4² is not 42.
    """
    if len(text) > MAX_CHARS:
        raise NoAnswer(f"{len(text)} characters are more than {MAX_CHARS}")
    if text.isascii():
        return text
    text = text.translate(_HIDDEN)
    # Python orders a run of combining marks in quadratic time.
    if _longest_run_of_marks(text) > _MAX_MARKS:
        raise NoAnswer("a flood of combining marks")
    return "".join(map(_fold, unicodedata.normalize("NFC", text)))


def final_text(completion: str, prompt: str = "") -> str:
    """The normalised text after the last closed reasoning block; raises NoAnswer when a block is open or malformed.

    A prompt that ends in ``<think>`` has opened a block for the completion.
    """
    return after_reasoning(normalise(completion), prompt).strip()


def after_reasoning(text: str, prompt: str = "") -> str:
    """What stands after the last closed reasoning block, as it is written; raises NoAnswer as `final_text` does."""
    end, opened = 0, _opened_by(prompt)
    seen = False
    for tag in _REASONING.finditer(text) if "<" in text else ():
        name = tag[2].lower()
        if not tag[1]:
            if opened:
                raise NoAnswer("a reasoning block inside another")
            if seen and text[end : tag.start()].strip():
                raise NoAnswer("an answer before the last reasoning block")
            opened = name
        elif opened != name and (opened or seen):
            raise NoAnswer("a reasoning tag without its partner")
        else:
            # The first closing tag may lack its partner: many chat templates open the block in the prompt.
            opened, seen, end = "", True, tag.end()
    if opened:
        raise NoAnswer("the reasoning block is not closed")
    return text[end:]


def gold_text(answer: Any) -> str:
    """The answer of a column as text, numbers included; raises NoAnswer when it is empty or no text or number."""
    if isinstance(answer, bool) or not isinstance(answer, str | numbers.Number | Decimal):
        raise NoAnswer(f"the answer column holds a {type(answer).__name__}, not text or a number")
    text = normalise(str(answer)).strip()
    if not text or (not isinstance(answer, str) and answer != answer):
        raise NoAnswer("the answer column is empty")
    return text


def says_something(text: str) -> bool:
    """Whether a letter, digit or symbol is left when markup, marks, hidden characters and punctuation are gone."""
    kinds = ((character, unicodedata.category(character)[0]) for character in without_markup(text))
    return any(
        kind in "LN" or (kind == "S" and character > "\x7f") for character, kind in kinds if character not in _BLANKS
    )


def without_markup(text: str) -> str:
    """The text without tags, comments, entities and the commands of LaTeX that show nothing by themselves."""
    return _MARKUP.sub(" ", text)


def _fold(character: str) -> str:
    # A Roman numeral is a letter only to the eye.
    if (
        character < "\x80"
        or "\u2160" <= character <= "\u217f"
        or unicodedata.decomposition(character).startswith(_KEPT)
    ):
        return character
    return unicodedata.normalize("NFKC", character)


def _longest_run_of_marks(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        longest = max(longest, run)
    return longest


def _opened_by(prompt: str) -> str:
    tag = re.search(r"<(think|thinking|thought|reasoning|reflection|scratchpad)>\s*\Z", prompt[-40:], re.IGNORECASE)
    return tag[1].lower() if tag else ""
