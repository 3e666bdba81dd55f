"""What is announced for days to come: holidays, campaigns, promotions, the recommender's exposure. An optional table of a network folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from topology.columns import report_rows
from topology.errors import InputError, Problem
from topology.tables import find_table, load_schema, read_table

SIGNALS = ("exposure", "campaign_spend", "promoted", "holiday")
"""What a row may announce."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """Announcements, one a row; what several rows say of the same day, region and title adds up.

    Parameters
    ----------
    date
        (E,) datetime64[D].
    region, title
        (E,) int32, -1 for all of them.
    signal
        (E, len(SIGNALS)) float >= 0.
    """

    date: np.ndarray
    region: np.ndarray
    title: np.ndarray
    signal: np.ndarray

    def on(self, date: np.datetime64, region: np.ndarray, title: np.ndarray, regions: int) -> np.ndarray:
        """(N, len(SIGNALS)) float: what is announced for a day, for N pairs of region and title.

        Parameters
        ----------
        region, title
            (N,) int.
        regions
            How many there are.
        """
        rows = self.date == date
        total = np.zeros((len(region), len(SIGNALS)))
        for all_regions in (True, False):
            for all_titles in (True, False):
                at = rows & ((self.region < 0) == all_regions) & ((self.title < 0) == all_titles)
                if not at.any():
                    continue
                own = np.where(all_titles, 0, self.title[at]).astype(np.int64) * regions
                own += np.where(all_regions, 0, self.region[at])
                wanted = np.where(all_titles, 0, title).astype(np.int64) * regions + np.where(all_regions, 0, region)
                keys, inverse = np.unique(own, return_inverse=True)
                sums = np.zeros((len(keys), len(SIGNALS)))
                np.add.at(sums, inverse, self.signal[at])
                place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
                total += np.where((keys[place] == wanted)[:, None], sums[place], 0.0)
        return total


def read_events(folder: Path, regions: pd.Index, titles: pd.Index) -> Events | None:
    """Read and validate the table ``events`` of a network folder; None where there is none.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    problems: list[Problem] = []
    events = validate_events(folder, regions, titles, problems)
    if problems:
        raise InputError(problems)
    return events


def validate_events(folder: Path, regions: pd.Index, titles: pd.Index, problems: list[Problem]) -> Events | None:
    """As :func:`read_events`, with what is wrong appended to ``problems``."""
    try:
        path = find_table(folder, "events")
    except InputError as error:
        problems.extend(error.problems)
        return None
    if path is None:
        return None
    frame = read_table(path, load_schema("demand", "events"), problems, may_be_empty=True)
    if frame is None or frame.empty:
        return None
    before = len(problems)
    undated = np.flatnonzero(frame["date"].isna())
    report_rows(undated, lambda _: "", "date", "events", problems, "no date", "give the day, YYYY-MM-DD")
    place = {}
    for name, ids in (("region", regions), ("title", titles)):
        named = frame[name].fillna("") if name in frame else pd.Series([""] * len(frame))
        place[name] = np.where(named == "", -1, ids.get_indexer(pd.Index(named))).astype(np.int32)
        unknown = np.flatnonzero((named != "") & (place[name] < 0))
        message, mend = f"unknown id, not in table {name}s", f"leave it empty for every {name}, or correct the name"
        report_rows(unknown, named.iloc.__getitem__, name, "events", problems, message, mend)
    if len(problems) > before:
        return None
    signal = [frame[name].fillna(0.0).to_numpy(float) if name in frame else np.zeros(len(frame)) for name in SIGNALS]
    return Events(
        date=frame["date"].to_numpy("datetime64[D]"),
        region=place["region"],
        title=place["title"],
        signal=np.column_stack(signal),
    )
