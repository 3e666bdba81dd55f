"""A small sound network folder, written table by table, for tests that spoil one thing at a time."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

from demand.playback import write_playback
from topology.tables import write_table

FIRST = dt.date(2026, 3, 2)
DAYS = 4
HOSTILE = 'north, "x" | <b>é</b> Ω\''
"""A region's name with everything that a table, a shell or a page could stumble over."""


def small_tables() -> dict[str, pd.DataFrame]:
    """Five nodes in a ring, three regions, an origin and three edge sites, twelve files of six titles."""
    titles = [f"t{i}" for i in range(6)]
    return {
        "nodes": pd.DataFrame({"node": list("abcde"), "lat": [50.0, 51, 52, 53, 54], "lon": [8.0, 9, 10, 11, 12]}),
        "links": pd.DataFrame(
            {
                "link": ["ab", "bc", "cd", "de", "ea"],
                "source": list("abcde"),
                "target": list("bcdea"),
                "capacity_gbps": [100.0] * 5,
                "length_km": [10.0, 20, 30, 40, 50],
                "cost_per_gb": [1.0, 2, 3, 4, 5],
            }
        ),
        "regions": pd.DataFrame(
            {
                "region": [HOSTILE, "east", "south"],
                "node": ["b", "c", "d"],
                "timezone": ["Europe/Berlin", "UTC", "Asia/Kathmandu"],
                "subscribers": [1000, 2000, 500],
            }
        ),
        "sites": pd.DataFrame(
            {
                "site": ["origin", "bravo", "charlie", "delta"],
                "node": ["a", "b", "c", "d"],
                "kind": ["origin", "ix", "embedded", "embedded"],
            }
        ),
        "appliances": pd.DataFrame(
            {
                "appliance": ["b1", "b2", "c1", "d1"],
                "site": ["bravo", "bravo", "charlie", "delta"],
                "model": "m",
                "storage_gb": [6.0, 4.0, 6.0, 5.0],
                "throughput_gbps": [0.012, 0.008, 0.016, 0.008],
                "fill_gbps": [0.01, 0.01, 0.01, 0.01],
                "fill_start": "02:00",
                "fill_hours": 12.0,
            }
        ),
        "titles": pd.DataFrame({"title": titles}),
        "files": pd.DataFrame(
            {
                "file": [f"{t}-{p}" for t in titles for p in ("low", "high")],
                "title": np.repeat(titles, 2),
                "profile": ["low", "high"] * 6,
                "bitrate_kbps": [1000.0, 4000.0] * 6,
                "size_gb": [0.6 + 0.1 * i for i in range(12)],
            }
        ),
    }


def playback_frame(date: dt.date, sessions: int = 200) -> pd.DataFrame:
    """A day of sessions, the first titles the most popular."""
    rng = np.random.default_rng(date.toordinal())
    seconds = rng.integers(60, 5000, sessions).astype(float)
    high = rng.random(sessions) < 0.6
    title = np.minimum(rng.geometric(0.4, sessions) - 1, 5)
    return pd.DataFrame(
        {
            "start": np.sort(np.datetime64(date, "s") + rng.integers(0, 86_400, sessions)),
            "region": rng.choice([HOSTILE, "east", "south"], sessions),
            "title": [f"t{i}" for i in title],
            "profile": np.where(high, "high", "low"),
            "seconds": seconds,
            "gb": seconds * np.where(high, 4000, 1000) / 8e6,
        }
    )


def write_small_network(folder: Path) -> Path:
    """Write it all and return the folder."""
    for name, frame in small_tables().items():
        write_table(frame, folder / f"{name}.csv")
    for i in range(DAYS):
        date = FIRST + dt.timedelta(days=i)
        write_playback(folder, date, playback_frame(date))
    return folder
