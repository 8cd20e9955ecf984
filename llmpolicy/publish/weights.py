"""A file of safetensors as bytes: its length, figures that are none, and what in it reads as text;
no torch here.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22
"""Bytes that are looked at together; weights may be larger than memory."""
SHORTEST_TEXT, LONGEST_SECRET = 16, 1 << 14
LARGEST_HEADER = 100_000_000  # that of the format's own reader
NOT_FINITE = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000), "F32": ("<u4", 0x7F80_0000), "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("<u1", 0x7C), "F8_E4M3": ("<u1", 0x7F),
}  # fmt: skip
"""Of each kind of number its unsigned form, and the bits that are all set in NaN and infinity alone
(E4M3 has no infinity).
"""
PRINTABLE = np.zeros(256, dtype=bool)
PRINTABLE[[9, 10, 13, *range(32, 127)]] = True


def weights_end(file: BinaryIO) -> int:
    """The length in bytes that a file of safetensors has by its header; -1 where it has none."""
    try:
        header, start = read_header(file)
        ends = [int(entry["data_offsets"][1]) for entry in _tensors(header).values()]
        return start + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError):
        return -1


def read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header of a file of safetensors, and the place where its data begins; raises ValueError
    for anything else.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(LARGEST_HEADER, os.fstat(file.fileno()).st_size):
        raise ValueError("it has no header")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping")
    return header, 8 + length


def not_finite(path: Path) -> str | None:
    """The name of the first tensor in a file of safetensors that holds NaN or infinity, or None."""
    with open(path, "rb") as file:
        header, start = read_header(file)
        for name, entry in _tensors(header).items():
            kind, bits = NOT_FINITE.get(entry["dtype"], ("", 0))
            if not kind:
                continue
            for part in _data(file, start, entry):
                if (np.frombuffer(part, kind) & bits == bits).any():
                    return name
    return None


def text_in(path: Path) -> str:
    """All that reads as text among the bytes of a file: runs of 16 and more printable characters, a
    line each.
    """
    runs: list[bytes] = []
    with open(path, "rb") as file:
        rest = b""
        while block := file.read(BLOCK):
            content = rest + block
            readable = PRINTABLE[np.frombuffer(content, np.uint8)]
            open_end = len(content) if readable.all() else int(np.argmin(readable[::-1]))
            for start, end in _runs(readable):
                if end < len(content) or open_end > BLOCK:
                    runs.append(content[start:end])
            rest = content[-min(open_end, LONGEST_SECRET) :] if open_end else b""
    return b"\n".join([*runs, rest]).decode("ascii")


def _runs(readable: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Start and end of the long runs of True."""
    inside = readable  # [i]: whether i and the places behind it are readable; 2, 4, 8, 16 of them
    for width in (1, 2, 4, 8):
        inside = inside[width:] & inside[:-width]
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        yield int(start), int(end) + SHORTEST_TEXT - 1


def _tensors(header: Mapping[str, Any]) -> dict[str, Any]:
    tensors = dict(header)
    tensors.pop("__metadata__", None)
    return tensors


def _data(file: BinaryIO, start: int, entry: Mapping[str, Any]) -> Iterator[bytes]:
    begin, end = entry["data_offsets"]
    file.seek(start + begin)
    left = end - begin
    while left and (part := file.read(min(BLOCK, left))):
        left -= len(part)
        yield part
