"""From what a reward returned, or raised, to a Score, or to one sentence that names the reward and
the row.
"""

import math
import numbers
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmpolicy.errors import RewardError
from llmpolicy.types import Fault, Sample, Score

_EXCERPT = 200
_SAID = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call: the score of each of its rows, or, without any, ``blame`` and in
    ``why`` what happened.

    ``refused`` is a mistake of the reward's author that stops the run. With scores, ``blame`` may
    be ``model``: its completion used up the time or the memory of the call, and is paid the least
    for it.
    """

    scores: Sequence[Score] | None
    seconds: float = 0.0
    blame: Literal["refused", "memory", "model"] | Fault | None = None
    why: str = ""
    traceback: str = ""


def as_score(returned: Any, reward: str, row: int) -> Score:
    """One returned value as a Score: numbers, numpy and torch scalars, None and Score; else
    RewardError.
    """
    if isinstance(returned, Score):
        return Score(_as_number(returned.value, reward, row), returned.parsed, returned.why)
    if returned is None:
        return Score(None, why="the reward returned None")
    return Score(_as_number(returned, reward, row))


def as_list(returned: Any, reward: str, rows: Sequence[int]) -> list[Any]:
    """The values of a group or TRL-style reward, one for each of these rows; else RewardError."""
    if getattr(returned, "ndim", None) == 1 and hasattr(returned, "tolist"):
        returned = returned.tolist()
    where = f"Reward {reward!r} over rows {rows[0]} to {rows[-1]}"
    if not isinstance(returned, list | tuple):
        raise RewardError(
            f"{where} returned {_told(returned)}; expected a list of {len(rows)} values."
        )
    if len(returned) != len(rows):
        raise RewardError(f"{where} returned {len(returned)} values; expected {len(rows)}.")
    return list(returned)


def told(error: BaseException, function: Callable[..., Any]) -> str:
    """What an exception was and where in the reward's own file it arose, in one line."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - a reward's exception may be of a class that cannot be printed
        words = "its message cannot be printed"
    message = " ".join(f"{type(error).__name__}: {words}".rstrip(": ").split())
    return f"({_place(error, function)}) raised {message[:_SAID]}"


def sentence(reward: str, why: str, sample: Sample) -> str:
    """What happened to a reward, on which row and completion."""
    completion = _cut(sample.completion, _EXCERPT)
    return f"Reward {reward!r} {why} on row {sample.row}, completion {completion!r}."


def _as_number(value: Any, reward: str, row: int) -> float | None:
    if value is None:
        return None
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        if bool(getattr(value, "mask", False)):  # numpy writes a masked number as 0.0
            return None
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise RewardError(
            f"Reward {reward!r} returned {_told(value)} on row {row}; expected a number, None or a"
            " Score."
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardError(
            f"Reward {reward!r} returned {number} on row {row}; expected a finite number."
        )
    return number + 0.0


def _told(value: Any) -> str:
    kind = type(value).__name__
    words = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    if isinstance(value, str | list | tuple | dict):
        words += " " + _cut(repr(value), 60)
    return words


def _cut(text: str, most: int) -> str:
    if len(text) > most:
        return text[:most] + "..."
    return text


def _place(error: BaseException, function: Callable[..., Any]) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    # The line in the reward's own file says more than a line deep in a library; the first frame is
    # ours.
    frame = frames[-1]
    for later in frames:
        if later.filename == file:
            frame = later
    return f"{Path(frame.filename).name}:{frame.lineno}"
