"""The verifiable instructions of IFEval (arXiv 2311.07911, table 1): a check of a reply for each,
by the name it has there.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from llmpolicy.errors import nearest
from llmpolicy.strict_json import NotJson

from .._json.document import gold
from .._text.completion import NoAnswer
from .languages import is_in, known

Check = Callable[..., bool]

CHECKS: dict[str, Check] = {}
"""By the name of an instruction, what tells whether a reply follows it; parameters are named as in
IFEval's rows.
"""

_SENTENCE_END = re.compile(
    r"[.!?\u3002\uff01\uff1f]+[\"'\u201d\u2019)*_]*(?=\s|\Z)|[\u3002\uff01\uff1f]"
)
_ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|jr|sr|inc|no|[a-z])\.\Z", re.IGNORECASE
)
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def instruction(name: str) -> Callable[[Check], Check]:
    """Register a check under the name of its instruction."""

    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


def read(instructions: Any, arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    """The instructions of a row with their arguments; raises NoAnswer for one that is unknown or
    lacks an argument.
    """
    names = _listed(instructions)
    rows = _listed(arguments) or [{}] * len(names)
    if not names or len(names) != len(rows):
        raise NoAnswer(
            f"{len(names)} instructions and {len(rows)} mappings of arguments; expected as many of"
            " both"
        )
    return [_checked(str(name), row) for name, row in zip(names, rows, strict=True)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = gold(value)
        except NotJson as error:
            raise NoAnswer(f"the instructions cannot be read: {error}") from error
    return [value] if isinstance(value, str) else list(value or ())


def _checked(name: str, row: Any) -> tuple[str, dict[str, Any]]:
    """One instruction with the arguments that its check takes; a dataset fills those that it does
    not with None.
    """
    if name not in CHECKS:
        raise NoAnswer(f"there is no instruction {name!r}{nearest(name, CHECKS)}")
    if not isinstance(row, Mapping):
        raise NoAnswer(
            f"the instruction {name!r} has the arguments {row!r:.60}; expected a mapping"
        )
    code = CHECKS[name].__code__
    takes = code.co_varnames[1 : code.co_argcount]
    arguments = {}
    for parameter in takes:
        if row.get(parameter) is None:
            raise NoAnswer(f"the instruction {name!r} has no {parameter!r}")
        arguments[parameter] = row[parameter]
    try:
        CHECKS[name]("word", **arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise NoAnswer(
            f"the instruction {name!r} cannot be checked with {arguments!r:.80}: {error}"
        ) from error
    return name, arguments


def _compared(count: int, relation: str, bound: int) -> bool:
    """The two relations that IFEval has."""
    if relation not in ("at least", "less than"):
        raise ValueError(f"the relation {relation!r} is not 'at least' or 'less than'")
    return count >= bound if relation == "at least" else count < bound


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _occurrences(text: str, word: str) -> int:
    """How often a word or phrase stands in a text as such, and not within another word."""
    if not str(word).strip():
        raise ValueError("an empty keyword")
    pattern = re.escape(word)
    if word[0].isalnum():
        pattern = rf"(?<!\w){pattern}"
    if word[-1].isalnum():
        pattern = rf"{pattern}(?!\w)"
    return len(re.findall(pattern, text, re.IGNORECASE))


def sentences(text: str) -> int:
    """The number of sentences: ends of one, but for abbreviations and initials, and what stands
    after the last.
    """
    count = position = 0
    for stop in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text, max(0, stop.start() - 10), stop.start() + 1):
            count, position = count + 1, stop.end()
    return count + bool(re.search(r"\w", text[position:]))


def paragraphs(text: str, separator: str = r"\n\s*\n") -> list[str]:
    """The parts between separators; an empty one is none."""
    return list(filter(None, map(str.strip, re.split(separator, text))))


@instruction("keywords:existence")
def _keywords(text: str, keywords: list[str]) -> bool:
    return min(_occurrences(text, word) for word in keywords) > 0


@instruction("keywords:frequency")
def _frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compared(_occurrences(text, keyword), relation, frequency)


@instruction("keywords:forbidden_words")
def _forbidden(text: str, forbidden_words: list[str]) -> bool:
    return sum(_occurrences(text, word) for word in forbidden_words) == 0


@instruction("keywords:letter_frequency")
def _letters(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    if len(letter) != 1:
        raise ValueError(f"{letter!r} is not one letter")
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


@instruction("language:response_language")
def _language(text: str, language: str) -> bool:
    if not known(language):
        raise ValueError(f"the language {language!r} cannot be told")
    return is_in(text, language)


@instruction("length_constraints:number_sentences")
def _sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _compared(sentences(text), relation, num_sentences)


@instruction("length_constraints:number_words")
def _number_of_words(text: str, num_words: int, relation: str) -> bool:
    return _compared(len(_words(text)), relation, num_words)


@instruction("length_constraints:number_paragraphs")
def _paragraphs(text: str, num_paragraphs: int) -> bool:
    return len(paragraphs(text, r"\s?\*\*\*\s?")) == int(num_paragraphs)


@instruction("length_constraints:nth_paragraph_first_word")
def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts, nth = paragraphs(text), int(nth_paragraph)
    if len(parts) != int(num_paragraphs) or not 0 < nth <= len(parts):
        return False
    words = _words(parts[nth - 1])
    return words != [] and words[0].lower() == first_word.lower()


@instruction("detectable_content:number_placeholders")
def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\w[^\[\]\n]*\]", text)) >= int(num_placeholders)


@instruction("detectable_content:postscript")
def _postscript(text: str, postscript_marker: str) -> bool:
    marker = r"\s?".join(map(re.escape, re.sub(r"\s", "", postscript_marker)))
    return re.search(rf"^\W*{marker}.*\w", text, re.IGNORECASE | re.MULTILINE) is not None


@instruction("detectable_format:number_bullet_lists")
def _bullets(text: str, num_bullets: int) -> bool:
    bullets = re.findall(r"^[ \t]*(?:\*(?!\*)|-(?!-)|\u2022)[ \t]*\S", text, re.MULTILINE)
    return len(bullets) == int(num_bullets)


@instruction("detectable_format:number_highlighted_sections")
def _highlights(text: str, num_highlights: int) -> bool:
    highlights = re.findall(r"\*\*[^\n*]*\w[^\n*]*\*\*|\*[^\n*]*\w[^\n*]*\*", text)
    return len(highlights) >= int(num_highlights)


@instruction("detectable_format:multiple_sections")
def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"(?<!\w){re.escape(section_spliter)}\s?\d+", text)) >= int(num_sections)


@instruction("detectable_format:json_format")
def _json(text: str) -> bool:
    fenced = re.fullmatch(r"```(?:json)?\s(.*)```", text.strip(), re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


@instruction("detectable_format:title")
def _title(text: str) -> bool:
    return re.search(r"<<[^\n<>]*\w[^\n<>]*>>", text) is not None


@instruction("detectable_format:constrained_response")
def _constrained(text: str) -> bool:
    return sum(text.count(choice) for choice in _CHOICES) == 1


@instruction("combination:two_responses")
def _two_responses(text: str) -> bool:
    parts = paragraphs(text, r"\*{6}")
    return len(parts) == 2 and parts[0] != parts[1]


@instruction("combination:repeat_prompt")
def _repeats(text: str, prompt_to_repeat: str) -> bool:
    asked = prompt_to_repeat.strip().lower()
    if not text.strip().lower().startswith(asked):
        return False
    return re.search(r"\w", text.strip()[len(asked) :]) is not None


@instruction("startend:end_checker")
def _ends(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@instruction("startend:quotation")
def _quoted(text: str) -> bool:
    return re.fullmatch(r'"[^"]*\w.*"', text.strip(), re.DOTALL) is not None


@instruction("change_case:capital_word_frequency")
def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    capitals = sum(map(str.isupper, _words(text)))
    return _compared(capitals, capital_relation, capital_frequency)


@instruction("change_case:english_capital")
def _capital(text: str) -> bool:
    return text.isupper() and is_in(text, "en")


@instruction("change_case:english_lowercase")
def _lowercase(text: str) -> bool:
    return text.islower() and is_in(text, "en")


@instruction("punctuation:no_comma")
def _no_comma(text: str) -> bool:
    return not re.search("[,\u060c\u3001\uff0c]", text)
