"""Citations: which sources does the completion cite, and does it quote what they say?"""

import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from llmpolicy.rewards import RewardError, Score, reward
from llmpolicy.strict_json import NotJson

from ._json.document import gold
from ._text.completion import NoAnswer, ThinkingMarks, final_text, normalise, says_something

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|<!--.*?(?:-->|\Z)", re.DOTALL)
_CITED = re.compile(r"[\[【]([^\[\]【】\n]{1,100})[\]】](?!\()")
_QUOTED = re.compile(
    r"[\"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300e]"
    r"([^\"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f]{1,2000})"
    r"[\"\u201c\u201d\u00ab\u00bb\u300d\u300f][ \t]*[.,;:\u3002]?[ \t]*(?=[\[【])"
)
_ID = re.compile(r"(?:source|doc|document|ref)?\s*#?\s*(.+)", re.IGNORECASE)
_STRAIGHT = str.maketrans("\u2019\u2018\u201c\u201d", "''\"\"")
_MIN_QUOTE = 12
_SOURCES = [
    "Oslo is the capital of Norway.",
    "Rome lies on the Tiber.",
    "Paris is the capital of France.",
]


@reward(
    passes=[
        {"completion": "The capital of Norway is Oslo [1].", "answer": [1], "sources": _SOURCES},
        {
            "completion": 'It says "the capital of Norway" [1].',
            "answer": "1",
            "sources": _SOURCES,
            "quote": True,
        },
    ],
    fails=[
        {"completion": "Oslo [1][2][3].", "answer": [1], "sources": _SOURCES},
        {"completion": "Oslo [7].", "answer": [1], "sources": _SOURCES},
        {"completion": "[1]", "answer": [1], "sources": _SOURCES},
        {"completion": 'It says "the capital of Sweden" [1].', "answer": [1], "sources": _SOURCES},
    ],
    range=(0, 1),
    kind="answer",
)
def score(
    completion: str,
    answer: Any,
    sources: Any,
    prompt: str = "",
    quote: bool = False,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """How well the cited sources are those of the answer column: F1, corrected so that citing all
    of them pays 0.

    Citations read ``[1]``, ``[1, 3]``, ``[doc 1]`` or ``【1】``, outside code, links and comments.
    ``sources`` is a list (ids count from 1), a list of ``{id, text}`` or a mapping from id to text;
    ``answer`` holds the ids that support the answer. With P and R the precision and recall of the
    cited ids, F1 = 2PR / (P + R), and F1* the one of citing all, the value is max(0, (F1 - F1*) /
    (1 - F1*)). It is 0 for an id that does not exist, for a text with nothing but citations, and
    for words in quotation marks before a citation that are not in its source; ``quote`` asks for
    such a quotation, of at least 12 characters, from every source cited. None for an answer with no
    id of a source, or with all of them.
    """
    texts = _texts(sources)
    expected = _expected(answer)
    if not expected or not expected <= set(texts) or len(expected) == len(texts):
        return Score(
            None,
            why=(
                f"the answer column holds {str(answer)[:60]!r}; expected some of {len(texts)}"
                " sources' ids"
            ),
        )
    try:
        text = _CODE.sub(" ", final_text(completion, prompt, thinking_marks))
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    cited = _ids(",".join(citation[1] for citation in _CITED.finditer(text)))
    shown = ", ".join(sorted(cited))[:200]
    why = _wrong(text, cited, texts, quote)
    if why:
        return Score(0.0, parsed=shown, why=why)
    chance = _f1(set(texts), expected)
    return Score(max(0.0, (_f1(cited, expected) - chance) / (1 - chance)), parsed=shown)


def _wrong(text: str, cited: set[str], texts: Mapping[str, str], quote: bool) -> str:
    if not cited:
        return "nothing is cited"
    if cited - set(texts):
        return "a source that does not exist"
    if not says_something(_CITED.sub("", text)):
        return "nothing but citations"
    quoted: set[str] = set()
    for quotation in _QUOTED.finditer(text):
        words, beside = _spoken(quotation[1]), _CITED.match(text, quotation.end())
        ids = _ids(beside[1]) if beside else set()
        holding = {name for name in ids if words in texts[name]}
        if ids and not holding:
            return "a quotation that is not in its source"
        if len(words) >= _MIN_QUOTE:
            quoted |= holding
    return "a source that is cited without a quotation" if quote and cited - quoted else ""


def _f1(cited: set[str], expected: set[str]) -> float:
    return 2 * len(cited & expected) / (len(cited) + len(expected))


def _ids(text: str) -> set[str]:
    return set(map(_bare, filter(None, map(str.strip, re.split(r"[,;]", text)))))


def _bare(part: str) -> str:
    written = _ID.fullmatch(part)
    return written[1].casefold() if written else part


def _spoken(text: str) -> str:
    """The text as one compares quotations: without case, and with straight quotation marks and
    single spaces.
    """
    straight = text.translate(_STRAIGHT).casefold()
    return " ".join(straight.split()).strip(" .,;:\u2026")


def _texts(sources: Any) -> dict[str, str]:
    """The text of each source by its id; RewardError for sources that are none."""
    try:
        rows = sources
        if isinstance(sources, str):
            rows = gold(sources)
        pairs = list(rows.items() if isinstance(rows, Mapping) else map(_source, rows, count(1)))
        texts = {_id(name): _spoken(normalise(text)) for name, text in pairs}
    except (NotJson, NoAnswer, TypeError, KeyError, AttributeError) as error:
        raise RewardError(
            f"citation:score got sources {str(sources)[:60]!r}; expected texts with their ids."
        ) from error
    if len(texts) < max(2, len(pairs)):
        raise RewardError("citation:score expects two or more sources, each with an id of its own.")
    return texts


def _source(row: Any, number: int) -> tuple[Any, Any]:
    """The id and the text of a source in a list."""
    return (row["id"], row["text"]) if isinstance(row, Mapping) else (number, row)


def _id(name: Any) -> str:
    return next(iter(_ids(str(name))), "")


def _expected(answer: Any) -> set[str]:
    if isinstance(answer, str):
        with suppress(NotJson):
            answer = gold(answer)
    ids: set[str] = set()
    for name in answer if isinstance(answer, list | tuple | set) else [answer]:
        if name is not None:
            ids |= _ids(str(name))
    return ids
