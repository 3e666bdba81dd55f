"""What every reader of logs asks of DuckDB: a connection that stays offline and in UTC, safe literals, faults listed by SQL."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from topology.columns import MOST_PER_COLUMN
from topology.errors import Problem


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which a row can be wrong: the column, the SQL condition, what to say; and the SQL of the value to show, if not the column."""

    column: str
    where: str
    message: str
    mend: str
    value: str = ""


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that reads times as UTC, fetches no extension and spills to the system's folder for temporary files."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET temp_directory = {quote(str(Path(tempfile.gettempdir()) / f'duckdb-{os.getpid()}'))}")
    return connection


def quote(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """A name of a column as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def parquet_scan(paths: Sequence[Path]) -> str:
    """SQL that reads these files and no others, whatever characters their names hold."""
    names = ", ".join(quote(re.sub(r"([*?\[])", r"[\1]", str(path))) for path in paths)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false, file_row_number = true)"


def report_faults(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    faults: Sequence[Fault],
    table: str,
    problems: list[Problem],
    most: int = MOST_PER_COLUMN,
) -> int:
    """Append the faulty rows of each kind to ``problems``, the first ``most`` one by one, the rest counted in the last of them.

    Parameters
    ----------
    source
        SQL that can follow FROM; its column ``row`` counts from 1.
    table
        What problems call it.

    Returns
    -------
    How many rows there are, sound or not.
    """
    counts = ", ".join(f"count(*) FILTER ({fault.where})" for fault in faults)
    rows, *found = connection.sql(f"SELECT count(*), {counts} FROM {source}").fetchall()[0]  # noqa: S608
    for fault, count in zip(faults, found, strict=True):
        if not count:
            continue
        listed = connection.sql(
            f"SELECT row, CAST({fault.value or fault.column} AS VARCHAR) FROM {source} WHERE {fault.where} "  # noqa: S608
            f"ORDER BY row LIMIT {most}"
        ).fetchall()
        for i, (row, value) in enumerate(listed, 1):
            more = f" (and {count - i} more such rows)" if i == most and count > i else ""
            problems.append(
                Problem(
                    table=table, row=row, column=fault.column, value="" if value is None else value,
                    message=fault.message + more, mend=fault.mend,
                )
            )  # fmt: skip
    return int(rows)
