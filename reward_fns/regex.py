"""A regular expression that the whole completion must match, in time linear in the text."""

from llmpolicy.rewards import Score, reward
from llmpolicy.strict_json import MAX_CHARS

from ._text.completion import passed
from ._text.regex import compiled, encodable


@reward(
    passes=[{"completion": " 42\n", "pattern": r"\d+"}],
    fails=[{"completion": "142", "pattern": "42"}, {"completion": "42\nx", "pattern": r"\d+$"}],
    range=(0, 1),
    kind="format",
)
def match(completion: str, pattern: str, ignore_case: bool = False) -> Score:
    """1.0 when the whole completion, without whitespace around it, matches the pattern, else 0.0.

    The pattern is an argument or a column, in the syntax of RE2; ``.`` also matches a newline, and
    ``\\w``, ``\\d`` and ``\\b`` are ASCII (``\\p{L}`` is any letter). RewardError for a pattern
    that is none, or needs look-around or back-references: no linear-time engine has them.
    """
    if len(completion) > MAX_CHARS:
        return Score(0.0, why=f"{len(completion)} characters are more than {MAX_CHARS}")
    text = encodable(completion.strip())
    matched = compiled(pattern, "regex:match", ignore_case).fullmatch(text)
    return passed(matched is not None, "no match")
