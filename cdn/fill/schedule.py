"""When each file comes to each appliance, and from where: a list schedule inside the fill windows.

Sources are ranked as Netflix publishes it ("Netflix and Fill", 2016): a peer (another appliance of the same site), then a tier fill (the cheapest
other edge site that held the file last night), then an origin. An appliance takes one file at a time, the most valuable first, at its fill rate; as a
source it feeds one at a time. A file that a peer is just receiving is left for later, so that one appliance of a site fetches it from outside and the
others have it from there. What does not end inside the window is not begun.
"""

import datetime as dt
import heapq
import zoneinfo
from collections import deque
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.fill.difference import Difference
from demand.catalogue import Catalogue
from sim.scheme import Fills
from topology.network import Network
from topology.placement import Placement
from topology.routing import SiteTrees

KINDS = ("peer", "tier", "origin")
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FillSchedule:
    """Transfers of one night, sorted by start, then appliance and file.

    Parameters
    ----------
    date
        The planned day; windows begin on it by the site's clock.
    appliance, file
        (T,) what is brought where.
    source
        (T,) an appliance, or ``-1 - site`` of an origin.
    kind
        (T,) index into ``KINDS``.
    start_ms, end_ms
        (T,) from 00:00 UTC of ``date``.
    gb
        (T,) size.
    unfinished
        Copies that no window had time for.
    unfinished_gb
        Their size.
    """

    date: dt.date
    appliance: np.ndarray
    file: np.ndarray
    source: np.ndarray
    kind: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray
    gb: np.ndarray
    unfinished: Placement
    unfinished_gb: float

    def frame(self, network: Network, catalogue: Catalogue) -> pd.DataFrame:
        """The contract's fills table."""
        midnight = np.datetime64(self.date, "ms")
        sites = np.where(self.source < 0, -1 - self.source, 0)
        source = np.where(
            self.source < 0,
            network.site_ids.to_numpy(object)[sites],
            network.appliance_ids.to_numpy(object)[np.maximum(self.source, 0)],
        )
        return pd.DataFrame(
            {
                "appliance": network.appliance_ids.to_numpy(object)[self.appliance],
                "file": catalogue.file_ids.to_numpy(object)[self.file],
                "source": source,
                "start": (midnight + self.start_ms.astype("timedelta64[ms]")).astype("datetime64[ns]"),
                "end": (midnight + self.end_ms.astype("timedelta64[ms]")).astype("datetime64[ns]"),
                "gb": self.gb,
            }
        )

    def summary(self) -> dict[str, object]:
        """transfers, gb, finished_share (of bytes), latest_end, gb_by_source."""
        total = float(self.gb.sum()) + self.unfinished_gb
        latest = None
        if len(self.end_ms):
            latest = dt.datetime.combine(self.date, dt.time()) + dt.timedelta(milliseconds=int(self.end_ms.max()))
        return {
            "transfers": len(self.file),
            "gb": float(self.gb.sum()),
            "unfinished": len(self.unfinished),
            "finished_share": float(self.gb.sum()) / total if total > 0 else 1.0,
            "latest_end": None if latest is None else latest.isoformat(),
            "gb_by_source": {name: float(self.gb[self.kind == i].sum()) for i, name in enumerate(KINDS)},
        }

    def for_simulation(self) -> Fills:
        """The transfers as the simulator takes them; copies without one are simply never there (``Scheme.initial``)."""
        return Fills(
            appliance=self.appliance,
            file=self.file,
            source=self.source,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            bytes=np.rint(self.gb * 1e9).astype(np.int64),
        )


def schedule_fills(
    network: Network, catalogue: Catalogue, change: Difference, before: Placement, trees: SiteTrees,
    *, date: dt.date, value: np.ndarray | None = None, source_gbps_factor: float = 1.0,
) -> FillSchedule:  # fmt: skip
    """Schedule every added copy.

    Parameters
    ----------
    change
        What is added and dropped.
    before
        Last night's copies: what peers and other sites can give.
    value
        (len(change.added),) what each copy is worth; the most valuable come first. None: the order of size, small first.
    source_gbps_factor
        Rate at which an appliance may feed others, over its own ``fill_gbps``.
    """
    night = _Night(network, catalogue, before, trees, source_gbps_factor)
    window = window_ms(network, date)
    gb = catalogue.size_gb[change.added.file]
    rank = np.lexsort((change.added.file, -(value if value is not None else -gb), change.added.appliance))
    queues: dict[int, deque[int]] = {}
    for i in rank.tolist():
        queues.setdefault(int(change.added.appliance[i]), deque()).append(i)
    ready = [(int(window[a, 0]), a) for a in queues]
    heapq.heapify(ready)
    transfers: list[tuple[int, int, int, int, int, int]] = []
    unfinished: list[int] = []
    deferred: set[int] = set()
    while ready:
        now, a = heapq.heappop(ready)
        queue = queues[a]
        if not queue:
            continue
        i = queue.popleft()
        f = int(change.added.file[i])
        if len(queue) and i not in deferred and night.peer_receives(a, f, now):
            deferred.add(i)
            queue.append(i)
            heapq.heappush(ready, (now, a))
            continue
        source, kind, gbps = night.choose(a, f, now)
        end = now + _duration_ms(float(gb[i]), gbps) if gbps > 0 else DAY_MS * 1000
        if end > window[a, 1]:
            unfinished.append(i)
            end = now
        else:
            night.book(a, f, source, now, end)
            transfers.append((now, a, f, source, kind, end))
        heapq.heappush(ready, (end, a))
    return _schedule(catalogue, change, date, transfers, unfinished)


def window_ms(network: Network, date: dt.date) -> np.ndarray:
    """(A, 2) int64: start and end of each appliance's fill window on ``date`` by its site's clock, from 00:00 UTC of that date."""
    zones = network.sites["timezone"].to_numpy(object)
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    memo: dict[tuple[str, str], int] = {}
    window = np.empty((len(network.appliances), 2), np.int64)
    clocks, hours = network.appliances["fill_start"].tolist(), network.appliances["fill_hours"].to_numpy(float)
    for a, clock in enumerate(clocks):
        zone = zones[network.appliance_site[a]]
        if (zone, clock) not in memo:
            local = dt.datetime.combine(date, dt.time.fromisoformat(clock), zoneinfo.ZoneInfo(zone))
            memo[zone, clock] = round((local.astimezone(dt.UTC) - midnight).total_seconds() * 1000)
        window[a] = memo[zone, clock], memo[zone, clock] + round(hours[a] * 3_600_000)
    return window


class _Night:
    """Who has which file, who is receiving it, and who is feeding, as the night goes on."""

    def __init__(
        self, network: Network, catalogue: Catalogue, before: Placement, trees: SiteTrees, factor: float
    ) -> None:
        self.site = network.appliance_site.tolist()
        self.fill = network.appliances["fill_gbps"].to_numpy(float).tolist()
        self.feed = [rate * factor for rate in self.fill]
        self.feeding_until = [0] * len(self.site)
        cost = trees.cost_per_gb[:, network.site_node]  # (from S, to S)
        self.cost = cost
        origins = np.flatnonzero(network.is_origin)
        self.origin = origins[np.argmin(cost[origins], axis=0)].tolist()
        self.origin_cost = cost[origins].min(axis=0).tolist()
        edge = ~network.is_origin[network.appliance_site[before.appliance]]
        order = np.argsort(before.file[edge], kind="stable")
        self.holder = before.appliance[edge][order]
        self.start = np.searchsorted(before.file[edge][order], np.arange(len(catalogue.files) + 1))
        self.tonight: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (site, file) -> (ready at, appliance)

    def peer_receives(self, a: int, f: int, now: int) -> bool:
        """Whether another appliance of the site is receiving the file right now."""
        return any(at > now for at, peer in self.tonight.get((self.site[a], f), ()) if peer != a)

    def choose(self, a: int, f: int, now: int) -> tuple[int, int, float]:
        """The source of a file, its kind and the rate: the best-ranked that is free to feed."""
        here = self.site[a]
        holders = self.holder[self.start[f] : self.start[f + 1]].tolist()
        peers = [h for h in holders if self.site[h] == here and h != a]
        peers += [peer for at, peer in self.tonight.get((here, f), ()) if at <= now and peer != a]
        for peer in peers:
            if self.feeding_until[peer] <= now:
                return peer, 0, min(self.fill[a], self.feed[peer])
        away = sorted(
            (float(self.cost[self.site[h], here]), h)
            for h in holders
            if self.site[h] != here and self.feeding_until[h] <= now
        )
        if away and away[0][0] < self.origin_cost[here] and self.feed[away[0][1]] > 0:
            return away[0][1], 1, min(self.fill[a], self.feed[away[0][1]])
        return -1 - self.origin[here], 2, self.fill[a]

    def book(self, a: int, f: int, source: int, now: int, end: int) -> None:
        """Note a transfer."""
        assert end >= now
        if source >= 0:
            self.feeding_until[source] = end
        self.tonight.setdefault((self.site[a], f), []).append((end, a))


def _duration_ms(gb: float, gbps: float) -> int:
    return max(1, int(np.ceil(gb * 8000.0 / gbps)))


def _schedule(
    catalogue: Catalogue, change: Difference, date: dt.date,
    transfers: list[tuple[int, int, int, int, int, int]], unfinished: list[int],
) -> FillSchedule:  # fmt: skip
    rows = np.array(sorted(transfers), np.int64).reshape(-1, 6)
    late = np.array(unfinished, np.int64)
    return FillSchedule(
        date=date, start_ms=rows[:, 0], appliance=rows[:, 1], file=rows[:, 2], source=rows[:, 3], kind=rows[:, 4], end_ms=rows[:, 5],
        gb=catalogue.size_gb[rows[:, 2]], unfinished=Placement.of(change.added.appliance[late], change.added.file[late]),
        unfinished_gb=float(catalogue.size_gb[change.added.file[late]].sum()),
    )  # fmt: skip
