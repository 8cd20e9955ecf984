"""Regular expressions in linear time: what needs backtracking is refused in words."""

import re
from functools import lru_cache
from typing import Any

from llmpolicy.rewards import RewardError

_NOT_LINEAR = (
    (r"\(\?<?[=!]", "looks around", "match the whole text, or combine two rewards"),
    (r"\\[1-9]|\(\?P=", "refers back to a group", "write the alternatives out"),
    (r"[*+?}]\+|\(\?>", "is possessive or atomic", "leave that out: nothing is tried twice here"),
    (
        r"\{\d{4,}|\{\d*,\d{4,}",
        "repeats more than 1000 times",
        "repeat at most 1000 times, or nest two repeats",
    ),
    (r"\\Z", r"ends in \Z", r"write \z"),
    (r"\\[uU]", r"has a \u escape", r"write \x{...} or the character itself"),
)


@lru_cache(maxsize=256)
def compiled(pattern: str, where: str, ignore_case: bool = False) -> Any:
    """A pattern for `re2`, in which ``.`` also matches a newline; RewardError, beginning with
    ``where``, for any other.
    """
    import re2

    if not isinstance(pattern, str):
        raise RewardError(
            f"{where} got the pattern {pattern!r}, which is no text and so not a regular"
            " expression."
        )
    options = re2.Options()
    options.dot_nl, options.case_sensitive, options.log_errors = True, not ignore_case, False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise RewardError(_why(pattern, where, error)) from error


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, which the engine cannot read."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _why(pattern: str, where: str, error: Exception) -> str:
    reason = str(error)
    if error.args and isinstance(error.args[0], bytes):
        reason = error.args[0].decode("utf-8", "replace")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        # Only newer Pythons know these two.
        if not re.search(r"\(\?>|[*+?}]\+", pattern):
            return (
                f"{where} got the pattern {pattern!r}, which is not a regular expression: {reason}."
            )
    for sign, needs, remedy in _NOT_LINEAR:
        if re.search(sign, pattern):
            return (
                f"{where} got the pattern {pattern!r}, which {needs}; the linear-time engine"
                f" cannot: {remedy}."
            )
    return (
        f"{where} got the pattern {pattern!r}, which the linear-time engine (RE2) cannot match:"
        f" {reason}."
    )
