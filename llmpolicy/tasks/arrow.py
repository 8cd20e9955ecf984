"""Rows of Arrow tables (Parquet files, `datasets` objects) as JSON would hold them: no filled-in
fields, JSON decoded.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmpolicy.bounded import load_json
from llmpolicy.errors import TaskError

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
    columns = [
        [_value(item, field.type) for item in table[field.name].to_pylist()]
        for field in table.schema
    ]
    return [dict(zip(table.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def is_dataset(value: Any) -> bool:
    """Whether a value is an object of the library `datasets`, or a table; no library is imported to
    find out.
    """
    return _is_table(value) or any(
        kind.__module__.partition(".")[0] == "datasets" for kind in type(value).__mro__
    )


def _is_table(value: Any) -> bool:
    """Whether a value is a DataFrame of pandas or polars, or a Table of pyarrow."""
    homes = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(value).__mro__}
    return bool(homes & {("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")})


def _as_arrow(value: Any) -> "pyarrow.Table":
    import pyarrow

    if isinstance(value, pyarrow.Table):
        return value
    try:
        return (
            value.to_arrow()
            if hasattr(value, "to_arrow")
            else pyarrow.Table.from_pandas(value, preserve_index=False)
        )
    except (
        ValueError,
        TypeError,
    ) as error:  # what pyarrow raises for a column of several types, or two of one name
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
    if limit is not None:
        value = value.take(limit) if streamed else value.select(range(min(limit, len(value))))
    rows: list[dict[str, Any]] = []
    for some in _batches(value):
        rows += some
        if streamed and len(rows) > MOST_ROWS:
            raise TaskError(
                f"the stream gave more than {MOST_ROWS} rows; say how many to take: data.take(n)"
            )
    return rows


def _batches(value: Any) -> Iterator[Sequence[dict[str, Any]]]:
    if value.features is None or _is_transformed(
        value
    ):  # Python's own rows, which Arrow has not filled in
        yield from ([dict(row)] for row in value)
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
        inner = {field.name: _value(value[field.name], field.type) for field in kind}
        # The bytes of an image that lies elsewhere are said to be absent, or its path would be a
        # text like any other.
        return {
            name: item
            for name, item in inner.items()
            if item is not None or set(inner) == {"bytes", "path"}
        }
    if types.is_map(kind):
        return {key: _value(item, kind.item_type) for key, item in value}
    if _is_list(kind):
        return [_value(item, kind.value_type) for item in value]
    return value


def _is_list(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    tests: Iterable[Any] = (
        types.is_list,
        types.is_large_list,
        types.is_fixed_size_list,
        types.is_list_view,
    )
    return any(test(kind) for test in tests)
