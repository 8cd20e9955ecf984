"""Rows of Arrow tables (Parquet files, `datasets` objects) as JSON would hold them: no filled-in
fields, JSON decoded.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmpolicy.bounded import load_json
from llmpolicy.errors import TaskError
from llmpolicy.tasks.content import comes_from

if TYPE_CHECKING:
    import pyarrow

MOST_ROWS = 1_000_000
"""Rows that a stream without a limit may give: one that never ends would be waited for without a
word.
"""


def table_rows(table: "pyarrow.Table") -> list[dict[str, Any]]:
    """The rows of a table; in nested columns a field that is None is absent, and columns of JSON
    are values, not text.
    """
    columns = []
    for field in table.schema:
        columns.append([_value(item, field.type) for item in table[field.name].to_pylist()])
    names = table.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def is_dataset(value: Any) -> bool:
    """Whether a value is an object of the library `datasets`, or a table; no library is imported to
    find out.
    """
    return comes_from(value, "datasets") or _is_table(value)


def _is_table(value: Any) -> bool:
    """Whether a value is a DataFrame of pandas or polars, or a Table of pyarrow."""
    kinds = [kind.__name__ for kind in type(value).__mro__]
    if "DataFrame" in kinds:
        return comes_from(value, "pandas", "polars")
    return "Table" in kinds and comes_from(value, "pyarrow")


def _as_arrow(value: Any) -> "pyarrow.Table":
    import pyarrow

    if isinstance(value, pyarrow.Table):
        return value
    try:
        if hasattr(value, "to_arrow"):
            return value.to_arrow()
        return pyarrow.Table.from_pandas(value, preserve_index=False)
    except (ValueError, TypeError) as error:  # of a column of several types, or two of one name
        raise TaskError(
            f"the DataFrame cannot be read as a table: {' '.join(str(error).split())[:200]}"
        ) from error


def dataset_rows(value: Any, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows of a dataset or a table, at most ``limit``; raises TaskError where a split must be
    chosen.
    """
    if _is_table(value):
        return table_rows(_as_arrow(value).slice(0, limit))
    if hasattr(value, "keys"):
        splits = ", ".join(map(str, value))
        raise TaskError(
            f"found a {type(value).__name__} with the splits {splits}; expected one of them, as"
            " data['train']"
        )
    streamed = not hasattr(value, "num_rows")
    if limit is not None and streamed:
        value = value.take(limit)
    elif limit is not None:
        value = value.select(range(min(limit, len(value))))
    rows: list[dict[str, Any]] = []
    for batch in _batches(value):
        rows += batch
        if streamed and len(rows) > MOST_ROWS:
            raise TaskError(
                f"the stream gave more than {MOST_ROWS} rows; say how many to take: data.take(n)"
            )
    return rows


def _batches(value: Any) -> Iterator[Sequence[dict[str, Any]]]:
    if value.features is None or _is_transformed(value):
        for row in value:  # Python's own, which Arrow has not filled in
            yield [dict(row)]
        return
    for table in value.with_format("arrow").iter(batch_size=1000):
        yield table_rows(table)


def _is_transformed(value: Any) -> bool:
    """Whether a dataset's rows are what a function of the user's makes of them when they are read
    (``with_transform``).
    """
    return (getattr(value, "format", None) or {}).get("type") == "custom"


def _value(value: Any, kind: "pyarrow.DataType") -> Any:
    from pyarrow import types

    if value is None:
        return None
    if getattr(kind, "extension_name", "") == "arrow.json":
        return load_json(value)
    if types.is_struct(kind):
        # The bytes of an image that lies elsewhere are said to be absent, or its path would be a
        # text like any other.
        is_image = {field.name for field in kind} == {"bytes", "path"}
        record = {}
        for field in kind:
            item = _value(value[field.name], field.type)
            if item is not None or is_image:
                record[field.name] = item
        return record
    if types.is_map(kind):
        return {key: _value(item, kind.item_type) for key, item in value}
    if _is_list(kind):
        return [_value(item, kind.value_type) for item in value]
    return value


def _is_list(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
    )
