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
        return [_answer(line) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:
        raise RunError(
            f"{run} has not kept its held-out answers ({NAME}): it was not evaluated, or by an"
            " earlier version"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error})") from error


def _answer(line: bytes) -> Record:
    answer = load_json(line)
    if not isinstance(answer, dict) or not isinstance(answer.get("prompt"), str):
        raise ValueError(f"{line[:40]!r} is no answer to a prompt")
    right, judged = answer.get("right"), answer.get("judged")
    is_counted = isinstance(right, int) and isinstance(judged, int) and 0 <= right <= judged
    if not is_counted or answer.get("greedy", "-") not in (True, False, None):
        raise ValueError(f"{line[:40]!r} does not say what was right")
    return answer
