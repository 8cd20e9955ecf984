"""Is there a secret in a text? Asked of the text and of all that it may be read as."""

import re
from collections.abc import Callable, Iterable, Iterator

from llmpolicy.secrets.forms import matches, real
from llmpolicy.secrets.named import named, random_words
from llmpolicy.secrets.seen import decoded, joined, plain

ADDRESS = re.compile(r"(?<=://)[^\s/@\"'<>]*:[^\s/@\"'<>]*@")
SHORT = re.compile(r"\b(hf_|sk-|wandb_|ghp_)[A-Za-z0-9_\-]{8,}")
ADDRESSES = ("address with a password", "address with a token", "Basic Auth Credentials")
Search = Callable[[str], Iterator[tuple[str, str]]]
PIECE = 16
"""Letters of the shortest value that cannot be a piece of some vocabulary by chance."""


def secret_in(
    text: str, values: Iterable[tuple[str, str]] = (), *, forms_only: bool = False
) -> str | None:
    """What kind of secret a text holds, in words that do not show it, or None.

    ``values`` are names and texts that must not be there. ``forms_only`` is for texts that hold
    words of every kind, as a vocabulary does: there only what has a form of its own counts, and
    values that no piece is by chance.
    """
    return next(_kinds(text, tuple(values), forms_only), None)


def in_setting(name: str, text: str, values: Iterable[tuple[str, str]] = ()) -> str | None:
    """What kind of secret a setting holds, in words, or None. An address with a password counts as
    none: some services need it.
    """
    for variable, value in values:
        if value in text:
            return _value_of(variable)
    for label, _ in real((*matches(text), *named(f"{name}: {text}"))):
        if label not in ADDRESSES:
            return _look(label)
    return None


def redact(text: str, values: Iterable[tuple[str, str]] = ()) -> str:
    """A text with ``[redacted]`` in the place of every secret."""
    text = ADDRESS.sub("[redacted]@", SHORT.sub(r"\1[redacted]", text))
    secrets = {value for _, value in values}
    for _, secret in (*real(matches(text)), *named(text), *random_words(text)):
        if "[redacted]" not in secret:
            secrets.add(secret)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


def _kinds(text: str, values: tuple[tuple[str, str], ...], forms_only: bool) -> Iterator[str]:
    clear = plain(text)
    views, lines = [text, clear], []
    if not forms_only:
        views += ["\n".join(decoded(text)), "\n".join(decoded(clear))]
        lines = [joined(text), joined(clear)]
    for view in dict.fromkeys((*views, *lines)):
        for name, value in values:
            if _holds(view, value, forms_only):
                yield _value_of(name)
        yield from _looks(matches, [view])
    if not forms_only:
        yield from _looks(named, [*views, *lines])
        yield from _looks(random_words, views)


def _looks(search: Search, views: Iterable[str]) -> Iterator[str]:
    for view in dict.fromkeys(views):
        for label, _ in real(search(view)):
            yield _look(label)


def _look(label: str) -> str:
    return f"what looks like a secret ({label})"


def _value_of(variable: str) -> str:
    return f"the value of ${variable}"


def _holds(text: str, value: str, forms_only: bool) -> bool:
    """Whether a value stands in a text: a short one only as a word of its own."""
    if len(value) >= PIECE:
        return value in text
    if forms_only or value not in text:
        return False
    return bool(re.search(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", text))
