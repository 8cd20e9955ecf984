"""looks.jsonl: what proxy and truth said of each held-out prompt, one line a look during
training.
"""

import json
from pathlib import Path

from llmpolicy.run.files import SCHEMA, Record, parse_lines
from llmpolicy.run.sealed import Facts

NAME = "looks.jsonl"


def look_line(look: Facts) -> str:
    """A look as a line of the file."""
    return json.dumps({"schema": SCHEMA, "mode": "eval", **look}) + "\n"


def read_looks(run: Path) -> list[Record]:
    """The looks of a run in order; of a step that was taken again the last one. None where it has
    no file, damaged lines left out.
    """
    path = run / NAME
    lines, _ = parse_lines(path.read_bytes() if path.is_file() else b"")
    looks = {line["step"]: line for line in lines if "truth" in line and "proxy" in line}
    return list(looks.values())
