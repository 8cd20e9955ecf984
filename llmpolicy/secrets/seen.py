"""A text as others may read it: without the signs of a markup, on one line, decoded."""

import base64
import contextlib
import html
import re
import zlib
from collections.abc import Iterator
from urllib.parse import unquote

BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}")
HEXADECIMAL = re.compile(r"(?:(?:\\x|0x|%)?[0-9a-fA-F]{2}[ :,]?){8,}")
CODE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([0-7]{3})")
BREAK = re.compile(r"\\[nrt]")
UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
LONGEST = 1 << 20
"""Characters that are decoded of one word, and bytes that are unpacked of it."""
PACKED = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""How content begins that gzip or zlib packed."""


def plain(text: str) -> str:
    """The text without escapes: of JSON, Python, Markdown and HTML, and without signs that are not
    seen.
    """
    text = CODE.sub(
        lambda code: chr(int(code[1] or code[2] or code[3], 8 if code[3] else 16)),
        html.unescape(text),
    )
    return UNSEEN.sub("", BREAK.sub("\n", unquote(text)).replace("\\", ""))


def joined(text: str) -> str:
    """The text on one line, as a word that was broken over two of them; what may stand around a
    break goes too.
    """
    return "".join(line.strip(" \t\\+.\"'#>*|") for line in text.splitlines())


def decoded(text: str, depth: int = 2) -> Iterator[str]:
    """What base64 and hexadecimal words in a text say, unpacked where it was packed; and what those
    say again.
    """
    for inner in {*_of_base64(text), *_of_hexadecimal(text)}:
        yield inner
        if depth > 1:
            yield from decoded(inner, depth - 1)


def _of_base64(text: str) -> Iterator[str]:
    for word in BASE64.findall(text):
        letters = word[:LONGEST].replace("-", "+").replace("_", "/")
        for start in range(4):
            whole = letters[start : start + (len(letters) - start) // 4 * 4]
            rest = letters[start + len(whole) :]
            whole += rest + "=" * (-len(rest) % 4) if len(rest) > 1 else ""
            yield from _texts(base64.b64decode(whole))


def _of_hexadecimal(text: str) -> Iterator[str]:
    for word in HEXADECIMAL.findall(text):
        digits = re.sub(r"\\x|0x|[^0-9a-fA-F]", "", word[:LONGEST])
        yield from _texts(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _texts(content: bytes) -> Iterator[str]:
    """The content as a text, if it reads as one; packed content unpacked."""
    if content[:2] in PACKED:
        with contextlib.suppress(zlib.error):
            content = zlib.decompressobj(47).decompress(content, LONGEST)
    text = content.decode("latin-1")
    readable = max(re.findall(r"[\t\n\r -~]+", text), key=len, default="")
    if len(readable) >= 8 and len(readable) >= 0.7 * len(text):
        yield readable
