"""Where rows come from: a Hub dataset, a local file, a reasoning-gym generator, a Python generator.
A row is a dict.
"""

import csv
import dataclasses
import inspect
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llmpolicy.bounded import MOST_CHARACTERS, load_json
from llmpolicy.errors import TaskError, nearest
from llmpolicy.reference import named
from llmpolicy.rewards import RESERVED
from llmpolicy.tasks.arrow import dataset_rows, is_dataset, table_rows
from llmpolicy.tasks.content import unwritable
from llmpolicy.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import pyarrow

Raw = dict[str, Any]

LEAST = 16
"""Bytes that a value takes as one of Python's, at least."""

GROWTH = 4
"""Bytes in memory for a byte of text in a file, about."""

TOO_MUCH = "need more memory than is free; take a part of the file, or split it"


def read_rows(spec: TaskSpec, base_dir: Path | None) -> list[Raw]:
    """The rows of a task as they lie in its source, at most ``limit`` of them; raises TaskError
    when there are none.
    """
    rows = list(itertools.islice(_source(spec, base_dir), spec.limit))
    if not rows:
        raise TaskError(f"task {spec.label!r} has no rows; expected at least one")
    for index, row in enumerate(rows):
        where = f"task {spec.label!r}, row {index}"
        if not isinstance(row, Mapping):
            raise TaskError(f"{where}: found {row!r:.60}, expected a dict of columns")
        for name, value in row.items():
            if not isinstance(name, str) or unwritable(name):
                raise TaskError(f"{where}: found the column name {name!a:.60}, expected a text")
            if why := unwritable(value):
                raise TaskError(f"{where}: the column {name!r} {why}")
    return list(map(dict, rows))


def _source(spec: TaskSpec, base_dir: Path | None) -> Iterable[Raw]:
    if spec.rows is not None:
        return spec.rows
    if spec.file is not None:
        return file_rows(find_file(spec.file, base_dir))
    if spec.hub is not None:
        return _from_hub(spec)
    if spec.reasoning_gym is not None:
        return _from_reasoning_gym(spec)
    return _from_generator(spec, base_dir)


def find_file(name: str, base_dir: Path | None) -> Path:
    """The file of that name beside the recipe, else in the current folder; raises TaskError with
    the nearest name.
    """
    places = [(base_dir or Path()) / Path(name).expanduser(), Path(name).expanduser()]
    for path in places:
        if path.is_file():
            return path
    for path in places:
        if path.is_dir():
            raise TaskError(
                f"{path} is a folder; expected a data file ({', '.join(sorted(READERS))})"
            )
    siblings: list[str] = []
    for path in places:
        if path.parent.is_dir():
            siblings = [file.name for file in path.parent.iterdir() if file.suffix in READERS]
            break
    hint = nearest(Path(name).name, siblings)
    raise TaskError(f"no data file {name!r} beside the recipe or in the current folder{hint}")


def file_rows(path: Path) -> Iterator[Raw]:
    """The rows of a data file; raises TaskError with the line of what cannot be read."""
    if path.suffix not in READERS:
        raise TaskError(
            f"{path.name}: expected a data file that ends in one of {', '.join(sorted(READERS))}"
        )
    try:
        yield from READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path.name}: not UTF-8 at byte {error.start}; expected a UTF-8 text file"
        ) from error


def _jsonl(path: Path) -> Iterator[Raw]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(_lines(file, path), 1):
            if not line.strip():
                continue
            where = f"{path.name}, line {number}"
            try:
                row = load_json(line, object_pairs_hook=partial(_each_once, where))
            except json.JSONDecodeError as error:
                raise TaskError(
                    f"{where}: not valid JSON: {error.msg} at column {error.colno}"
                ) from error
            except ValueError as error:  # nested too deeply, or an integer of too many digits
                reason = str(error).partition(";")[0]
                raise TaskError(f"{where}: cannot be read: {reason}") from error
            if not isinstance(row, dict):
                raise TaskError(f"{where}: found {line.strip()!r:.60}, expected a JSON object")
            yield row


def _each_once(where: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_doubles([name for name, _ in pairs], where)
    return dict(pairs)


def _refuse_doubles(names: Sequence[str], where: str) -> None:
    """Raise TaskError for a name that stands twice: the values of one would be lost."""
    for name, count in Counter(names).items():
        if count > 1:
            raise TaskError(f"{where}: found {name!r} twice, expected each column once")


def _csv(path: Path) -> Iterator[Raw]:
    with path.open(encoding="utf-8-sig", newline="") as file, _long_fields():
        reader = csv.DictReader(_lines(file, path), strict=True)
        try:
            _refuse_doubles(list(filter(None, reader.fieldnames or ())), path.name)
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames or ())
                    raise TaskError(
                        f"{path.name}, line {reader.line_num}: expected {expected} values, one for"
                        " each column"
                    )
                yield row
        except csv.Error as error:
            raise TaskError(
                f"{path.name}, line {reader.line_num + 1}: not valid CSV: {error}"
            ) from error


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file, one that is too long and more than there is memory for refused with a
    TaskError.
    """
    number, read, room = 0, 0, _room()
    while line := file.readline(MOST_CHARACTERS + 1):
        number, read = number + 1, read + len(line)
        if len(line) > MOST_CHARACTERS:
            raise TaskError(
                f"{path.name}, line {number}: it has more than {MOST_CHARACTERS:,} characters"
            )
        if read > room:
            raise TaskError(f"{path.name}: its first {read:,} characters {TOO_MUCH}")
        yield line


def _room() -> int:
    """How many bytes of a file this machine's free memory holds as rows of Python."""
    import psutil

    return int(psutil.virtual_memory().available) // GROWTH


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let Python's reader take fields above 131,072 characters, which a long context has."""
    limit = csv.field_size_limit(MOST_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


_REPEATED, _SWOLLEN = 2**30, 1_000
"""A file may say again and again what it holds once up to so many bytes, or up to so many times its
own size.
"""


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow
    import pyarrow.parquet

    how = {"arrow_extensions_enabled": True, "page_checksum_verification": True}
    try:
        _refuse_doubles(pyarrow.parquet.read_schema(path).names, path.name)
        _refuse_bombs(path)
        table = pyarrow.parquet.read_table(path, **how)
    except (pyarrow.ArrowException, OSError) as error:
        raise TaskError(
            f"{path.name}: not a Parquet file, or a damaged one: {_in_words(error)}"
        ) from error
    yield from _table_rows(table, path)


def _refuse_bombs(path: Path) -> None:
    """Raise TaskError for a Parquet file whose values take far more room than it does: packed, or
    one that stands for many.

    Texts are counted as the file holds them, each that is repeated once, so that looking takes no
    more than what it unpacks.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        facts, room = file.metadata, _room()
        columns = list(_column_chunks(facts))
    unpacked = sum(column.total_uncompressed_size for column in columns)
    values = sum(column.num_values for column in columns)
    if unpacked > room or values * LEAST > room:
        raise TaskError(f"{path.name}: its {values:,} values {TOO_MUCH}")
    texts = {column.path_in_schema for column in columns if column.physical_type == "BYTE_ARRAY"}
    if not texts:
        return
    longest = total = 0
    with pyarrow.parquet.ParquetFile(path, read_dictionary=sorted(texts)) as file:
        for batch in file.iter_batches(10_000, columns=sorted(texts)):
            for longest_here, total_here in _sizes(batch):
                longest, total = max(longest, longest_here), total + total_here
    if longest > MOST_CHARACTERS:
        raise TaskError(
            f"{path.name}: one of its values has more than {MOST_CHARACTERS:,} characters"
        )
    if total > room:
        raise TaskError(f"{path.name}: its texts, of {total:,} bytes in all, {TOO_MUCH}")
    if total > max(_REPEATED, _SWOLLEN * (size := path.stat().st_size)):
        raise TaskError(
            f"{path.name}: its texts, of {total:,} bytes in all, repeat what {size:,} bytes hold;"
            " take a part of the file"
        )


def _column_chunks(facts: Any) -> Iterator[Any]:
    """What a Parquet file says of each column of each of its groups of rows."""
    for number in range(facts.num_row_groups):
        group = facts.row_group(number)
        yield from map(group.column, range(group.num_columns))


def _sizes(batch: Any) -> Iterator[tuple[int, int]]:
    """The length of the longest text of each column, and of all of them."""
    import pyarrow.compute as compute
    from pyarrow import types

    waiting = list(batch.columns)
    while waiting:
        array = waiting.pop()
        if types.is_dictionary(array.type):
            lengths = compute.binary_length(array.dictionary)
            each = compute.take(lengths, array.indices)
            yield compute.max(each).as_py() or 0, compute.sum(each).as_py() or 0
        elif types.is_struct(array.type):
            waiting += array.flatten()
        elif types.is_nested(array.type):
            waiting.append(array.items if types.is_map(array.type) else array.flatten())


def _table_rows(table: "pyarrow.Table", path: Path) -> list[Raw]:
    import pyarrow

    try:
        return table_rows(table)
    except (pyarrow.ArrowException, OverflowError, ValueError) as error:
        # A date or a text that Python cannot hold.
        raise TaskError(f"{path.name}: its values cannot be read: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


READERS: dict[str, Callable[[Path], Iterator[Raw]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _from_hub(spec: TaskSpec) -> Iterable[Raw]:
    """Rows of a dataset on the Hub; the split is ``train`` unless it is named."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    split = spec.split or "train"
    try:
        return dataset_rows(load_dataset(str(spec.hub), spec.config, split=split), spec.limit)
    except (OSError, ValueError, DatasetsError) as error:
        name = "/".join(filter(None, (spec.hub, spec.config)))
        raise TaskError(
            f"the Hub dataset {name}, split {split!r} could not be loaded: {_in_words(error)}; a"
            " local copy can be named by `file:`"
        ) from error


def _from_reasoning_gym(spec: TaskSpec) -> Iterator[Raw]:
    """Rows of a reasoning-gym generator: question, answer, metadata, and each item of the metadata
    by its own name.

    ``args`` are the generator's own, with size and seed; the seed is 0 unless it is given, so that
    the questions (and the held-out ones among them) stay the same from run to run.
    """
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    name, args = str(spec.reasoning_gym), {"seed": 0, **spec.args}
    if name not in DATASETS:
        raise TaskError(f"reasoning-gym has no generator {name!r}{nearest(name, DATASETS)}")
    arguments = [field.name for field in dataclasses.fields(DATASETS[name][1])]
    for key in args:
        if key not in arguments:
            raise TaskError(
                f"reasoning-gym {name!r} takes no argument {key!r}{nearest(key, arguments)}"
            )
    try:
        dataset = reasoning_gym.create_dataset(name, **args)
        for entry in dataset:
            row = {key: value for key, value in entry["metadata"].items() if key not in RESERVED}
            for key in ("question", "answer", "metadata"):
                row[key] = entry[key]
            yield row
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise TaskError(
            f"reasoning-gym {name!r} refuses these args: {error or type(error).__name__}"
        ) from error


def _from_generator(spec: TaskSpec, base_dir: Path | None) -> Iterable[Raw]:
    function = spec.generator
    if not callable(function):
        function = named("generator", str(function), base_dir, TaskError)
    try:
        inspect.signature(function).bind(**spec.args)
    except TypeError as error:
        valid = ", ".join(inspect.signature(function).parameters) or "no arguments"
        raise TaskError(
            f"generator {spec.label!r} cannot take these args: {error}; it takes {valid}"
        ) from error
    rows = function(**spec.args)
    if is_dataset(rows):
        return dataset_rows(rows, spec.limit)
    if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
        raise TaskError(
            f"generator {spec.label!r} returned {type(rows).__name__}, expected an iterable of"
            " dicts"
        )
    return rows
