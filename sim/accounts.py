"""What the batch engine's kernel counts: the books opened, kept by the hour, and closed into the sums that both engines give."""

import numpy as np

from sim.arrays import (
    BYTES,
    COUNT,
    PATH_BYTES,
    PATH_COLUMNS,
    PATH_PULLED,
    PATH_PULLED_BYTES,
    Books,
    Ground,
)
from sim.balance import BalanceError
from sim.clock import NEVER
from sim.fleet import Fleet
from sim.hourly import turn_hour
from sim.log import OUTCOMES, Ledger
from sim.scheme import Fills
from sim.series import SLOT_MS, SLOTS, arc_bytes, loads_by_arc, mark_flows, move_marks
from sim.tally import DELIVERED, HOUR_MS, STARTUP_BINS, Tally, startup_bin
from topology.routing import Paths

HOUR_SLOTS = HOUR_MS // SLOT_MS
WINDOW_BYTES = 2**20
"""About what the marks of the hours that are kept together may take: the second cache of a processor."""


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
        paths, pairs, hours = fleet.candidate.size, len(pair_paths.start) - 1, 24 * days
        self.books = Books(
            hour_end=np.array([HOUR_MS]),
            path=np.zeros(paths * PATH_COLUMNS, np.int64),
            pair=np.zeros((pairs, 2), np.int64),
            path_total=np.zeros(paths * PATH_COLUMNS, np.int64),
            pair_total=np.zeros((pairs, 2), np.int64),
            by_hour=np.zeros((hours, len(OUTCOMES) + 3), np.int64),
            asked=np.zeros((hours, fleet.sites, len(OUTCOMES) + 1), np.int64),
            given=np.zeros((hours, fleet.sites, len(DELIVERED)), np.int64),
            fetched=np.zeros(pairs, np.int64),
            relayed=np.zeros(pairs, np.int64),
            detour=np.zeros(pairs, np.int64),
            startup=np.zeros(STARTUP_BINS, np.int64),
            peak=np.zeros(fleet.sites, np.int64),
            marks=np.zeros((1, paths, 2), np.int64),
            pair_marks=np.zeros((1, pairs, 2), np.int64),
        )
        self.arcs_of_paths, self.arcs_of_pairs = (
            (np.repeat(np.arange(len(of.start) - 1), np.diff(of.start)), of.arcs)
            for of in (fleet.region_paths, pair_paths)
        )
        self.arc_marks = np.zeros((days * SLOTS, fleet.arcs, 2), np.int64)
        self.base_slot = 0
        slot_bytes = self.books.marks.nbytes + self.books.pair_marks.nbytes
        self.kept_hours = min(max(WINDOW_BYTES // (HOUR_SLOTS * slot_bytes + 1), 1), 24)

    def make_room(self, longest_ms: int) -> None:
        """A window of marks that the longest session fits into, kept so long that what is left of it seldom moves."""
        self.kept_hours = max(self.kept_hours, min(longest_ms // HOUR_MS + 1, 24))
        window = min(self.kept_hours * HOUR_SLOTS + longest_ms // SLOT_MS + 2, self.days * SLOTS)
        if self.link_loads and window > len(self.books.marks):
            marks, pair_marks = (
                np.concatenate([old, np.zeros((window - len(old), *old.shape[1:]), np.int64)])
                for old in (self.books.marks, self.books.pair_marks)
            )
            self.books = self.books._replace(marks=marks, pair_marks=pair_marks)

    def is_due(self, hour: int) -> bool:
        """Whether the window of marks ends with an hour; longer sessions may lengthen it at any time."""
        return hour >= self.base_slot // HOUR_SLOTS + self.kept_hours or hour == 24 * self.days

    def end_hour(self, hour: int) -> None:
        """Every so many hours, loads that can no longer change move from paths to arcs, and the window of marks begins anew."""
        if not self.is_due(hour):
            return
        past = hour * HOUR_SLOTS - self.base_slot
        if self.link_loads:
            move_marks(self.books.marks, past, self.arc_marks, self.base_slot, *self.arcs_of_paths)
            move_marks(self.books.pair_marks, past, self.arc_marks, self.base_slot, *self.arcs_of_pairs)
        self.base_slot += past

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
        turn_hour(self.ground, books, NEVER)
        shape = fleet.candidate.shape
        path, pair = books.path_total.reshape(-1, PATH_COLUMNS), books.pair_total
        count = path[:, : len(OUTCOMES)].sum(axis=1)
        direct_count = count - path[:, PATH_PULLED]
        direct_bytes = path[:, PATH_BYTES] - path[:, PATH_PULLED_BYTES]
        delivering, first, path_us = np.maximum(fleet.candidate, 0).ravel(), fleet.candidate[:, 0], self.ground.path_us
        best = np.arange(shape[0]) * shape[1]
        targets, sources = self.ground.pair_target, self.ground.pair_source
        delivered = _sum_by(delivering, path[:, PATH_BYTES], fleet.sites)
        sourced = _sum_by(sources, pair[:, BYTES], fleet.sites)
        pulled_bytes = _sum_by(targets, pair[:, BYTES], fleet.sites)
        transfers = fleet.site_paths(fills.source_site(fleet)[ran], fills.target_site(fleet)[ran])
        pairs = np.arange(len(targets))
        ledger = Ledger(
            delivered=delivered,
            provided=delivered - pulled_bytes + sourced,
            serving=arc_bytes(fleet.region_paths, np.arange(len(path)), path[:, PATH_BYTES], fleet.arcs),
            fetching=arc_bytes(self.pair_paths, pairs, books.fetched + books.relayed, fleet.arcs),
            watched=arc_bytes(self.pair_paths, pairs, pair[:, BYTES] + books.detour + books.relayed, fleet.arcs),
            filling=arc_bytes(transfers, np.arange(int(ran.sum())), fills.bytes[ran], fleet.arcs),
            fill_ran=ran,
        )
        tally = Tally(
            hour_sessions=books.by_hour[:, : len(OUTCOMES)],
            hour_bytes=books.by_hour[:, -3],
            hour_hit_bytes=books.by_hour[:, -2],
            hour_origin_bytes=books.by_hour[:, -1],
            site_hour_asked=books.asked[:, :, :-1],
            site_hour_hit_bytes=books.asked[:, :, -1],
            site_hour_delivered=books.given,
            path_sessions=count.reshape(shape),
            path_bytes=path[:, PATH_BYTES].reshape(shape).copy(),
            hit_sessions=_sum_by(first, direct_count[best], fleet.sites),
            hit_bytes=_sum_by(first, direct_bytes[best], fleet.sites),
            pulled_sessions=_sum_by(targets, pair[:, COUNT], fleet.sites),
            fetched_bytes=_sum_by(targets, books.fetched, fleet.sites),
            sourced_bytes=sourced,
            startup_us=np.array([count @ path_us + pair[:, COUNT] @ self.ground.pair_us]),
            startup_sessions=books.startup + _sum_by(startup_bin(path_us), direct_count, STARTUP_BINS),
            peak_bps=books.peak,
            arc_load=self._arc_load(fills, ran),
        )
        self._check_sums(tally, ledger, requested)
        return tally, ledger

    def _arc_load(self, fills: Fills, ran: np.ndarray) -> np.ndarray:
        """(2L, T) int64: bit/s x ms of each arc in each slot; nothing, if loads over time are not wanted."""
        marks, fleet = self.arc_marks, self.fleet
        if not self.link_loads:
            return np.zeros(marks.shape[1::-1], np.int64)
        paths = fleet.site_paths(fills.source_site(fleet)[ran], fills.target_site(fleet)[ran])
        mark_flows(marks, paths.start, paths.arcs, fills.start_ms[ran], fills.end_ms[ran], fills.rate_bps()[ran])
        return loads_by_arc(marks)

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
