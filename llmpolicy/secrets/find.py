"""Is there a secret in a text? Asked of the text and of all that it may be read as; and which are
those in the variables of this process, by their names or by the form of what they hold.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from llmpolicy.secrets.forms import Named, matches, real
from llmpolicy.secrets.named import named, random_words
from llmpolicy.secrets.seen import decoded, joined, plain

ADDRESS = re.compile(r"(?<=://)[^\s/@\"'<>]*:[^\s/@\"'<>]*@")
SHORT = re.compile(r"\b(hf_|sk-|wandb_|ghp_)[A-Za-z0-9_\-]{8,}")
ADDRESSES = ("address with a password", "address with a token", "Basic Auth Credentials")
Search = Callable[[str], Iterator[Named]]
PIECE = 16
"""Letters of the shortest value that cannot be a piece of some vocabulary by chance."""

SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:TOKENS?|SECRETS?|PASS|PASSPHRASE|PASSCODE|PWD|PW|KEY|PAT|AUTH|CREDENTIALS?"
    r"|CREDS|COOKIE|JWT|BEARER|DSN|WEBHOOK|PRIVATE|SIGNATURE|CONNECTION_STRING|CONN_STR)(?:_|$)"
    r"|(?:TOKEN|SECRET|PASSWORD|PASSWD|SSHPASS|APIKEY|PRIVATEKEY|DSN)(?:_|$)"
)
NOT_SECRET = re.compile(
    r"(?i)^(?:OLD)?PWD$|SOCK$|_(?:FILE|PATH|DIR|HOME|TYPE|NAME|ID|FD|BACKEND)$|^GPG_KEY$"
    r"|^(?:KEYTIMEOUT|LS_COLORS)$"
)
PLAIN = re.compile(
    r"(?i)(?:true|false|none|null|yes|no|on|off|disabled|enabled|default|anonymous|offline|online"
    r"|required|\d{1,7})$|[~/.]|[A-Za-z]:\\"
)
PASSWORD = re.compile(
    r"://[^\s:/@]*:([^\s/]{4,}?)@(?=[^@]*$)"
    r"|(?i:(?:password|pwd|accountkey|sharedaccesskey)=)([^;\s]{4,})"
)


def secret_in(text: str, values: Iterable[Named] = (), *, forms_only: bool = False) -> str | None:
    """What kind of secret a text holds, in words that do not show it, or None.

    ``values`` are names and texts that must not be there. ``forms_only`` is for texts that hold
    words of every kind, as a vocabulary does: there only what has a form of its own counts, and
    values that no piece is by chance.
    """
    return next(_kinds(text, tuple(values), forms_only), None)


def in_setting(name: str, text: str, values: Iterable[Named] = ()) -> str | None:
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


def redact(text: str, values: Iterable[Named] = ()) -> str:
    """A text with ``[redacted]`` in the place of every secret."""
    text = ADDRESS.sub("[redacted]@", SHORT.sub(r"\1[redacted]", text))
    secrets = {value for _, value in values}
    for _, secret in (*real(matches(text)), *named(text), *random_words(text)):
        if "[redacted]" not in secret:
            secrets.add(secret)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


def _kinds(text: str, values: tuple[Named, ...], forms_only: bool) -> Iterator[str]:
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


def values_of(environment: Mapping[str, str]) -> Iterator[Named]:
    """Name and text of each secret: the whole value of a variable that is called one, and what
    looks like one in any other.
    """
    for name, value in environment.items():
        if SECRET_NAME.search(name) and not NOT_SECRET.search(name) and not PLAIN.match(value):
            for line in filter(_long_enough, (value, *value.splitlines())):
                yield name, line
        held = [secret for _, secret in (*matches(value), *named(f"{name}={value}"))]
        for password in PASSWORD.finditer(value):  # of an address or a connection string, alone
            held.append(password[1] or password[2])
        for secret in held:
            if len(secret) >= 6 and not PLAIN.match(secret):
                yield name, secret


def _long_enough(value: str) -> bool:
    """No word of six letters and less, which would be met by chance; no line of a key's frame."""
    return len(value) >= (8 if value.isalpha() else 6) and "-----" not in value[:5]
