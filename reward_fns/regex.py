"""A regular expression that the whole completion must match, with a limit on the time that matching may take."""

from functools import lru_cache
from typing import Any

from llmpolicy.rewards import RewardError, Score

from ._text import MAX_CHARS

_SECONDS = 0.25


def match(completion: str, pattern: str, ignore_case: bool = False) -> Score:
    """1.0 when the whole completion, without whitespace around it, matches the pattern, else 0.0.

    The pattern is an argument or a column; ``.`` also matches a newline. A match that takes more than a quarter of a second
    counts as none. RewardError for a pattern that is not a regular expression.
    """
    if len(completion) > MAX_CHARS:
        return Score(0.0, why=f"{len(completion)} characters are more than {MAX_CHARS}")
    compiled = _compile(pattern, ignore_case)
    try:
        # Off the main thread too: the library looks at the clock while it matches.
        found = compiled.fullmatch(completion.strip(), timeout=_SECONDS)
    except TimeoutError:
        return Score(0.0, why=f"matching took more than {_SECONDS} s")
    return Score(1.0 if found else 0.0, why="" if found else "no match")


@lru_cache(maxsize=256)
def _compile(pattern: str, ignore_case: bool) -> Any:
    import regex

    flags = regex.VERSION0 | regex.DOTALL | (regex.IGNORECASE if ignore_case else 0)
    try:
        return regex.compile(pattern, flags)
    except (regex.error, TypeError) as error:
        raise RewardError(
            f"regex:match got the pattern {pattern!r}, which is not a regular expression: {error}."
        ) from error
