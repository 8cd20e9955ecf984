"""answers.jsonl: what became of each held-out prompt, before and after training."""

import json
from collections.abc import Sequence
from pathlib import Path

from llmpolicy.bounded import load_json
from llmpolicy.errors import RunError
from llmpolicy.run.files import SCHEMA, Record, write_text
from llmpolicy.run.sealed import Facts

NAME = "answers.jsonl"


def write_answers(run: Path, answers: Sequence[Facts]) -> None:
    """Write the answers of a run, all or none."""
    lines = (json.dumps({"schema": SCHEMA, **answer}) + "\n" for answer in answers)
    write_text(run / NAME, "".join(lines))


def read_answers(run: Path) -> list[Record]:
    """The answers of a run in the order that they were asked in; RunError where they were not kept,
    or are damaged.
    """
    path = run / NAME
    try:
        return [load_json(line) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:
        raise RunError(
            f"{run} has not kept its held-out answers ({NAME}): it was not evaluated, or by an"
            " earlier version"
        ) from None
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error})") from error
