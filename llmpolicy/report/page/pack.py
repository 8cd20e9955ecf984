"""Data as it lies in a page: small facts as JSON, what is large gzipped in base64."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

LEVEL = 6


def json_text(data: Any) -> str:
    """Plain data as JSON that may stand in a script element: no tag can begin or end in it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in ("<", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "backslashreplace").decode()


def packed(content: bytes) -> str:
    """Bytes as gzip in base64; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode()


def blocks(contents: Mapping[str, bytes]) -> str:
    """An element for each block, which no browser runs or shows."""
    element = '<script type="application/octet-stream" id="{}">{}</script>\n'
    return "".join(element.format(name, packed(content)) for name, content in contents.items())


def plain(value: Any) -> Any:
    """Data without what JSON cannot hold: NaN and infinities as their names, others as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return str(value)
