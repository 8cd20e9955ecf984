"""Multiple choice: the final answer is one letter, alone or with the text of its choice."""

import re
import string
from typing import Any, Literal

from llmpolicy.rewards import RewardError, Score, reward

from ._answers.assertion import why_not_asserted
from ._answers.final import alone, marked_answers, visible
from ._maths.forms import MAX_ANSWER
from ._maths.latex import clean
from ._text.completion import NoAnswer, ThinkingMarks, final_text, gold_text, passed

_MAX_LINE = 100
_LETTER = re.compile(r"(?:(?:option|choice|letter)\s+)?[(\[]?\s*([A-Z])\s*[)\]]?:?", re.IGNORECASE)
_WITH_TEXT = re.compile(
    r"(?:(?:option|choice)\s+)?(?:\(([A-Z])\)|([A-Z])(?:\s*[).:]|(?:,(?=\s+\w{2})"
    r"|\s+[-\u2014](?=\s+\w{2})|(?=\s+\([^()]*\)\Z))(?!.*\b[A-Z]\b)))[\s*_]+(\S.*)",
    re.DOTALL,
)
_SPOKEN = re.compile(
    r"(?:\W*(?:so|thus|hence|therefore)\b)?\W*(?:(?:(?:only|choose|select|pick"
    r"|i(?:['\u2019]d| would| will|['\u2019]ll)?\s+(?:choose|pick|select|go with|say))"
    r"|it(?:['\u2019]s| is)|it must be|my (?:choice|pick)(?:\s+is|:))\s+)?"
    r"\W*(?:(?:option|choice|letter|antwort|opción)\s+)?\W*(?-i:([A-Z]))(?!\w)"
    r"(?:[)*_\s]*\s[-\u2013\u2014]+\s+(?-i:(?!.*\b[A-J]\b))[^\n]*"
    r"|\W*(?:\s+(?:is|ist|es|est)\s+(?:the\s+)?(?:(?:correct|right|best|richtig|correcta?"
    r"|exacte)\b\s*)?(?:answer|option|choice|one)?)?[.!*_)\s]*)"
    r"|(?:故|因此|所以|综上|应|答案?|我|，|,|\s)*选择?[:：]?\s*\(?(?-i:([A-J]))\)?[。.*]*",
    re.IGNORECASE,
)
_TELLS = re.compile(r"[\d\\]|\A\W*[A-J]\b")
_FORMULA = re.compile(r"\\[A-Za-z]{2,}|[\d=^_+]|\s[<>]\s")
_FONT = re.compile(r"\\(?:text\w*|math(?:rm|bf|it)|left|right|boxed|quad|[,;: ])")
_ANOTHER = re.compile(
    r"(?<![A-Za-z])\(?[A-Z][).:](?!\w)|\b(?:or|and)\s+\(?[A-Z]\b(?![a-z'])"
    r"|[/,&]\s*\(?[A-Z]\b(?!\s*[a-z'])"
)


@reward(
    passes=[
        {"completion": "<think>Not A.</think>The correct option is (C).", "answer": "C"},
        {"completion": "Answer: C) Rome", "answer": 2, "choices": ["London", "Paris", "Rome"]},
        {"completion": "\\boxed{\\text{B}}", "answer": "(B)"},
        {
            "completion": "First I thought \\boxed{C}, but the answer is \\boxed{E}",
            "answer": "E",
            "several": "last",
        },
    ],
    fails=[
        {"completion": "A, B, C or D", "answer": "C"},
        {"completion": "Answer: C) Paris", "answer": 2, "choices": ["London", "Paris", "Rome"]},
        {"completion": "The answer is not C.", "answer": "C"},
        {"completion": "", "answer": "C"},
        {"completion": "\\boxed{C}, no, \\boxed{A}", "answer": "C", "several": "last"},
    ],
    range=(0, 1),
    kind="answer",
    formats=("{}", "({})", "Answer: {}", "The answer is {}.", "\\boxed{{}}", "<answer>{}</answer>"),
)
def correct(
    completion: str,
    answer: Any,
    choices: Any = None,
    prompt: str = "",
    several: Literal["agree", "last"] = "agree",
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """1.0 when the one asserted final answer is the letter of the answer column, else 0.0.

    The answer column holds a letter (``C`` or ``(C)``) or the index of the choice, counted from 0.
    The final answer is marked as for ``math_answer:correct``, or is the whole completion. With the
    column ``choices``, text beside the letter must be the text of that choice; without it, it must
    not name another letter. None for any other column. Several marked answers must agree; with
    ``several="last"`` the last counts. RewardError for another value of it.
    """
    if several not in ("agree", "last"):
        raise RewardError(
            f"multiple_choice:correct got several {several!r}; expected 'agree' or 'last'."
        )
    gold = _gold_letter(answer, choices)
    if gold is None:
        return Score(
            None, why=f"the answer column holds {str(answer)[:40]!r}, not a letter or an index"
        )
    try:
        text = visible(final_text(completion, prompt, thinking_marks))
        answers = marked_answers(text, _TELLS, several) or spoken(text) or alone(text)
        letters = {_letter(content, choices) for content in _of_choices(answers, choices)}
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    if not letters:
        return Score(0.0, why="no answer is marked")
    if len(letters) > 1 or None in letters:
        return Score(0.0, parsed=answers[-1][:200], why="not one letter")
    return passed(letters == {gold}, "", letters.pop())


def spoken(text: str) -> list[str]:
    """The letter that the last line names in a few words: ``I choose C.``, ``Option C is
    correct.``
    """
    line = text.rpartition("\n")[2]
    if len(line) > _MAX_LINE or len(re.findall(r"[^\W\d_]", line)) < 2:
        return []
    sentence = _SPOKEN.fullmatch(line)
    if sentence is None:
        return []
    start, letter = len(text) - len(line), sentence.lastindex or 1
    why = why_not_asserted(text, start + sentence.start(letter), start + sentence.end(letter))
    if why:
        raise NoAnswer(why)
    return [sentence[letter]]


def _of_choices(answers: list[str], choices: Any) -> list[str]:
    """The answers without the formulas that lead to the last one, when that is a letter."""
    if len(answers) < 2 or _letter(answers[-1], choices) is None:
        return answers
    kept = []
    for answer in answers:
        if _letter(answer, choices) or not _FORMULA.search(_FONT.sub(" ", answer)):
            kept.append(answer)
    return kept


def _gold_letter(answer: Any, choices: Any) -> str | None:
    try:
        text = gold_text(answer)
    except NoAnswer:
        return None
    bare = text.strip("()[]. ")
    if bare.isascii() and bare.isdigit():
        return string.ascii_uppercase[int(bare)] if int(bare) < 26 else None
    if re.fullmatch("[A-Za-z]", bare):
        return bare.upper()
    letter = _index_of(text, choices)
    if letter is None and _WITH_TEXT.fullmatch(text):
        return _letter(text, choices)
    return letter


def _letter(content: str, choices: Any) -> str | None:
    if len(content) > MAX_ANSWER:
        return None
    text = clean(content).strip("$ ")
    alone = _LETTER.fullmatch(text)
    if alone:
        return alone[1].upper()
    beside = _WITH_TEXT.fullmatch(text)
    if beside is None:
        return _index_of(text, choices)
    letter, words = beside[1] or beside[2], beside[3]
    index = string.ascii_uppercase.index(letter)
    if choices is None:
        return None if _ANOTHER.search(words) else letter
    if index < len(choices) and _plain(words.strip("()")) == _plain(str(choices[index])):
        return letter
    return None


def _index_of(text: str, choices: Any) -> str | None:
    """The letter of the one choice with this text."""
    plain = [_plain(str(choice)) for choice in choices or ()]
    if plain.count(_plain(text)) != 1:
        return None
    index = plain.index(_plain(text))
    return string.ascii_uppercase[index] if index < 26 else None


def _plain(text: str) -> str:
    return " ".join(clean(text).casefold().split())
