"""Fill windows: when each appliance may take files in, by its site's clock."""

import datetime as dt
import zoneinfo

import numpy as np

from topology.network import Network

HOUR_MS = 3_600_000


def window_ms(network: Network, date: dt.date) -> np.ndarray:
    """Start and end of each appliance's fill window that begins on ``date`` by the clock of its site.

    The start is a time on the wall, so it moves with summer time; the length is elapsed time, so a window of 12 hours is 12 hours also in
    the night the clocks change. A start that the clocks skip is the moment they jump; one that comes twice is the first of the two. A site ahead of
    UTC begins in the UTC evening before (negative); a window that begins late ends after midnight.

    Returns
    -------
    (A, 2) int64, ms from 00:00 UTC of ``date``.

    """
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    zones = network.sites["timezone"].to_numpy(object)[network.appliance_site]
    clocks = network.appliances["fill_start"].to_numpy(object)
    starts: dict[tuple[str, str], int] = {}
    for zone, clock in set(zip(zones.tolist(), clocks.tolist(), strict=True)):
        local = dt.datetime.combine(date, dt.time.fromisoformat(clock), zoneinfo.ZoneInfo(zone))
        starts[zone, clock] = round((local.astimezone(dt.UTC) - midnight).total_seconds() * 1000)
    start = np.array([starts[pair] for pair in zip(zones.tolist(), clocks.tolist(), strict=True)], np.int64)
    length = np.rint(network.appliances["fill_hours"].to_numpy(float) * HOUR_MS).astype(np.int64)
    return np.column_stack([start, start + length]).reshape(-1, 2)
