"""Rows of parquet files, damaged ones left out with a warning."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from llmpolicy.errors import one_line

_LOG = logging.getLogger("llmpolicy")


def rows_of(file: Path, without: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rows of a file without these columns; of ``token_ids`` the ``length`` alone."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        kept = [name for name in pq.read_schema(file).names if name not in without]
        table = pq.read_table(file, columns=kept, page_checksum_verification=True)
        if "token_ids" in table.column_names:
            lengths = pc.list_value_length(table["token_ids"])
            table = table.append_column("length", lengths).drop_columns(["token_ids"])
        rows: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError) as error:
        _LOG.warning("%s: damaged and left out: %s", file, one_line(error)[:120])
        return []
    return rows
