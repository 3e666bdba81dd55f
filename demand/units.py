"""Logs in another unit: row by row they could be sessions, together they cannot be, by the bit rates of the catalogue."""

import duckdb

from topology.errors import Problem

FAR = 100
"""A session may be this many times faster, or slower, than the bit rate of its file: encodes change on the way, buffers fill, players stand still. Units are 1000 apart.
Within a second nothing is too slow: objects of a few bytes take a millisecond in imported traces."""
_KINDS = (
    ("gb", f"gb * 8e6 > {FAR} * seconds * bitrate_kbps", "over {} times", "divide MB by 1000"),
    (
        "seconds",
        f"seconds >= 1 AND gb * 8e6 * {FAR} < seconds * bitrate_kbps",
        "under a {}th of",
        "divide milliseconds by 1000",
    ),
)


def unit_problems(connection: duckdb.DuckDBPyConnection, source: str, table: str) -> list[Problem]:
    """What to say of a file of the log most of whose sessions are far from the bit rates of what they watched: the first of them, and how many there are.

    Parameters
    ----------
    source
        SQL that can follow FROM, of rows that are sound one by one: row, seconds, gb, bitrate_kbps.
    table
        What problems call it.
    """
    counted = ", ".join(
        f"count(*) FILTER ({where}), arg_min([row, {column}, gb * 8e6 / seconds, bitrate_kbps], row) FILTER ({where})"
        for column, where, *_ in _KINDS
    )
    rows, *found = connection.sql(f"SELECT count(*), {counted} FROM {source}").fetchall()[0]  # noqa: S608
    problems = []
    for (column, _, far, divide), count, first in zip(_KINDS, found[::2], found[1::2], strict=True):
        if 2 * count > rows:
            row, value, kbps, bitrate = first
            message = f"{kbps:,.6g} kbit/s, {far.format(FAR)} the {bitrate:,.6g} of its file, as are {count:,} of {rows:,} sessions"
            mend = f"give GB and seconds ({divide}), or correct bitrate_kbps in files"
            problems.append(
                Problem(table=table, row=int(row), column=column, value=f"{value:.6g}", message=message, mend=mend)
            )
    return problems
