"""Speed of the log generator: ``python -m benchmarks.workload``. Sessions per second of CPU time, one thread; the last line is JSON."""

import datetime as dt
import json
import time

import numpy as np
import pandas as pd

from demand.bitrate import default_ladder
from demand.catalogue import build_catalogue
from demand.laws import load_laws
from demand.workload import generate_playback, sample_catalogue

FIRST_DAY = dt.date(2026, 1, 1)
SIZES = ((150, 12, 20_000), (2_000, 20, 1_000_000), (5_000, 50, 1_000_000))
"""Titles, regions, sessions a day."""


def measure(titles: int, regions: int, sessions: int, days: int = 3) -> dict[str, float]:
    """Generate a few days and count."""
    rng = np.random.default_rng(1)
    laws = load_laws()
    catalogue = build_catalogue(*sample_catalogue(rng, titles, laws, default_ladder(), first_day=FIRST_DAY, days=days))
    zones = ["Europe/Berlin", "America/New_York"]
    places = pd.DataFrame(
        {
            "region": [f"region-{i}" for i in range(regions)],
            "timezone": [zones[i % 2] for i in range(regions)],
            "subscribers": rng.lognormal(13, 0.8, regions),
        }
    )
    dates = [FIRST_DAY + dt.timedelta(days=i) for i in range(days)]
    began = time.process_time()
    drawn = sum(
        len(log) for _, log in generate_playback(rng, catalogue, places, dates, laws, sessions_per_day=sessions)
    )
    seconds = time.process_time() - began
    return {
        "titles": titles,
        "regions": regions,
        "sessions": drawn,
        "cpu_seconds": seconds,
        "per_second": drawn / seconds,
    }


def main() -> None:
    """Print a table and JSON."""
    rows = [measure(*size) for size in SIZES]
    print("titles  regions  sessions  CPU s  sessions/s")
    for row in rows:
        print(
            f"{row['titles']:6,}  {row['regions']:7,}  {row['sessions']:8,}  {row['cpu_seconds']:5.2f}  {row['per_second']:10,.0f}"
        )
    print(json.dumps({"workload": rows}))


if __name__ == "__main__":
    main()
