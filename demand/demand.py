"""Expected demand: what each region asks of each file on the planned day."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from topology.errors import InputError, Problem
from topology.tables import index_of, load_schema, read_table, write_table

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
        return np.searchsorted(self.file, np.arange(files + 1)).astype(np.int64)


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
    """Sort entries by file and region; absent peaks are ``gb * 8 / 86400 * peak_to_mean``, entry by entry where NaN."""
    order = np.lexsort((region, file))
    mean_peak = gb * 8 / 86400 * peak_to_mean
    peak = mean_peak if peak_gbps is None else np.where(np.isnan(peak_gbps), mean_peak, peak_gbps)

    def sort(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else np.ascontiguousarray(values[order])

    return Demand(
        region=region[order].astype(np.int32),
        file=file[order].astype(np.int32),
        gb=gb[order].astype(float),
        peak_gbps=peak[order].astype(float),
        gb_p10=sort(gb_p10),
        gb_p90=sort(gb_p90),
    )


def read_demand(path: Path, regions: pd.Index, files: pd.Index, *, peak_to_mean: float = PEAK_TO_MEAN) -> Demand:
    """Read and validate a demand table.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    problems: list[Problem] = []
    known = {"regions": regions, "files": files}
    frame = read_table(path, load_schema("demand", "demand"), problems, known=known, categorical=True)
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
    """Write the contract's table, whole or not at all."""
    frame = demand_frame(demand, regions, files)
    if not path.name.endswith(".parquet"):
        frame = frame.astype({"region": object, "file": object})
    write_table(frame, path)
