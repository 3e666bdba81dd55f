"""What the batch engine's kernel counts: the books opened, kept by the hour, and closed into the sums that both engines give."""

import numpy as np
from scipy.sparse import csr_array

from sim.arrays import (
    BYTES,
    CARRIED,
    COUNT,
    LEVEL,
    PART,
    PATH_BYTES,
    PATH_COLUMNS,
    PATH_MS,
    WATCHED,
    Books,
    Ground,
)
from sim.balance import BalanceError
from sim.fleet import Fleet
from sim.log import OUTCOMES, Ledger
from sim.scheme import Fills
from sim.series import SLOT_MS, SLOTS, arc_bytes, crossings, loads_of_marks
from sim.tally import HOUR_MS, STARTUP_BINS, Tally, fill_loads, startup_bin
from topology.routing import Paths

HOUR_SLOTS = HOUR_MS // SLOT_MS
WINDOW_BYTES = 2**23
"""About what the marks of the hours that are kept together may take."""


class Accounts:
    """The books of one simulation of so many days.

    Parameters
    ----------
    pair_paths
        The paths of ``ground.pair_of``.
    link_loads
        Whether loads of arcs over time are wanted.
    """

    def __init__(self, fleet: Fleet, ground: Ground, pair_paths: Paths, days: int, *, link_loads: bool) -> None:
        self.fleet, self.ground, self.pair_paths, self.days, self.link_loads = (
            fleet,
            ground,
            pair_paths,
            days,
            link_loads,
        )
        paths = fleet.candidate.size
        self.books = Books(
            path=np.zeros(paths * PATH_COLUMNS, np.int64),
            pulled=np.zeros((paths, 2), np.int64),
            pair=np.zeros((len(pair_paths.start) - 1, 4), np.int64),
            fetched=np.zeros(fleet.sites, np.int64),
            startup=np.zeros(1 + STARTUP_BINS, np.int64),
            peak=np.zeros(fleet.sites, np.int64),
            marks=np.zeros((1, paths, 2), np.int64),
            arc_marks=np.zeros((days * SLOTS, fleet.arcs, 2), np.int64),
        )
        self.crossings = crossings(fleet.region_paths, np.arange(paths), fleet.arcs)
        self.base_slot = 0
        self.kept_hours = min(max(WINDOW_BYTES // (HOUR_SLOTS * self.books.marks.nbytes + 1), 1), 24)
        self.so_far: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # at the end of every hour

    def make_room(self, longest_ms: int) -> None:
        """A window of marks that the longest session fits into."""
        window = min(self.kept_hours * HOUR_SLOTS + longest_ms // SLOT_MS + 2, self.days * SLOTS)
        marks = self.books.marks
        if self.link_loads and window > len(marks):
            more = np.zeros((window - len(marks), *marks.shape[1:]), np.int64)
            self.books = self.books._replace(marks=np.concatenate([marks, more]))

    def end_hour(self, hour: int) -> None:
        """Note what has been counted by the end of an hour; every so many, loads that can no longer change move from paths to arcs."""
        books = self.books
        self.so_far.append((books.path.copy(), books.pulled.copy(), books.pair[:, :2].copy()))
        if self.link_loads and (hour % self.kept_hours == 0 or hour == 24 * self.days):
            self._move_marks(hour * HOUR_SLOTS)

    def _move_marks(self, now_slot: int) -> None:
        """Charge the marks of past slots on paths to the arcs of the paths, and let the window begin now."""
        base, marks, arc_marks = self.base_slot, self.books.marks, self.books.arc_marks
        past = min(now_slot - base, len(marks))
        by_path = marks[:past].swapaxes(0, 1).reshape(marks.shape[1], -1)
        moved = (self.crossings @ by_path).reshape(-1, past, marks.shape[2]).swapaxes(0, 1)
        arc_marks[base : base + past] += moved[: len(arc_marks) - base]
        marks[: len(marks) - past] = marks[past:].copy()
        marks[len(marks) - past :] = 0
        self.base_slot = now_slot

    def close(self, fills: Fills, ran: np.ndarray, requested: int) -> tuple[Tally, Ledger]:
        """Everything counted, as both engines give it.

        Parameters
        ----------
        ran
            (T,) bool: which fills took place.
        requested
            Bytes of all sessions.

        Raises
        ------
        BalanceError
            If sums that were counted at different places do not agree.
        """
        fleet, books = self.fleet, self.books
        shape = fleet.candidate.shape
        path = books.path.reshape(-1, PATH_COLUMNS)
        direct_count = path[:, : len(OUTCOMES)].sum(axis=1) - books.pulled[:, COUNT]
        direct_bytes = path[:, PATH_BYTES] - books.pulled[:, BYTES]
        delivering, first, path_us = np.maximum(fleet.candidate, 0).ravel(), fleet.candidate[:, 0], self.ground.path_us
        best = np.arange(shape[0]) * shape[1]
        targets, sources = self._pair_sites()
        delivered = _sum_by(delivering, path[:, PATH_BYTES], fleet.sites)
        sourced = _sum_by(sources, books.pair[:, BYTES], fleet.sites)
        pulled_bytes = _sum_by(targets, books.pair[:, BYTES], fleet.sites)
        transfers = fleet.site_paths(fills.source_site(fleet)[ran], fills.target_site(fleet)[ran])
        pairs = np.arange(len(targets))
        ledger = Ledger(
            delivered=delivered,
            provided=delivered - pulled_bytes + sourced,
            serving=np.asarray(self.crossings @ path[:, PATH_BYTES]),
            fetching=arc_bytes(self.pair_paths, pairs, books.pair[:, CARRIED], fleet.arcs),
            watched=arc_bytes(self.pair_paths, pairs, books.pair[:, WATCHED], fleet.arcs),
            filling=arc_bytes(transfers, np.arange(int(ran.sum())), fills.bytes[ran], fleet.arcs),
            fill_ran=ran,
        )
        tally = Tally(
            **self._by_hour(),
            path_sessions=path[:, : len(OUTCOMES)].sum(axis=1).reshape(shape),
            path_bytes=path[:, PATH_BYTES].reshape(shape).copy(),
            hit_sessions=_sum_by(first, direct_count[best], fleet.sites),
            hit_bytes=_sum_by(first, direct_bytes[best], fleet.sites),
            pulled_sessions=_sum_by(targets, books.pair[:, COUNT], fleet.sites),
            fetched_bytes=books.fetched.copy(),
            sourced_bytes=sourced,
            startup_us=books.startup[:1] + direct_count @ path_us,
            startup_sessions=books.startup[1:] + _sum_by(startup_bin(path_us), direct_count, STARTUP_BINS),
            peak_bps=books.peak,
            arc_load=self._arc_load(fills, ran),
        )
        self._check_sums(tally, ledger, requested)
        return tally, ledger

    def _arc_load(self, fills: Fills, ran: np.ndarray) -> np.ndarray:
        """(2L, T) int64: bit/s x ms of each arc in each slot; nothing, if loads over time are not wanted."""
        marks = self.books.arc_marks
        if not self.link_loads:
            return np.zeros(marks.shape[1::-1], np.int64)
        load = loads_of_marks(marks[:, :, PART].T, marks[:, :, LEVEL].T)
        return np.asarray(load + fill_loads(self.fleet, fills, ran, self.days))

    def _by_hour(self) -> dict[str, np.ndarray]:
        """The hours' part of the tally, from what had been counted by the end of each."""
        fleet, sites, hours = self.fleet, self.fleet.sites, len(self.so_far)
        path, pulled, pair = (
            np.diff(np.stack(counted), axis=0, prepend=0) for counted in zip(*self.so_far, strict=True)
        )
        path = path.reshape(hours, -1, PATH_COLUMNS)
        delivering, first = (
            np.maximum(fleet.candidate, 0).ravel(),
            np.repeat(fleet.candidate[:, 0], fleet.candidate.shape[1]),
        )
        targets, sources = self._pair_sites()
        sessions, size = path[:, :, : len(OUTCOMES)], path[:, :, PATH_BYTES]
        direct = size - pulled[:, :, BYTES]
        hits = direct[:, :: fleet.candidate.shape[1]]
        count, pulls = sessions.sum(axis=2), pair[:, :, COUNT]
        none = np.zeros_like(count)
        given = np.stack([count, size, path[:, :, PATH_MS], count * self.ground.path_us, none], axis=2)
        none = np.zeros_like(pulls)
        of_pulls = np.stack([none, none, none, pulls * self.ground.pair_us, pulls], axis=2)
        return {
            "hour_sessions": sessions.sum(axis=1),
            "hour_bytes": size.sum(axis=1),
            "hour_hit_bytes": hits.sum(axis=1),
            "hour_origin_bytes": direct[:, fleet.is_origin[delivering]].sum(axis=1)
            + pair[:, fleet.is_origin[sources], BYTES].sum(axis=1),
            "site_hour_asked": _sum_of_each(first, sessions, sites),
            "site_hour_hit_bytes": _sum_of_each(fleet.candidate[:, 0], hits[:, :, None], sites)[:, :, 0],
            "site_hour_delivered": _sum_of_each(delivering, given, sites) + _sum_of_each(targets, of_pulls, sites),
        }

    def _pair_sites(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets and sources of the pulls' pairs, in the order of their numbers."""
        sources, targets = np.nonzero(self.ground.pair_of >= 0)
        order = np.argsort(self.ground.pair_of[sources, targets])
        return targets[order], sources[order]

    def _check_sums(self, tally: Tally, ledger: Ledger, requested: int) -> None:
        """Sums counted at different places of the kernel must agree."""
        for what, counted in (
            ("bytes requested and counted by the hour", int(tally.hour_bytes.sum())),
            ("bytes requested and delivered", int(ledger.delivered.sum())),
            ("bytes requested and provided", int(ledger.provided.sum())),
            (
                "bytes of hits by hour and by site",
                int(tally.hit_bytes.sum()) + requested - int(tally.hour_hit_bytes.sum()),
            ),
            (
                "bytes from origins by hour and by site",
                int(ledger.provided[self.fleet.is_origin].sum()) + requested - int(tally.hour_origin_bytes.sum()),
            ),
        ):
            if counted != requested:
                raise BalanceError(f"{what} do not balance: {requested} against {counted}")


def _sum_by(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, where, values)
    return total


def _sum_of_each(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """(H, size, C) int64: sums of (H, N, C) values by where they belong, hour by hour."""
    hours, count, columns = values.shape
    belongs = csr_array((np.ones(count, np.int64), (where, np.arange(count))), shape=(size, count))
    sums = belongs @ np.ascontiguousarray(values.swapaxes(0, 1)).reshape(count, hours * columns)
    return np.asarray(sums.reshape(size, hours, columns).swapaxes(0, 1))
