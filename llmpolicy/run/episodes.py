"""The rows of episodes in a run: one flat record an episode, a parquet file a generation, which is
gathered, and written, by columns.
"""

import itertools
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.episode import Dialogue, Episode
from llmpolicy.errors import one_line
from llmpolicy.messages import Message
from llmpolicy.run.disk import writing
from llmpolicy.run.files import SCHEMA, Record
from llmpolicy.run.sealed import Facts

if TYPE_CHECKING:
    from pyarrow import Table

Columns = Mapping[str, Sequence[Any]]
"""Rows by their columns."""

KEPT = 300
"""How many characters are kept of what a reward read, and of why it judged so."""

SMALL = 4_096
"""Bytes of a column up to which it is not compressed: what a compressor needs to begin is more than
all the rest that writing the column takes.
"""

_LISTS = [
    *("token_ids.list.element", "turns.list.element.token_ids.list.element"),
    *("turns.list.element.role", "turns.list.element.text"),
]
_NUMBERS = ["log_probs.list.element", "turns.list.element.log_probs.list.element"]
"""The leaves of columns of lists. In 64 bits a log-probability of 32 has bytes that are all 0: one
beside the other they take no space.
"""

FORM: dict[str, Any] = {
    "write_statistics": False,
    "store_schema": False,
    "write_page_checksum": True,
    "column_encoding": dict.fromkeys(_NUMBERS, "BYTE_STREAM_SPLIT"),
}
"""How a generation is written: nothing that only a search in large files would use."""

_LOG = logging.getLogger("llmpolicy")


def episode_columns(episodes: Sequence[Episode], terms: Sequence[str] = ()) -> Columns:
    """A column for each fact of episodes: text, tokens, log-probs, every reward part and the values
    of these terms, advantage, how it ended, seconds.
    """
    if not episodes:
        return {}
    scores = [episode.score for episode in episodes]
    last = [episode.turns[-1] for episode in episodes]
    parts = {name: [score.parts[name] for score in scores] for name in scores[0].parts}
    return {
        "row": [episode.row for episode in episodes],
        "prompt": [episode.turns[0].prompt for episode in episodes],
        "completion": [turn.text for turn in last],
        "raw": [turn.raw for turn in last],
        "token_ids": [episode.ids for episode in episodes],
        "log_probs": [episode.log_probs() for episode in episodes],
        "reward": [score.value for score in scores],
        **{f"reward/{name}": [part.value for part in said] for name, said in parts.items()},
        **{f"term/{name}": [score.terms.get(name) for score in scores] for name in terms},
        **{f"parsed/{name}": _short(part.parsed for part in said) for name, said in parts.items()},
        **{f"why/{name}": _short(part.why for part in said) for name, said in parts.items()},
        # how much better than expected it went on from its start
        "advantage": [episode.weights[0] for episode in episodes],
        "terminated": [turn.terminated for turn in last],
        "truncated": [turn.truncated for turn in last],
        "seconds": [score.seconds for score in scores],
        "group": [episode.group for episode in episodes],
        **_of_dialogues(episodes),
    }


def _short(said: Iterable[object]) -> list[str | None]:
    """What a reward says it read, or why, as far as it is kept; half a sign, which no file takes,
    is spelled out.
    """
    return [
        None
        if each is None or each == ""
        else str(each)[:KEPT].encode("utf-8", "backslashreplace").decode()
        for each in said
    ]


def _of_dialogues(episodes: Sequence[Episode]) -> Columns:
    """How dialogues ended, and their ``turns``, the environment's among them."""
    if episodes[0].dialogue is None:
        return {}
    dialogues: list[Any] = [episode.dialogue for episode in episodes]
    return {
        "ended": [dialogue.ended for dialogue in dialogues],
        "why": [dialogue.why for dialogue in dialogues],
        "environment": [dialogue.paid for dialogue in dialogues],
        "turns": [list(turn_rows(*pair)) for pair in zip(episodes, dialogues, strict=True)],
    }


def turn_rows(episode: Episode, dialogue: Dialogue) -> Iterator[Record]:
    """A record for the beginning of a dialogue, for each turn of the model's (``own``), for what
    was said to it in between.
    """
    said, held = list(dialogue.said), len(episode.turns[0].state)
    beginning = episode.turns[0]
    yield _turn_row("prompt", beginning.prompt, beginning.state)
    for number, turn in enumerate(episode.turns[: dialogue.turns]):
        if between := turn.state[held:]:
            yield _turn_row(*_heard(said), between)
        said = said[1:]
        reward = episode.rewards[number] if episode.rewards else None
        own = {"own": True, "log_probs": turn.log_probs, "reward": reward}
        yield _turn_row("assistant", turn.text, turn.action) | own
        held = len(turn.state) + len(turn.action)
    if said:
        yield _turn_row(*_heard(said), ())


def _heard(said: list[Message]) -> tuple[str, str]:
    """The role and the words of what is said before the model speaks again; taken off the list."""
    words = []
    role = said[0]["role"]
    while said and said[0]["role"] != "assistant":
        words.append(str(said.pop(0)["content"]))
    return role, "\n".join(words)


def _turn_row(role: str, text: str, ids: Sequence[int]) -> Record:
    row = {"role": role, "text": text, "token_ids": list(ids)}
    return {**row, "own": False, "log_probs": None, "reward": None}


def write_rows(
    folder: Path, step: int, mode: str, attempt: int, rows: Columns | Sequence[Facts]
) -> int:
    """Write the rows of one generation as one parquet file, never over another one; its bytes."""
    name = f"{mode}-{step:06d}-{attempt:02d}"
    part = 0
    while (path := folder / f"{name}-{part:02d}.parquet").exists():
        part += 1
    content = _parquet({"schema": SCHEMA, "step": step, "mode": mode}, rows)
    temporary = path.with_suffix(".part")
    with writing(path, len(content)):
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return len(content)


def _parquet(head: Facts, rows: Columns | Sequence[Facts]) -> memoryview:
    """Rows as a file, each with the same head."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(rows, Mapping):
        rows = {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}
    size = len(next(iter(rows.values()), ()))
    columns = {name: pa.repeat(same, size) for name, same in head.items()}
    columns |= {name: pa.array(column) for name, column in rows.items()}
    flat = [name for name, column in columns.items() if not pa.types.is_list(column.type)]
    large = [name for name in flat if columns[name].nbytes > SMALL]
    zstd = dict.fromkeys([*large, *_LISTS, *_NUMBERS], "zstd")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, use_dictionary=flat, compression=zstd, **FORM)
    return memoryview(sink.getvalue())


def row_files(folder: Path) -> list[Path]:
    """The files of rows in order of step, attempt and part, then by their mode."""
    return sorted(filter(_is_of_rows, folder.glob("*-*.parquet")), key=_order)


def read_rows(
    files: Sequence[Path], mode: str | None, without: Collection[str] = ()
) -> Iterator[Record]:
    """The rows of these files, or those of one mode, without these columns; of a step that was
    taken again, those written last.

    Damaged files are left out, with a warning.
    """
    for _, parts in itertools.groupby(files, step_of_rows):
        of_step = list(parts)
        newest = max(map(attempt_of, of_step))
        for file in of_step:
            if attempt_of(file) == newest and mode in (None, mode_of(file)):
                yield from rows_of(file, without)


def _is_of_rows(file: Path) -> bool:
    return all(part.isdigit() for part in file.stem.split("-")[1:])


def mode_of(file: Path) -> str:
    """What the rows of ``mode-step-attempt-part.parquet`` are about."""
    return file.stem.partition("-")[0]


def step_of_rows(file: Path) -> int:
    """The step that the rows of a file were written for."""
    return int(file.stem.split("-")[1])


def attempt_of(file: Path) -> int:
    """How often the run had been resumed when it wrote a file; older files do not say: -1."""
    parts = file.stem.split("-")[2:-1]
    return int(parts[0]) if parts and parts[0].isdigit() else -1


def _order(file: Path) -> tuple[list[str], str]:
    mode, *numbers = file.stem.split("-")
    return numbers, mode


def rows_of(file: Path, without: Collection[str] = (), *, foreign: bool = False) -> list[Record]:
    """The rows of a file without these columns; none, with a warning, of a damaged one, or of one
    whose columns are of other types than a run writes, unless it is ``foreign``.
    """
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            kept = [name for name in table.schema_arrow.names if name not in without]
            read = table.read(columns=kept)
            if not foreign:
                _check_columns(read)
            return read.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        _LOG.warning("%s: damaged and left out: %s", file, one_line(error)[:120])
        return []


_KINDS = {
    "step": "integer",
    "group": "integer",
    "row": "integer",
    "prompt": "string",
    "completion": "string",
    "ended": "string",
    "why": "string",
    "token_ids": "list",
    "log_probs": "list of numbers",
    "turns": "list",
}


def _check_columns(table: "Table") -> None:
    """Raise ValueError where a column holds something else than a run writes into it."""
    from pyarrow import types

    is_a = {
        "integer": types.is_integer,
        "string": lambda kind: types.is_string(kind) or types.is_large_string(kind),
        "list": types.is_list,
        "list of numbers": lambda kind: (
            types.is_list(kind)
            and (types.is_floating(kind.value_type) or types.is_null(kind.value_type))
        ),
    }
    for name, kind in _KINDS.items():
        if name not in table.column_names:
            continue
        found = table.schema.field(name).type
        if not (types.is_null(found) or is_a[kind](found)):
            raise ValueError(f"column {name} is of {found}, expected {kind}")
    if "step" not in table.column_names or table.column("step").null_count:
        raise ValueError("rows without a step")
