"""When each file comes to each appliance, and from where: a list schedule inside the fill windows.

An appliance takes one file at a time, the most valuable first, at its fill rate or what the source can give; nothing begins that would not end inside
the window. Room comes first: dropped files are gone at the window's start, except those a peer takes on tonight, which stay until it has them or
until their room is needed, so storage is never exceeded. A file that a peer is just receiving, or that only busy peers hold, is left for
later: one appliance of a site (the fill master) fetches it from outside and the others have it from there. Sources: :mod:`cdn.fill.sources`.
Ties are broken by time, then by the order of the appliances table.
"""

import datetime as dt
import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.fill.difference import Difference
from cdn.fill.sources import (
    KINDS,
    ORIGIN,
    PEER,
    TIER,
    Feeders,
    SourceRules,
    cheapest_origins,
    feed_rates,
    file_bytes,
    handed_over,
    peer_copies,
    site_keys,
    tier_copies,
)  # fmt: skip
from cdn.fill.windows import window_ms
from demand.catalogue import Catalogue
from sim.fleet import BITS_PER_GBIT, BYTES_PER_GB, whole_units
from sim.scheme import Fills
from topology.network import Network
from topology.placement import Placement
from topology.routing import SiteTrees

MOST_WAITS = 3
"""How often a file is left for a busy peer before it is fetched from outside the site."""

Transfer = tuple[int, int, int, int, int, int]  # start, appliance, file, source, kind, end


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
        Copies that no window had time for: not begun, and not there tomorrow.
    unfinished_gb
        Their size.
    dropped
        Copies that are removed, as the difference has them.
    dropped_ms
        (D,) when each is removed.
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
    dropped: Placement
    dropped_ms: np.ndarray

    def frame(self, network: Network, catalogue: Catalogue) -> pd.DataFrame:
        """The contract's fills table, and the kind of each source (peer, tier or origin)."""
        sites, appliances = network.site_ids.to_numpy(object), network.appliance_ids.to_numpy(object)
        source = np.empty(len(self.source), object)
        own = self.source >= 0
        source[own], source[~own] = appliances[self.source[own]], sites[-1 - self.source[~own]]
        return pd.DataFrame(
            {
                "appliance": pd.Categorical.from_codes(self.appliance, categories=network.appliance_ids),
                "file": pd.Categorical.from_codes(self.file, categories=catalogue.file_ids),
                "source": source,
                "start": self.utc(self.start_ms),
                "end": self.utc(self.end_ms),
                "gb": self.gb,
                "kind": pd.Categorical.from_codes(self.kind, categories=pd.Index(KINDS)),
            }
        )

    def utc(self, ms: np.ndarray) -> np.ndarray:
        """Moments of the night as datetime64[ns], UTC."""
        return (np.datetime64(self.date, "ms") + ms.astype("timedelta64[ms]")).astype("datetime64[ns]")

    def summary(self) -> dict[str, object]:
        """transfers, gb, unfinished (copies), unfinished_gb, finished_share (of bytes), latest_end (UTC), gb_by_source."""
        gb = float(self.gb.sum())
        total = gb + self.unfinished_gb
        latest = (
            None if len(self) == 0 else str(self.utc(self.end_ms.max(keepdims=True))[0].astype("datetime64[ms]")) + "Z"
        )
        return {
            "transfers": len(self),
            "gb": gb,
            "unfinished": len(self.unfinished),
            "unfinished_gb": self.unfinished_gb,
            "finished_share": gb / total if total > 0 else 1.0,
            "latest_end": latest,
            "gb_by_source": {name: float(self.gb[self.kind == i].sum()) for i, name in enumerate(KINDS)},
        }

    def __len__(self) -> int:
        return len(self.file)

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
    network: Network, catalogue: Catalogue, change: Difference, trees: SiteTrees,
    *, date: dt.date, value: np.ndarray | None = None, rules: SourceRules = SourceRules(),
) -> FillSchedule:  # fmt: skip
    """Schedule every added copy.

    Near-linear in the added copies: each is handled at most ``MOST_WAITS`` times or so, besides one NumPy pass over sites x added copies.

    Parameters
    ----------
    change
        What is added, dropped and kept.
    date
        The planned day: each appliance fills in the window that begins on it by its site's clock.
    value
        (len(change.added),) what each copy is worth; the most valuable come first. None: the order of size, small first.
    """
    night = _Night(network, catalogue, change, trees, date, value, rules)
    transfers = night.run()
    rows = np.array(sorted(transfers), np.int64).reshape(-1, 6)
    late = np.array(night.unfinished, np.int64)
    unfinished = Placement.of(change.added.appliance[late], change.added.file[late])
    return FillSchedule(
        date=date, start_ms=rows[:, 0], appliance=rows[:, 1], file=rows[:, 2], source=rows[:, 3], kind=rows[:, 4], end_ms=rows[:, 5],
        gb=catalogue.size_gb[rows[:, 2]], unfinished=unfinished, unfinished_gb=float(catalogue.size_gb[unfinished.file].sum()),
        dropped=change.dropped, dropped_ms=night.rooms.dropped_ms(),
    )  # fmt: skip


class _Night:
    """The state of the night as it goes on: queues, who has which file, who feeds whom."""

    def __init__(
        self, network: Network, catalogue: Catalogue, change: Difference, trees: SiteTrees,
        date: dt.date, value: np.ndarray | None, rules: SourceRules,
    ) -> None:  # fmt: skip
        files, added = len(catalogue.files), change.added
        size = file_bytes(catalogue)
        keys = site_keys(network, added, files)
        worth = -catalogue.size_gb[added.file] if value is None else np.asarray(value, float)
        order = np.lexsort((added.file, -worth, added.appliance))
        self.window = window_ms(network, date).tolist()
        self.rate: list[int] = whole_units(network.appliances["fill_gbps"].to_numpy(float), BITS_PER_GBIT).tolist()
        self.site: list[int] = network.appliance_site.tolist()
        self.key, self.file, self.bytes = keys.tolist(), added.file.tolist(), size[added.file].tolist()
        self.queue: dict[int, deque[int]] = {}
        for i in order.tolist():
            self.queue.setdefault(int(added.appliance[i]), deque()).append(i)
        self.waiting: dict[int, list[tuple[int, int]]] = {a: [] for a in self.queue}
        self.waits = [0] * len(added)
        self.min_share = rules.min_rate_share
        self.origin = cheapest_origins(network, trees)
        self.feeders = Feeders(feed_rates(network, rules))
        self.peers = peer_copies(network, change.kept, keys, files)
        self.tiers = tier_copies(network, trees, change.kept, keys, files, rules)
        self.tonight: dict[int, list[tuple[int, int]]] = {}  # site and file -> (there at, appliance)
        self.rooms = _Rooms(network, change, size, keys, worth, self.window)
        self.unfinished: list[int] = []

    def run(self) -> list[Transfer]:
        """Let appliances begin transfers in the order of time until every copy is brought or given up."""
        ready = [(self.window[a][0], a) for a in self.queue]
        heapq.heapify(ready)
        transfers: list[Transfer] = []
        while ready:
            now, a = heapq.heappop(ready)
            i = self._next(a, now)
            if i is None:
                if self.waiting[a]:
                    heapq.heappush(ready, (self.waiting[a][0][0], a))
                continue
            transfer = self._begin(a, i, now)
            if transfer is not None:
                transfers.append(transfer)
                now = transfer[-1]
            heapq.heappush(ready, (now, a))
        return transfers

    def _next(self, a: int, now: int) -> int | None:
        """The next copy for an appliance: one whose wait is over, else the head of its queue."""
        waiting = self.waiting[a]
        if waiting and waiting[0][0] <= now:
            return heapq.heappop(waiting)[1]
        return self.queue[a].popleft() if self.queue[a] else None

    def _begin(self, a: int, i: int, now: int) -> Transfer | None:
        """Begin the transfer of a copy, leave it for later, or give it up."""
        soonest = self._end(i, self.rate[a], now)
        if soonest is None or soonest > self.window[a][1]:
            self.unfinished.append(i)
            return None
        room_at = self.rooms.make_room(a, self.bytes[i], now)
        if room_at is None or room_at > now:
            if room_at is None:
                self.unfinished.append(i)
            else:
                heapq.heappush(self.waiting[a], (room_at, i))
            return None
        found = self._source(a, i, now)
        if found is None:
            return None
        source, kind, bps = found
        end = self._end(i, bps, now)
        assert end is not None and end <= self.window[a][1]
        if source >= 0:
            self.feeders.feed(source, end, bps)
        self.tonight.setdefault(self.key[i], []).append((end, a))
        self.rooms.took(a, self.bytes[i], self.key[i], source if kind == PEER else None, end)
        return now, a, self.file[i], source, kind, end

    def _source(self, a: int, i: int, now: int) -> tuple[int, int, int] | None:
        """Source, kind and rate of a copy; None if it is now waiting for a peer."""
        key = self.key[i]
        tonight = self.tonight.get(key, ())
        peers = [peer for peer in self.peers.get(key, ()) if peer != a] + self.rooms.handing_over(key, a)
        there = peers + [peer for at, peer in tonight if at <= now and peer != a]
        free = [(-bps, peer) for peer in there if (bps := self._gives(peer, a, i, now))]
        if free:
            bps, peer = min(free)
            return peer, PEER, -bps
        if self._wait(a, i, now, there, [at for at, peer in tonight if at > now and peer != a]):
            return None
        for holder in self.tiers.get(key, ()):
            if bps := self._gives(holder, a, i, now):
                return holder, TIER, bps
        return -1 - self.origin[self.site[a]], ORIGIN, self.rate[a]

    def _gives(self, source: int, a: int, i: int, now: int) -> int:
        """The rate a source would feed an appliance with; 0 where it is too busy or too slow for the window."""
        bps = min(self.rate[a], self.feeders.free_bps(source, now))
        end = self._end(i, bps, now) if bps >= self.min_share * self.rate[a] else None
        return bps if end is not None and end <= self.window[a][1] else 0

    def _wait(self, a: int, i: int, now: int, busy: list[int], coming: list[int]) -> bool:
        """Leave a copy until a peer has it or is free again, if that still ends inside the window."""
        ends = [end for peer in busy if (end := self.feeders.next_end(peer)) is not None]
        until = min([end for end in ends if end > now] + coming, default=None)
        if until is None or self.waits[i] >= MOST_WAITS:
            return False
        end = self._end(i, self.rate[a], until)
        if end is None or end > self.window[a][1]:
            return False
        self.waits[i] += 1
        heapq.heappush(self.waiting[a], (until, i))
        return True

    def _end(self, i: int, bps: int, start: int) -> int | None:
        """When a copy is there at a rate: whole ms, rounded up, at least one; None at no rate."""
        return start + max(1, -(-self.bytes[i] * 8000 // bps)) if bps > 0 else None


class _Rooms:
    """Free bytes of every appliance, and the dropped files that are kept back for a peer as long as there is room."""

    def __init__(
        self, network: Network, change: Difference, size: np.ndarray, keys: np.ndarray, worth: np.ndarray, window: list[list[int]]
    ) -> None:  # fmt: skip
        files, dropped = len(size), change.dropped
        held = handed_over(network, change, files)
        drop_keys = site_keys(network, dropped, files)
        kept_bytes = np.bincount(change.kept.appliance, size[change.kept.file], len(window))
        back_bytes = np.bincount(dropped.appliance[held], size[dropped.file[held]], len(window))
        storage = whole_units(network.appliances["storage_gb"].to_numpy(float), BYTES_PER_GB)
        slack = np.bincount(change.kept.appliance, minlength=len(window)) + np.bincount(
            change.added.appliance, minlength=len(window)
        )  # sizes were rounded to whole bytes one by one
        self.free: list[int] = (storage + slack - kept_bytes - back_bytes).astype(np.int64).tolist()
        self.window, self.appliance = window, dropped.appliance.tolist()
        self.bytes, self.keys = size[dropped.file].tolist(), drop_keys.tolist()
        self.gone_at: list[int | None] = [
            None if kept else window[a][0] for a, kept in zip(self.appliance, held.tolist(), strict=True)
        ]
        self.busy_until = [0] * len(self.keys)
        self.closed: set[int] = set()
        self.takers: dict[int, int] = dict(
            zip(*(part.tolist() for part in np.unique(keys, return_counts=True)), strict=True)
        )
        self.of_key: dict[int, list[int]] = {}
        self.back: list[deque[int]] = [deque() for _ in window]
        most = dict(sorted(zip(keys.tolist(), worth.tolist(), strict=True)))  # of equal keys the highest comes last
        for _, _, d in sorted((most[self.keys[d]], self.keys[d], d) for d in np.flatnonzero(held).tolist()):
            self.back[self.appliance[d]].append(d)
            self.of_key.setdefault(self.keys[d], []).append(d)
        for a, (start, _) in enumerate(window):
            self.make_room(a, 0, start)  # more than the storage, where that has shrunk

    def handing_over(self, key: int, taker: int) -> list[int]:
        """Appliances that still hold a dropped file for their peers."""
        return [
            self.appliance[d]
            for d in self.of_key.get(key, ())
            if self.gone_at[d] is None and d not in self.closed and self.appliance[d] != taker
        ]

    def make_room(self, a: int, size: int, now: int) -> int | None:
        """See to it that an appliance has room: now, or the moment it will have it, or None for never."""
        busy: list[int] = []
        while self.free[a] < size and self.back[a]:
            d = self.back[a].popleft()
            if self.gone_at[d] is not None:
                continue
            if self.busy_until[d] > now:
                busy.append(d)
            else:
                self._drop(d, now)
        self.back[a].extendleft(reversed(busy))
        if self.free[a] >= size:
            return now
        self.closed.update(busy)  # no new taker, so that the wait has an end
        return min((self.busy_until[d] for d in busy), default=None)

    def took(self, a: int, size: int, key: int, peer: int | None, end: int) -> None:
        """Book a transfer: the room it takes, the peer that feeds it, one taker less to wait for."""
        self.free[a] -= size
        self.takers[key] -= 1
        for d in self.of_key.get(key, ()):
            if self.appliance[d] == peer:
                self.busy_until[d] = max(self.busy_until[d], end)
            if self.takers[key] == 0 and self.gone_at[d] is None:
                self.back[self.appliance[d]].appendleft(d)  # nobody needs it any more: the first to go

    def dropped_ms(self) -> np.ndarray:
        """(D,) when each dropped copy goes: at the window's start, when its room was needed, after its last taker, or at the window's end."""
        whole = [
            at if at is not None
            else max(self.window[a][0], until) if self.takers[key] == 0
            else max(self.window[a][1], until)
            for at, a, until, key in zip(self.gone_at, self.appliance, self.busy_until, self.keys, strict=True)
        ]  # fmt: skip
        return np.array(whole, np.int64)

    def _drop(self, d: int, now: int) -> None:
        self.gone_at[d] = max(now, self.window[self.appliance[d]][0])
        self.free[self.appliance[d]] += self.bytes[d]
