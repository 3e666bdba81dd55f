"""Expected demand: what each region asks of each file on the planned day."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numba as nb
import numpy as np
import pandas as pd

from demand.stream import stream_demand
from topology.errors import InputError, Problem
from topology.tables import ROWS, index_of, load_schema, read_table, write_parquet, write_table

PEAK_TO_MEAN = 2.5
"""Busiest hour over mean rate where a demand gives no peak (the contract's default)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """Sparse demand, one entry for each (region, file) that is asked for, sorted by file, then region.

    Parameters
    ----------
    region, file
        (N,) int32.
    gb
        (N,) float, GB over the day, >= 0.
    peak_gbps
        (N,) float, Gbit/s in the region's busiest hour, >= 0.
    gb_p10, gb_p90
        (N,) float or None: the band that holds 80 % of outcomes.
    """

    region: np.ndarray
    file: np.ndarray
    gb: np.ndarray
    peak_gbps: np.ndarray
    gb_p10: np.ndarray | None = None
    gb_p90: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.gb)

    def file_start(self, files: int) -> np.ndarray:
        """(F + 1,) int64: the entries of file f are ``file_start[f]:file_start[f + 1]``."""
        return np.searchsorted(self.file, np.arange(files + 1, dtype=self.file.dtype)).astype(np.int64)


def build_demand(
    region: np.ndarray,
    file: np.ndarray,
    gb: np.ndarray,
    peak_gbps: np.ndarray | None = None,
    gb_p10: np.ndarray | None = None,
    gb_p90: np.ndarray | None = None,
    *,
    peak_to_mean: float = PEAK_TO_MEAN,
) -> Demand:
    """Sort entries by file and region; absent peaks are ``gb * 8 / 86400 * peak_to_mean``, entry by entry where NaN.

    Arrays that are sorted already and of the right type are not copied.
    """
    columns = {
        "region": region.astype(np.int32, copy=False),
        "file": file.astype(np.int32, copy=False),
        "gb": gb.astype(float, copy=False),
        "peak_gbps": _peaks(gb, peak_gbps, peak_to_mean),
        "gb_p10": gb_p10,
        "gb_p90": gb_p90,
    }
    return _sorted({name: column for name, column in columns.items() if column is not None})


def _peaks(gb: np.ndarray, peak_gbps: np.ndarray | None, peak_to_mean: float) -> np.ndarray:
    if peak_gbps is not None and not np.isnan(np.min(peak_gbps, initial=0.0)):
        return peak_gbps.astype(float, copy=False)
    mean_peak = gb * 8 / 86400 * peak_to_mean
    return mean_peak if peak_gbps is None else np.where(np.isnan(peak_gbps), mean_peak, peak_gbps)


def _sorted(columns: dict[str, np.ndarray]) -> Demand:
    """Two stable counting sorts, by region and then by file, each column at a time: one more column is all the room that takes.

    ``columns`` is emptied, so that nothing but the result holds what was sorted.
    """
    if not _is_sorted(columns["file"], columns["region"]):
        for key in ("region", "file"):
            _sort_by(key, columns)
    return Demand(**{name: columns.pop(name) for name in list(columns)})


def _sort_by(key: str, columns: dict[str, np.ndarray]) -> None:
    values = columns[key]
    if (values[1:] >= values[:-1]).all():
        return
    count = _count(values, int(values.max()) + 1)
    for name in list(columns):
        if name != key:
            columns[name] = _scatter(columns[name], values, np.cumsum(count) - count)
    columns[key] = np.repeat(np.arange(len(count), dtype=np.int32), count)


@nb.njit(cache=True)
def _count(values: np.ndarray, n: int) -> np.ndarray:
    """How often each of 0 .. n - 1 is there: as ``np.bincount``, without a copy of the values."""
    count = np.zeros(n, np.int64)
    for value in values:
        if value < 0:
            raise ValueError("a region or file below 0")
        count[value] += 1
    return count


@nb.njit(cache=True)
def _scatter(column: np.ndarray, key: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The column in ascending order of its key, ties as they were; ``start`` is where each key's values begin, and is used up."""
    out = np.empty_like(column)
    for n in range(len(column)):
        out[start[key[n]]] = column[n]
        start[key[n]] += 1
    return out


def _is_sorted(file: np.ndarray, region: np.ndarray) -> bool:
    same = file[1:] == file[:-1]
    return bool(((file[1:] > file[:-1]) | (same & (region[1:] >= region[:-1]))).all())


def read_demand(path: Path, regions: pd.Index, files: pd.Index, *, peak_to_mean: float = PEAK_TO_MEAN) -> Demand:
    """Read and validate a demand table.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    schema = load_schema("demand", "demand")
    columns = stream_demand(path, schema, regions, files) if path.name.endswith(".parquet") else None
    if columns is not None:
        columns["peak_gbps"] = _peaks(columns["gb"], columns.get("peak_gbps"), peak_to_mean)
        demand = _sorted(columns)
        if not _repeats(demand.file, demand.region):
            return demand
        del demand
    problems: list[Problem] = []
    known = {"regions": regions, "files": files}
    frame = read_table(path, schema, problems, known=known, categorical=True)
    if problems or frame is None:
        raise InputError(problems)

    def column(name: str) -> np.ndarray | None:
        return frame[name].to_numpy(float) if name in frame else None

    return build_demand(
        index_of(regions, frame["region"]),
        index_of(files, frame["file"]),
        frame["gb"].to_numpy(float),
        column("peak_gbps"),
        column("gb_p10"),
        column("gb_p90"),
        peak_to_mean=peak_to_mean,
    )


def _repeats(file: np.ndarray, region: np.ndarray) -> bool:
    """Whether a pair is there twice, among sorted ones."""
    return bool(((file[1:] == file[:-1]) & (region[1:] == region[:-1])).any())


def demand_frame(demand: Demand, regions: pd.Index, files: pd.Index) -> pd.DataFrame:
    """The contract's table of a demand."""
    frame = pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(demand.region, categories=regions),
            "file": pd.Categorical.from_codes(demand.file, categories=files),
            "gb": demand.gb,
        }
    )
    for name in ("gb_p10", "gb_p90"):
        if (values := getattr(demand, name)) is not None:
            frame[name] = values
    return frame.assign(peak_gbps=demand.peak_gbps)


def write_demand(demand: Demand, regions: pd.Index, files: pd.Index, path: Path) -> None:
    """Write the contract's table, whole or not at all; Parquet some rows at a time."""
    if path.name.endswith(".parquet"):
        write_parquet(_frames(demand, regions, files), path)
    else:
        write_table(demand_frame(demand, regions, files).astype({"region": object, "file": object}), path)


def _frames(demand: Demand, regions: pd.Index, files: pd.Index) -> Iterator[pd.DataFrame]:
    """The table in parts of at most :data:`~topology.tables.ROWS` rows, at least one part."""
    for first in range(0, max(len(demand), 1), ROWS):
        rows = slice(first, first + ROWS)
        band = [None if values is None else values[rows] for values in (demand.gb_p10, demand.gb_p90)]
        part = Demand(
            region=demand.region[rows], file=demand.file[rows], gb=demand.gb[rows], peak_gbps=demand.peak_gbps[rows], gb_p10=band[0], gb_p90=band[1]
        )  # fmt: skip
        yield demand_frame(part, regions, files)
