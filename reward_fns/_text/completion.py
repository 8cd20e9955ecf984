"""Text as the rewards read it: normalised, and without the reasoning that comes before the
answer.
"""

import numbers
import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from llmpolicy.rewards import RewardError, Score
from llmpolicy.strict_json import MAX_CHARS
from llmpolicy.thinking import Mark, Pairs, begins_in_words, marks, marks_behind, may_hold_marks

_MAX_MARKS = 16
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_HIDDEN = dict.fromkeys(map(ord, _INVISIBLE))
_KEPT = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
_MARKUP = re.compile(
    r"<!--.{0,5000}?(?:-->|\Z)|</?[A-Za-z][^<>]{0,200}>|&(?:[A-Za-z]{2,10}|#\w{1,7});"
    r"|\\(?:[hv]?phantom|[hv]space|[hvm]skip|kern|rule|[xb]?cancel|sout|label"
    r"|color)\*?\s*(?:\{[^{}]{0,200}\})?"
    r"|\\(?:boxed|fbox|text|mbox|hbox|mathrm|mathbf|quad|qquad|n|t|r|left|right|big"
    r"|displaystyle)(?![A-Za-z])",
    re.DOTALL,
)
_OPENING = re.compile(r"[^<>`#]*(?:[.!?:…。！？]\s*|\n\s*)")
_BEFORE_MARKUP = re.compile(r"[^<&\\]{0,200}")
_TAIL = 4_000
_AGAIN = re.compile(r"[<;][\s\\/]*[\w:.-]{0,20}think", re.IGNORECASE)
_BEGINS_WORDS = re.compile(r"(?:\A|\n|[|｜]>|\[/INST\]|assistant)[ \t]*\Z")
_ENDS = re.compile(
    r"(?:\s*<\|(?:im_end|eot_id|eom_id|end|return|endoftext|end_of_text|end_of_turn"
    r"|END_OF_TURN_TOKEN|END_RESPONSE"
    r"|end_of_solution)\|>|\s*<(?:end_of_turn|turn\||/s|eos|｜end▁of▁sentence｜)>)+\s*\Z"
)
_BEGINS = re.compile(r"\s*<\|(?:START_RESPONSE|begin_of_solution)\|>")
_SPECIAL = re.compile(r"<\|(/?)([\w:.-]{1,40})\|>")
_SIDES = re.compile(
    r"(?:\b|_)(?:(begin|start|open|prefix)|end|stop|close|suffix)(?:\b|_)(?:of_)?", re.IGNORECASE
)
_FRAMES = re.compile(
    r"im|header_id|text|sentence|turn|response|solution|answer|box|object_ref|quad|vision|image"
    r"|audio|fim|code|role|content|"
    r".*(?:tool|function|call|action|plugin).*|",
    re.IGNORECASE,
)
"""Pairs of special tokens that are known to hide no thought."""


ThinkingMarks = Sequence[Any]
"""Marks of a user's own around thinking: a pair of texts, what opens a thought and what closes it,
or a list of pairs.
"""


class NoAnswer(ValueError):
    """The completion holds no answer that can be judged; the message says why."""


def passed(right: bool, why: str, parsed: str | None = None) -> Score:
    """1.0 where it is right; else 0.0, and why."""
    if right:
        return Score(1.0, parsed=parsed)
    return Score(0.0, parsed=parsed, why=why)


def check_length(text: str, most: int = MAX_CHARS) -> None:
    """Raise NoAnswer for a text that is too long to be judged."""
    if len(text) > most:
        raise NoAnswer(f"{len(text)} characters are more than {most}")


def normalise(text: str) -> str:
    """NFKC without zero-width characters; raises NoAnswer for a text too long or flooded with
    combining marks.

    Superscripts, fractions and circled digits are kept as they are: 4² is not 42.
    """
    check_length(text)
    if text.isascii():
        return text
    text = text.translate(_HIDDEN)
    # Python orders a run of combining marks in quadratic time.
    if _longest_run_of_marks(text) > _MAX_MARKS:
        raise NoAnswer("a flood of combining marks")
    return "".join(map(_fold, unicodedata.normalize("NFC", text)))


def final_text(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> str:
    """The normalised text outside of the thinking; raises NoAnswer as `after_reasoning` does.

    A prompt that ends in ``<think>``, or in a thought behind it, has opened a block for the
    completion.
    """
    check_length(completion)
    return normalise(after_reasoning(completion, prompt, thinking_marks)).strip()


def reply(completion: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> str:
    """What is not thinking, without the whitespace around it; raises NoAnswer as `after_reasoning`
    does.

    Nothing is normalised, for rewards to which another spelling is another value, such as JSON.
    """
    check_length(completion)
    return after_reasoning(completion, prompt, thinking_marks).strip().strip(_INVISIBLE).strip()


def after_reasoning(text: str, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> str:
    """What stands outside of the thinking, as it is written; raises NoAnswer for a thought that is
    open or malformed.

    A thought stands between the marks of any known family (see `llmpolicy.thinking`), or
    ``thinking_marks``, pairs of one's own. It hides all in it. No text may stand between two, nor
    before the first but whole sentences, which are read too.
    """
    pairs = pairs_of(thinking_marks) if thinking_marks else ()
    opened = _opened_by(prompt, pairs)
    if opened is None and not may_hold_marks(text, pairs) and not begins_in_words(text):
        return text
    start = _behind_think(text, opened)
    if start:
        opened = None
        if not may_hold_marks(text[start:], pairs):
            return text[start:]
    shown, seen, begun = "", start > 0, opened is not None
    for mark in marks_behind(text, start, pairs) if start else marks(text, pairs):
        if opened is not None:
            if mark.closes(opened):
                opened, seen, start = None, True, mark.start if mark.role == "call" else mark.end
            elif mark.begins_again(opened) and (not begun or text[: mark.start].strip()):
                raise NoAnswer("a reasoning block inside another")
            begun = False
        elif mark.is_common and _in_code(text, start, mark.start):
            continue
        elif mark.role == "answer":
            shown, start = shown + text[start : mark.start], mark.end
        elif mark.role == "open":
            shown += text[start : mark.start]
            if shown.strip() and (seen or not _is_whole(shown)):
                raise NoAnswer("an answer before the last reasoning block")
            opened = mark
        elif mark.role == "odd" or (
            mark.role == "close" and (seen or shown.strip() or not mark.plain)
        ):
            raise NoAnswer("a reasoning tag without its partner")
        elif mark.role == "close":
            # The first closing tag may lack its partner: many chat templates open the block in the
            # prompt.
            shown, seen, start = "", True, mark.end
    if opened is not None:
        raise NoAnswer("the reasoning block is not closed")
    return _unframed(shown + text[start:]) if text[start:].strip() else ""


def pairs_of(thinking_marks: ThinkingMarks) -> Pairs:
    """Thinking marks of one's own as pairs; RewardError for what is no list of pairs of two
    different texts.
    """
    alone = all(isinstance(mark, str) for mark in thinking_marks)
    pairs = [thinking_marks] if alone else thinking_marks
    if isinstance(thinking_marks, str) or not all(map(_is_pair, pairs)):
        raise RewardError(
            f"thinking_marks is {thinking_marks!r:.80}; expected pairs of what opens and what"
            ' closes a thought, such as [["<mull>", "</mull>"]].'
        )
    return tuple((str(opens), str(ends)) for opens, ends in pairs)


def _is_pair(pair: Any) -> bool:
    texts = list(map(str, pair)) if isinstance(pair, Sequence) else []
    return len(set(texts)) == len(texts) == 2 and all(map(str.strip, texts))


def gold_text(answer: Any) -> str:
    """The answer of a column as text, numbers included; raises NoAnswer when it is empty or no text
    or number.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | numbers.Number | Decimal):
        raise NoAnswer(f"the answer column holds a {type(answer).__name__}, not text or a number")
    text = normalise(str(answer)).strip()
    if not text or (not isinstance(answer, str) and answer != answer):
        raise NoAnswer("the answer column is empty")
    return text


def says_something(text: str) -> bool:
    """Whether a letter, digit or symbol is left when markup, marks, hidden characters and
    punctuation are gone.
    """
    # No markup begins in front of these, so that a letter there is one that is shown.
    shown = _BEFORE_MARKUP.match(text)
    return any(map(_says, shown[0] if shown else "")) or any(map(_says, without_markup(text)))


def without_markup(text: str) -> str:
    """The text without tags, comments, entities and the commands of LaTeX that show nothing by
    themselves.
    """
    return _MARKUP.sub(" ", text)


def _says(character: str) -> bool:
    kind = unicodedata.category(character)[0]
    return (kind in "LN" or (kind == "S" and character > "\x7f")) and character not in _BLANKS


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
        run += 1
        if not unicodedata.combining(character):
            run = 0
        longest = max(longest, run)
    return longest


def _is_whole(text: str) -> bool:
    """Whether a text is of whole sentences, in which nothing is open that what follows could close,
    and no box.
    """
    for opens, ends in ("{}", "[]", "()"):
        if text.count(opens) != text.count(ends):
            return False
    if text.count("$") % 2 or "boxed" in text:
        return False
    return _OPENING.fullmatch(text) is not None


def _in_code(text: str, start: int, at: int) -> bool:
    """Whether a place behind the last thought stands in a code block, or right behind a quotation
    mark.
    """
    return text[at - 1 : at] in ("`", '"', "'") or text.count("```", start, at) % 2 == 1


def _behind_think(text: str, opened: Mark | None) -> int:
    """The end of a first plain think block, found fast; 0 where the marks must be looked at one by
    one.
    """
    begins = 0
    if opened is None:
        if not text.startswith("<think>"):
            return 0
        begins = len("<think>")
    elif opened.key != "<think" or not opened.plain:
        return 0
    end = text.find("</think>")
    if end < 0 or not text.isascii():
        return 0
    # Most thoughts have neither sign, and a search for one is ten times as fast as the pattern.
    signs = text.find("<", begins, end) >= 0 or text.find(";", begins, end) >= 0
    return 0 if signs and _AGAIN.search(text, begins, end) else end + len("</think>")


def _opened_by(prompt: str, pairs: Pairs) -> Mark | None:
    """The mark behind which the prompt ends inside of a thought: at its end, or where words of the
    reply begin.
    """
    if not prompt or not may_hold_marks(prompt, pairs):
        return None
    tail = prompt[-_TAIL:]
    last = next(iter(deque(marks_behind(tail, own=pairs), maxlen=1)), None)
    if last is None or last.role != "open":
        return None
    spoken = tail[last.end :].strip() and not _BEGINS_WORDS.search(tail[: last.start])
    return None if spoken else last


def _unframed(text: str) -> str:
    """The text without the tokens that frame an answer; raises NoAnswer for a pair of special
    tokens of unknown meaning.
    """
    if text.rstrip().endswith(("|>", "｜>", "<end_of_turn>", "</s>", "<eos>")):
        text = _ENDS.sub("", text)
    if "<|" not in text:
        return text
    if begins := _BEGINS.match(text):
        text = text[begins.end() :]
    sides: dict[str, set[bool]] = {}
    for token in _SPECIAL.finditer(text):
        name, opens, named = token[2], True, _SIDES.search(token[2])
        if token[1] or named:
            name, opens = _SIDES.sub("", name).strip("_"), bool(named and named[1])
        sides.setdefault(name.lower(), set()).add(opens)
    for name, both in sides.items():
        if len(both) == 2 and not _FRAMES.fullmatch(name):
            raise NoAnswer(
                f"what stands between the special tokens for {name!r} may be no part of the answer"
            )
    return text
