"""A sound demand table in Parquet, read batch by batch into the arrays it becomes.

Long tables (millions of rows) are read here in about 34 bytes a row. Whatever is out of the ordinary makes :func:`stream_demand` return None: then the reader
of all tables (:func:`topology.tables.read_table`) reads the file again, and says what is wrong with it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from topology.columns import Schema

ROWS = 1 << 17
"""Rows read at a time."""


def stream_demand(path: Path, schema: Schema, regions: pd.Index, files: pd.Index) -> dict[str, np.ndarray] | None:
    """The schema's columns of a Parquet file in the order of its rows, or None where it is not a sound table of plain types.

    Returns
    -------
    ``region`` and ``file`` (N,) int32, positions in the indexes; the other columns (N,) float64, NaN where null.
    """
    try:
        with path.open("rb") as raw:
            known = pq.ParquetFile(raw)
            names = known.schema_arrow.names
            plain = [
                name
                for name in ("region", "file")
                if name in names and known.schema_arrow.field(name).type == pa.string()
            ]
            table = pq.ParquetFile(raw, metadata=known.metadata, read_dictionary=plain)
            if not table.metadata.num_rows or len(set(names)) < len(names):
                return None
            return _read(table, schema, regions, files)
    except (pa.ArrowException, OSError):
        return None


def _read(
    table: pq.ParquetFile, schema: Schema, regions: pd.Index, files: pd.Index
) -> dict[str, np.ndarray] | None:  # fmt: skip
    there = [a for a in schema.attributes if a.name in table.schema_arrow.names]
    if any(a.status != "optional" and a not in there for a in schema.attributes):
        return None
    positions = {"region": _Positions(regions), "file": _Positions(files)}
    rows = table.metadata.num_rows
    columns = {a.name: np.empty(rows, np.int32 if a.name in positions else float) for a in there}
    first = 0
    for batch in _batches(table, list(columns)):
        for a in there:
            column, out = batch[a.name], columns[a.name][first : first + batch.num_rows]
            if a.name in positions:
                sound = positions[a.name].find(column, out)
            else:
                sound = _numbers(column, out, may_be_blank=a.status == "optional")
            if not sound:
                return None
        first += batch.num_rows
    pa.default_memory_pool().release_unused()
    return columns if first == rows else None


def _batches(table: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Row group by row group: asked for all at once, Arrow would hold the whole file."""
    for group in range(table.num_row_groups):
        yield from table.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False)


class _Positions:
    """Looks up the texts of a column in an index, once for each dictionary."""

    def __init__(self, index: pd.Index) -> None:
        self.texts = pa.array(index, pa.string())
        self.dictionary: pa.Array | None = None
        self.at = np.zeros(0, np.int32)

    def find(self, column: pa.Array, out: np.ndarray) -> bool:
        """Write the positions into ``out``; False if something is not in the index."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        if encoded.dictionary.type != pa.string() or encoded.null_count:
            return False
        if self.dictionary is None or not self.dictionary.equals(encoded.dictionary):
            self.dictionary = encoded.dictionary
            found = pc.index_in(self.dictionary, value_set=self.texts, skip_nulls=True)
            self.at = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
        np.take(self.at, encoded.indices.to_numpy(zero_copy_only=False), out=out, mode="raise")
        return bool(out.min(initial=0) >= 0)


def _numbers(column: pa.Array, out: np.ndarray, *, may_be_blank: bool) -> bool:
    """Write the numbers into ``out``, NaN for null; False if one is out of range or no number."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return False
    blank = column.null_count
    out[:] = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return bool(np.count_nonzero((out >= 0) & (out < np.inf)) == len(out) - blank and (may_be_blank or not blank))
