"""The completions of a run in columns: what a page holds of them, and by which rule."""

import json
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil, sqrt
from operator import attrgetter
from pathlib import Path
from typing import Any

from llmpolicy.diagnosis import Evidence
from llmpolicy.diagnosis.evidence import Completion, number_of
from llmpolicy.diagnosis.signal import kind_of
from llmpolicy.run import Run
from llmpolicy.run.episodes import read_rows, step_of_rows

Row = Mapping[str, Any]

MOST_ROWS = 100_000
MOST_SIGNS = 120_000_000
"""How much text a page holds of all completions, in characters."""
MOST_TOKENS = 4_000_000
"""How many tokens a page can show one by one."""
LONGEST = 20_000
"""How much of one text is held, in characters: three quarters of it from its beginning."""
NOT_OWN = 255
FARTHEST = 20.0
"""The log-probability, in nats below 0, beyond which all are shown alike."""


class Texts:
    """Texts, each held once; those that are too long without their middle."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.shortened = 0

    def place(self, text: str | None) -> int:
        """The number of a text; -1 of none."""
        if text is None:
            return -1
        if len(text) > LONGEST:
            self.shortened += 1
            text = shortened(text)
        return self.held.setdefault(text, len(self.held))


def shortened(text: str) -> str:
    """A text without its middle, which is counted."""
    head = LONGEST * 3 // 4
    tail = LONGEST - head
    left_out = len(text) - LONGEST
    return f"{text[:head]}\n[... {left_out} characters are left out here ...]\n{text[-tail:]}"


class Tokens:
    """Tokens of some completions one after another, and how likely each was: one byte a token."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.numbers: dict[int, int] = {}
        self.ids, self.shades = array("I"), bytearray()

    def add(self, ids: Sequence[int], log_probs: Sequence[float | None]) -> int:
        """Where the tokens of a completion begin; -1 where they are not held."""
        if not ids or len(ids) != len(log_probs) or len(ids) > self.left:
            return -1
        begin = len(self.ids)
        self.left -= len(ids)
        self.ids.extend(self.numbers.setdefault(token, len(self.numbers)) for token in ids)
        self.shades.extend(map(shade, log_probs))
        return begin


def shade(log_prob: float | None) -> int:
    """A log-probability in nats as a byte, on a root scale; a token that was heard is NOT_OWN."""
    if log_prob is None or log_prob != log_prob:
        return NOT_OWN
    return min(NOT_OWN - 1, round(sqrt(max(-log_prob, 0.0) / FARTHEST) * (NOT_OWN - 1)))


class Table:
    """Columns of completions. ``number`` counts those of a step, as a place STEP:NUMBER does."""

    def __init__(self, kinds: Mapping[tuple[int, int], str]) -> None:
        self.kinds = kinds
        self.prompts, self.texts = Texts(), Texts()
        self.tokens = Tokens(MOST_TOKENS)
        self.columns: dict[str, list[Any]] = {name: [] for name in _PLAIN}
        self.parts: dict[str, list[float | None]] = {}
        self.said: dict[str, list[int]] = {}
        self.talks: dict[int, list[list[Any]]] = {}

    def __len__(self) -> int:
        return len(self.columns["step"])

    def add(self, completion: Completion, row: Row, *, by_token: bool) -> None:
        """A completion, as the doctor reads it, and its row of the run."""
        number = len(self)
        for name, value in self._plain(completion, row, by_token).items():
            self.columns[name].append(value)
        for name, part in completion.parts.items():
            _column(self.parts, name, number, None).append(_rounded(part))
        for name, words in row.items():
            if words and name.startswith(("parsed/", "why/")):
                _column(self.said, name, number, -1).append(self.texts.place(str(words)))
        if row.get("turns"):
            self.talks[number] = list(map(self._turn, row["turns"]))

    def _plain(self, completion: Completion, row: Row, by_token: bool) -> dict[str, Any]:
        ids, log_probs = row.get("token_ids") or (), row.get("log_probs") or ()
        text = row.get("completion") if row.get("turns") else completion.text
        return {
            "step": completion.step,
            "number": int(completion.place.partition(":")[2]),
            "group": completion.group,
            "kind": self.kinds[completion.step, completion.group],
            "row": completion.row,
            "prompt": self.prompts.place(completion.prompt),
            "text": self.texts.place(text),
            "reward": _rounded(completion.reward),
            "advantage": _rounded(completion.advantage),
            "truncated": int(completion.truncated),
            "length": len(ids) or None,
            "surprise": _surprise(log_probs),
            "tokens": self.tokens.add(ids, log_probs) if by_token else -1,
            "ended": self.texts.place(completion.ended or None),
            "why": self.texts.place(completion.why or None),
        }

    def _turn(self, turn: Row) -> list[Any]:
        """Who speaks, its text, how many tokens it has, what it was paid."""
        text = self.texts.place(turn["text"])
        return [turn["role"], text, len(turn["token_ids"] or ()), _rounded(turn.get("reward"))]

    def contents(self, pieces: Sequence[str]) -> dict[str, bytes]:
        """The blocks of a page: the columns, and the tokens, with what each stands for."""
        size = len(self)
        columns = {
            **self.columns,
            "prompts": list(self.prompts.held),
            "texts": list(self.texts.held),
            "parts": {name: _filled(part, size, None) for name, part in self.parts.items()},
            "said": {name: _filled(said, size, -1) for name, said in self.said.items()},
            "talks": self.talks,
            "pieces": pieces,
        }
        return {
            "rows": json.dumps(columns, separators=(",", ":"), allow_nan=False).encode(),
            "tokens": self.tokens.ids.tobytes(),
            "shades": bytes(self.tokens.shades),
        }


_PLAIN = (
    "step",
    "number",
    "group",
    "kind",
    "row",
    "prompt",
    "text",
    "reward",
    "advantage",
    "truncated",
    "length",
    "surprise",
    "tokens",
    "ended",
    "why",
)


def table_of(evidence: Evidence, run: Run | None, *, wanted: Sequence[int] = ()) -> Table:
    """The completions of a run, of all steps or, where they are too many, of every second, third
    ... step, the first, the last, and the ``wanted`` ones.

    The tokens are those of the groups that teach most in each step.
    """
    steps = sorted({completion.step for completion in evidence.completions})
    signs = sum(min(len(completion.text), LONGEST) for completion in evidence.completions)
    every = max(ceil(len(evidence.completions) / MOST_ROWS), ceil(signs / MOST_SIGNS), 1)
    kept = {*steps[::every], *steps[:1], *steps[-1:], *wanted}
    table = Table(
        {(group[0].step, group[0].group): kind_of(group, evidence) for group in evidence.groups}
    )
    share = MOST_TOKENS // max(len(kept), 1)
    rows_of = Rows(run)
    for step, members in groupby(evidence.completions, attrgetter("step")):
        if step in kept:
            completions = list(members)
            _add_step(table, list(zip(completions, rows_of(completions), strict=True)), share)
    return table


class Rows:
    """The rows of a run by step, with what the doctor does not read of them."""

    def __init__(self, run: Run | None) -> None:
        self.files: dict[int, list[Path]] = defaultdict(list)
        for file in run.rollout_files() if run else ():
            self.files[step_of_rows(file)].append(file)

    def __call__(self, completions: Sequence[Completion]) -> Sequence[Row]:
        """The row of each completion of a step; empty ones where it cannot be said which is whose:
        a file whose tokens are damaged holds completions all the same.
        """
        files = self.files[completions[0].step]
        rows = list(read_rows(files, "train", without=("raw",)))
        if len(rows) == len(completions):
            return rows
        return [{}] * len(completions)


def _add_step(table: Table, pairs: Sequence[tuple[Completion, Row]], most: int) -> None:
    teaches: dict[int, float] = defaultdict(float)
    sizes: dict[int, int] = defaultdict(int)
    for completion, row in pairs:
        teaches[completion.group] += abs(completion.advantage or 0.0)
        sizes[completion.group] += len(row.get("token_ids") or ())
    chosen = set()
    for group in sorted(teaches, key=teaches.__getitem__, reverse=True):
        most -= sizes[group]
        if most < 0:
            break
        chosen.add(group)
    for completion, row in pairs:
        table.add(completion, row, by_token=completion.group in chosen)


def _surprise(log_probs: Sequence[float | None]) -> float | None:
    """The mean of -log π over the policy's own tokens, in nats; None where there are none."""
    own = [value for value in log_probs if value is not None]
    return _rounded(-sum(own) / len(own)) if own else None


def _column(columns: dict[str, list[Any]], name: str, place: int, nothing: Any) -> list[Any]:
    """A column that reaches up to a place."""
    return _filled(columns.setdefault(name, []), place, nothing)


def _filled(column: list[Any], size: int, nothing: Any) -> list[Any]:
    column.extend([nothing] * (size - len(column)))
    return column


def _rounded(value: Any) -> float | None:
    number = number_of(value)
    return None if number is None else float(f"{number:.5g}")
