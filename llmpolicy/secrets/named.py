"""Secrets by their names (``password: ...``) and by their looks: long words in which no letter
follows from the one before.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from llmpolicy.secrets.forms import Named

WORD_OF_NAME = re.compile("pass|pwd|secret|credential|bearer|key|token|_pat|contrase|mot_de_passe")
PASSWORD_NAME = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code|wort)?|pwd|contraseña|mot_de_passe)$"
)
SECRET_NAME = re.compile(
    r"(?i)(?:secret|credentials?|bearer"
    r"|(?:api|access|private|signing|encryption|account|service|auth|master)key|(?:^|[_.-])key"
    r"|(?:access|auth|refresh|session|api|bot|client|hub)token|(?:^|[_.-])token|_pat)$"
)
ASSIGNED = re.compile(
    r"""(?xi) (?:pass(?:word|wd|phrase|code|wort)?|pwd|secret|credentials?|bearer|key|token|_pat
        |contraseña|mot_de_passe)
    ["'`]? (?: \s*(?::=|=>|[:=])\s* | \s+ (?:is\s+)? (?=\S*\d) )
    (?P<value> "[^"\n]{4,}" | '[^'\n]{4,}' | `[^`\n]{4,}` | [^\s"'`,;<>(){}\[\]|&]{4,} )"""
)
HARMLESS_NAME = re.compile(
    r"(?i)(?:cache|sort|group|primary|foreign|public|partition|dict|hash|answer|state|lookup|order"
    r"|column|row|index|bos|eos|pad|unk|sep|cls|mask|stop|start|end|special|new|prompt|reserved|max"
    r"|min|num|n|image|audio|video|vision|tool|think)[_-](?:key|token)$"
)
NO_VALUE = re.compile(
    r"(?i)^(?:true|false|none|null|undefined|required|optional|string|str|password|secret|token"
    r"|bearer|basic|disabled|enabled)$"
    r"|^[$%<{*]|^os\.|environ|getenv|getpass|^\.{2,}|^[\w.]+\(|^~?/"
    r"|^(?-i:[A-Z][A-Z_]*[A-Z0-9_]*_[A-Z0-9_]*|[A-Z]+)$|^x+$"
    r"|\.(?:safetensors|json|py|txt|yaml)$"
)
WORD = re.compile(r"(?<![A-Za-z0-9+/=_.%-])(?!sha\d+-)[A-Za-z0-9][A-Za-z0-9+/_.=-]{19,400}")
_KINDS_OF_SIGNS = ((True, False), (False, True), (False, False))
IMAGE = re.compile(r"data:[\w/+.-]+;base64,(?:(?!data:)[A-Za-z0-9+/=\s])+")


def named(text: str) -> Iterator[Named]:
    """What is called a password, secret, key or token and can be one."""
    for word in WORD_OF_NAME.finditer(text.lower()):
        assigned = ASSIGNED.match(text, word.start())
        if assigned is None:
            continue
        value = assigned["value"].strip("\"'`")
        before = re.findall(r"[\w.-]*$", text[max(0, word.start() - 60) : word.start()])
        name = before[0] + re.split(r"[\s\"'`:=]", assigned[0], maxsplit=1)[0]
        if HARMLESS_NAME.search(name) or NO_VALUE.search(value):
            continue
        if PASSWORD_NAME.search(name):
            if _password(value) and not _prose(name, assigned[0]):
                yield f"the value of {name.lstrip('-')[-40:]}", value
        elif SECRET_NAME.search(name) and _key(value):
            yield f"the value of {name.lstrip('-')[-40:]}", value


def random_words(text: str) -> Iterator[Named]:
    """Long words of digits, small and large letters in no order; a hash in hexadecimal digits is
    none, nor a picture.
    """
    for word in WORD.findall(IMAGE.sub("", re.sub(r"\\[nrt]", " ", text))):
        if any(map(_random, re.findall(r"[A-Za-z0-9]{20,}", word))):
            yield f"a random word of {len(word)} characters", word


def _password(value: str) -> bool:
    """Letters and digits together, but no word with a number behind it, and no measure."""
    both = any(map(str.isalpha, value)) and any(map(str.isdigit, value))
    return (
        both
        and len(value) > 5
        and " " not in value
        and not re.fullmatch(r"[a-z]+[_-]?\d|[\d.]+[a-z%]{0,2}", value)
    )


def _prose(name: str, assigned: str) -> bool:
    """Whether the value only follows the name, as the next word of a sentence does, and has one
    short number in it at most.
    """
    return not name.startswith("-") and not re.search(r"[:=]|\d\D+\d|\d\d+\W*$", assigned)


def _key(value: str) -> bool:
    """Hexadecimal digits, or a run of letters and digits that is no word."""
    longest = max(re.findall(r"[A-Za-z0-9]+", value), key=len, default="")
    return bool(re.fullmatch(r"[0-9a-fA-F-]{32,}", value)) or (
        len(longest) >= 16
        and len(re.findall(r"\d", longest)) > 2
        and len(re.findall(r"[A-Za-z]", longest)) > 2
    )


def _random(part: str) -> bool:
    """Whether digits, large and small letters change as they do in no word."""
    kinds = [(sign.isdigit(), sign.isupper()) for sign in part]
    changes = sum(before != after for before, after in pairwise(kinds))
    rarest = min(kinds.count(kind) for kind in _KINDS_OF_SIGNS)
    return rarest > 1 and changes >= len(part) // 3 and len(set(part)) > len(part) // 3
