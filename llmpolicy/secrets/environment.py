"""The secrets in the variables of this process: by the names of the variables, or by the form of
what they hold.
"""

import re
from collections.abc import Iterator, Mapping

from llmpolicy.secrets.forms import matches
from llmpolicy.secrets.named import named

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


def values_of(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and text of each secret: the whole value of a variable that is called one, and what
    looks like one in any other.
    """
    for name, value in environment.items():
        if SECRET_NAME.search(name) and not NOT_SECRET.search(name) and not PLAIN.match(value):
            for line in filter(_long_enough, (value, *value.splitlines())):
                yield name, line
        for _, secret in (*matches(value), *named(f"{name}={value}"), *_passwords(value)):
            if len(secret) >= 6 and not PLAIN.match(secret):
                yield name, secret


def _passwords(value: str) -> Iterator[tuple[str, str]]:
    """The passwords of addresses and connection strings, alone."""
    for password in PASSWORD.finditer(value):
        yield "password", password[1] or password[2]


def _long_enough(value: str) -> bool:
    """No word of six letters and less, which would be met by chance; no line of a key's frame."""
    return len(value) >= (8 if value.isalpha() else 6) and "-----" not in value[:5]
