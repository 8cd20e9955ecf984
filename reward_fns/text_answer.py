"""Short answers in words, with several golds: the same text once normalised, or the F1 of its
tokens.

The measures are those of SQuAD (arXiv 1606.05250, section 6.1), with two repairs: a number keeps
its sign and its decimal point, and an answer that denies is not the answer that it denies.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import filterfalse
from operator import eq
from typing import Any

from llmpolicy.rewards import Score, reward
from llmpolicy.strict_json import NotJson

from ._answers.final import marked_answers, stated, visible
from ._answers.marks import TELLS, all_marks
from ._json.document import gold
from ._text.completion import NoAnswer, ThinkingMarks, final_text, gold_text, normalise

_NUMBER = re.compile(r"(?<![\w.])([-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?)(?!\w)")
_INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.)+[^\W\d_](?![^\W_])\.?")
_FORMULA = re.compile(r"\$([^$\n]*)\$")
_WHOLLY_IN = re.compile(r"\s*(\\\{|[\[({]).*(\\\}|[\])}])\s*", re.DOTALL)
_ARTICLES = frozenset(("a", "an", "the"))
_DENIALS = frozenset(("not", "no", "never", "none", "neither", "nor", "without", "cannot"))
_VERBS = frozenset(
    ("is", "are", "was", "were", "does", "do", "did", "has", "have", "had", "could", "would")
)
_WHOLE = frozenset(("yes", "no", "noanswer"))
"""Answers of which a part is no answer (HotpotQA, arXiv 1809.09600, scores them so)."""

_MAX_CHARS, _MAX_TOKENS = 5_000, 500
Measure = Callable[[Sequence[str], Sequence[str]], float]
"""What the tokens of an answer are worth beside those of a gold."""

_GOLDS = ["Niels Bohr", "Bohr"]


@reward(
    passes=[
        {"completion": "Answer: the Eiffel Tower", "answer": "Eiffel Tower"},
        {"completion": "<think>Bohr?</think><answer>Niels Bohr.</answer>", "answer": _GOLDS},
        {"completion": "paris", "answer": "Paris"},
        {"completion": "-3.5 %", "answer": "-3.5%"},
    ],
    fails=[
        {"completion": "", "answer": "Paris"},
        {"completion": "Paris or London", "answer": "Paris"},
        {"completion": "35", "answer": "3.5"},
        {"completion": "<answer>Paris</answer> <answer>London</answer>", "answer": "Paris"},
    ],
    range=(0, 1),
    kind="answer",
    formats=("{}", "<answer>{}</answer>", "Answer: {}"),
)
def match(
    completion: str, answer: Any, prompt: str = "", thinking_marks: ThinkingMarks = ()
) -> Score:
    """1.0 when the answer is one of the golds, up to case, punctuation, articles and spaces; else
    0.0.

    The answer is what the completion marks (``<answer>``, ``\\boxed{}``, ``Answer:``), else all
    that stands after the thinking. ``answer`` is a text, a number, or a list of them; None where it
    holds nothing.
    """
    return _best(completion, answer, prompt, thinking_marks, eq)


@reward(
    passes=[
        {"completion": "Answer: the Eiffel Tower", "answer": "Eiffel Tower"},
        {"completion": "<answer>Bohr</answer>", "answer": _GOLDS},
    ],
    fails=[
        {"completion": "", "answer": "Paris"},
        {"completion": "London", "answer": "Paris"},
        {"completion": "not Paris", "answer": "Paris"},
        {"completion": "yes, in Paris", "answer": "yes"},
    ],
    range=(0, 1),
    kind="style",
)
def f1(completion: str, answer: Any, prompt: str = "", thinking_marks: ThinkingMarks = ()) -> Score:
    """The best F1 = 2PR / (P + R) over the golds, P and R the shares of the answer's and the gold's
    tokens in common.

    0.0 for an answer that denies where the gold does not, and for another answer than a gold of yes
    or no. A part of the gold is paid in part, so weigh it as shaping beside `match`. What is read
    is as in `match`.
    """
    return _best(completion, answer, prompt, thinking_marks, _f1)


def _best(
    completion: str, answer: Any, prompt: str, thinking_marks: ThinkingMarks, measure: Measure
) -> Score:
    try:
        golds = list(map(tokens, _golds(answer)))
    except NoAnswer as reason:
        return Score(None, why=str(reason))
    try:
        text = _answer(final_text(completion, prompt, thinking_marks))
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    answered = tokens(text)
    if not answered or len(answered) > _MAX_TOKENS:
        return Score(0.0, why=f"{len(answered)} tokens; expected 1 to {_MAX_TOKENS}")
    value = max(float(measure(answered, right)) for right in golds)
    return Score(value, parsed=text[:200], why="" if value else "none of the golds")


def _answer(text: str) -> str:
    """The one answer that a text marks, else all of it; raises NoAnswer for several that differ."""
    text = visible(text)
    answers = marked_answers(text)
    length = _length_of_last_mark(text) if answers else len(text)
    if length > _MAX_CHARS:
        raise NoAnswer(f"an answer of {length} characters; at most {_MAX_CHARS} are read")
    answers = answers or stated(text) or [text]
    if len({tuple(tokens(answer)) for answer in answers}) > 1:
        raise NoAnswer(f"{len(answers)} answers are marked, and they differ")
    return answers[-1]


def _length_of_last_mark(text: str) -> int:
    """The characters from the last mark to the end of its line: a long reply may mark a short
    answer, but none that is flooded.
    """
    mark = all_marks(text, TELLS)[-1]
    return len(text[mark.start : mark.end]) + len(text[mark.end :].partition("\n")[0])


def _golds(answer: Any) -> list[str]:
    """The texts of the answer column; raises NoAnswer for none, or for one with nothing in it."""
    if isinstance(answer, str) and answer.lstrip().startswith("["):
        try:
            answer = gold(answer)
        except NotJson:
            answer = [answer]
    several = isinstance(answer, Sequence) and not isinstance(answer, str)
    texts = list(map(gold_text, answer if several else [answer]))
    if not texts or not all(map(tokens, texts)):
        raise NoAnswer(
            f"the answer column holds {str(answer)[:60]!r}; expected one text or several, none of"
            " them empty"
        )
    return texts


def tokens(text: str) -> list[str]:
    """The words, numbers and signs of value of a text, in lower case and without articles unless
    nothing else is there.

    Brackets count where they stand around all of it: a set is no pair.
    """
    plain = _FORMULA.sub(r"\1", normalise(text).casefold().replace("\u2212", "-"))
    plain = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), plain)
    whole = _WHOLLY_IN.fullmatch(plain)
    parts = _NUMBER.split(plain)
    words = _words(parts[0])
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        words += [number.replace(",", ""), *_words(text)]
    words = list(filterfalse(_ARTICLES.__contains__, words)) or words
    return [*whole.groups(), *words] if whole else words


def _words(text: str) -> list[str]:
    """What stands between spaces and punctuation; letters keep their marks, C++ and C# their
    signs.
    """
    text = re.sub(r"[\u2019']", "", re.sub(r"(?<![^\W\d_])#|#(?=\w)", " ", text))
    return text.translate({ord(sign): _parted(sign) for sign in set(text)}).split()


def _parted(sign: str) -> str:
    """A sign of value as a word of its own, a space or punctuation as a gap, all else as it is."""
    kind = unicodedata.category(sign)
    if sign == "%" or kind == "Sc":
        return f" {sign} "
    if sign in "`|~^" or (sign != "#" and kind[0] in "PZC"):
        return " "
    return sign


def _f1(words: Sequence[str], right: Sequence[str]) -> float:
    if words == right:
        return 1.0
    for whole in (words, right):
        if len(whole) == 1 and whole[0] in _WHOLE:
            return 0.0
    if _denied(words) - _denied(right):
        return 0.0
    common = sum((Counter(words) & Counter(right)).values())
    return 2 * common / (len(words) + len(right))


def _denied(words: Sequence[str]) -> set[str]:
    contracted = {word for word in words if word.endswith("nt") and word[:-2] in _VERBS}
    return contracted | _DENIALS.intersection(words)
