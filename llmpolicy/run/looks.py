"""looks.jsonl: one line a look during training, with a value for each held-out prompt: which row it
was, whether the greedy answer was right, and with a truth what the reward and the truth said.
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
    no file; damaged lines are left out.
    """
    path = run / NAME
    lines, _ = parse_lines(path.read_bytes() if path.is_file() else b"")
    looks = {line["step"]: line for line in lines if _is_whole(line)}
    return list(looks.values())


def _is_whole(look: Record) -> bool:
    """Whether all that a look says is said of each prompt."""
    values = [look[name] for name in ("rows", "right", "proxy", "truth") if name in look]
    is_pair = ("proxy" in look) == ("truth" in look)
    if not is_pair or not {"rows", "right"} <= look.keys():
        return False
    return all(isinstance(each, list) for each in values) and len({*map(len, values)}) == 1
