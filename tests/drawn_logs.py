"""Histories drawn from rates that the test knows: Poisson sessions, a taste a region, weekdays, launches that fade."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demand.catalogue import Catalogue, build_catalogue
from demand.playback import History

START = dt.date(2026, 1, 5)  # a Monday
WEEKDAY = np.array([0.85, 0.85, 0.9, 1.0, 1.1, 1.2, 1.1])
SESSION_GB = 1.3


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A history, the catalogue it is of, the (D, R, F) GB that were to be expected, and each title's launch as a day of the log (or None)."""

    history: History
    catalogue: Catalogue
    expected: np.ndarray
    launch: list[int | None]

    def truth(self, day: int) -> np.ndarray:
        """(R, F) GB that were to be expected on a day."""
        return self.expected[day]


def draw(
    *, regions=6, titles=40, profiles=3, days=35, sessions=4000.0, launched=0.3, seed=0, taste=0.5, missing=()
) -> Drawn:
    """Draw a log of ``days`` days with that many sessions a day; ``missing`` days are not in it."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 0.6, regions)
    popularity = rng.permutation(1 / (np.arange(titles) + 3.0))
    launch = np.where(rng.random(titles) < launched, rng.integers(1, days + 5, titles), -1000)
    age = np.arange(days)[:, None] - launch
    fade = np.where(age < 0, 0.0, np.where(launch > -1000, 0.3 + 3 * np.exp(-age / 8.0), 1.0))
    tastes = rng.lognormal(0, taste, (regions, titles))
    mix = rng.dirichlet(np.full(profiles, 6.0), regions)
    weekday = WEEKDAY[np.arange(days) % 7]
    rate = weekday[:, None, None] * size[:, None] * tastes * (popularity * fade)[:, None, :]
    rate *= sessions * days / rate.sum()
    by_file = rate[:, :, :, None] * mix[:, None, :]
    count = rng.poisson(by_file).reshape(days, regions, -1)
    gb = count * SESSION_GB
    catalogue = make_catalogue(titles, profiles, [None if x == -1000 else int(x) for x in launch])
    kept = [d for d in range(days) if d not in missing]
    return Drawn(
        history=history_of(gb[kept], profiles, [START + dt.timedelta(days=d) for d in kept]),
        catalogue=catalogue,
        expected=by_file.reshape(days, regions, -1) * SESSION_GB,
        launch=[None if x == -1000 else int(x) for x in launch],
    )


def history_of(gb: np.ndarray, profiles: int = 1, dates: list[dt.date] | None = None) -> History:
    """The history of (D, R, F) GB; bytes come evenly over the day, but twice as many in the hour 20."""
    days, regions, files = gb.shape
    file, region, day = np.nonzero(gb.transpose(2, 1, 0))
    curve = np.where(np.arange(24) == 20, 2.0, 1.0) / 25
    return History(
        dates=tuple(dates or [START + dt.timedelta(days=d) for d in range(days)]),
        day=day.astype(np.int32),
        region=region.astype(np.int32),
        file=file.astype(np.int32),
        gb=gb[day, region, file].astype(float),
        hourly_gb=gb.sum(axis=2)[:, :, None] * curve,
        regions=regions,
        files=files,
        title_of=(np.arange(files) // profiles).astype(np.int32),
    )


def make_catalogue(titles: int, profiles: int, launch: list[int | None]) -> Catalogue:
    """Titles of an hour in ``profiles`` encodes, launched on those days of the log."""
    released = [pd.NaT if day is None else pd.Timestamp(START) + pd.Timedelta(days=day) for day in launch]
    frame = pd.DataFrame({"title": [f"t{i}" for i in range(titles)], "kind": "film", "release_date": released})
    kbps = 800.0 * 2 ** np.arange(profiles)
    files = pd.DataFrame(
        {
            "file": [f"t{i}.p{p}" for i in range(titles) for p in range(profiles)],
            "title": np.repeat(frame["title"].to_numpy(), profiles),
            "profile": np.tile([f"p{p}" for p in range(profiles)], titles),
            "bitrate_kbps": np.tile(kbps, titles),
            "size_gb": np.tile(kbps, titles) * 3600 / 8e6,
        }
    )
    return build_catalogue(frame, files)


def regions_frame(regions: int) -> pd.DataFrame:
    """The regions table."""
    return pd.DataFrame({"region": [f"r{i}" for i in range(regions)]})


def dense(demand, regions: int, files: int, values: str = "gb") -> np.ndarray:
    """(R, F) of a demand."""
    table = np.zeros((regions, files))
    table[demand.region, demand.file] = getattr(demand, values)
    return table
