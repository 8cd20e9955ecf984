"""The secrets in the variables of this process: by the names of the variables, or by the form of
what they hold.
"""

import re
from collections.abc import Iterator, Mapping

from llmpolicy.secrets.forms import matches
from llmpolicy.secrets.named import named

SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:TOKENS?|SECRETS?|PASS|PASSPHRASE|PASSCODE|PWD|PW|KEY|PAT|AUTH|CREDENTIALS?|CREDS|COOKIE|JWT|BEARER|DSN|WEBHOOK"
    r"|PRIVATE|SIGNATURE|CONNECTION_STRING|CONN_STR)(?:_|$)|(?:TOKEN|SECRET|PASSWORD|PASSWD|SSHPASS|APIKEY|PRIVATEKEY|DSN)(?:_|$)"
)
NOT_SECRET = re.compile(
    r"(?i)^(?:OLD)?PWD$|SOCK$|_(?:FILE|PATH|DIR|HOME|TYPE|NAME|ID|FD|BACKEND)$|^GPG_KEY$|^(?:KEYTIMEOUT|LS_COLORS)$"
)
PLAIN = re.compile(
    r"(?i)(?:true|false|none|null|yes|no|on|off|disabled|enabled|default|anonymous|offline|online|required|\d{1,7})$|[~/.]|[A-Za-z]:\\"
)


def values_of(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and text of each secret: the whole value of a variable that is called one, and what
    looks like one in any other.
    """
    for name, value in environment.items():
        if SECRET_NAME.search(name) and not NOT_SECRET.search(name) and not PLAIN.match(value):
            yield from ((name, line) for line in (value, *value.splitlines()) if _long_enough(line))
        for _, found in (*matches(value), *named(f"{name}={value}"), *_passwords(value)):
            if len(found) >= 6 and not PLAIN.match(found):
                yield name, found


def _passwords(value: str) -> Iterator[tuple[str, str]]:
    """The passwords of addresses and connection strings, alone."""
    for found in re.finditer(
        r"://[^\s:/@]*:([^\s/]{4,}?)@(?=[^@]*$)|(?i:(?:password|pwd|accountkey|sharedaccesskey)=)([^;\s]{4,})",
        value,
    ):
        yield "password", found[1] or found[2]


def _long_enough(value: str) -> bool:
    """No word of six letters and less, which would be met by chance; no line of a key's frame."""
    return len(value) >= (8 if value.isalpha() else 6) and "-----" not in value[:5]
