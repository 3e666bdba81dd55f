"""The batch engine: the results of :func:`sim.reference.simulate`, to the last byte, at the speed of compiled code.

SimPy keeps the clock of the fleet: outages, fills, the hours. Before each of its events the kernel (:mod:`sim.kernel`) runs all sessions that start earlier
and ends all that are over by then, so a session sees exactly the fleet it would have seen in the reference. Sessions may come all at once or in parts, in
the order of their starts, so that memory does not grow with their number.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import simpy

from sim.arrays import (
    BYTES,
    CARRIED,
    COUNT,
    LEVEL,
    PART,
    PATH_BYTES,
    PATH_COLUMNS,
    PATH_MS,
    PLACES,
    WATCHED,
    Books,
    Entries,
    Ground,
    Part,
    State,
)
from sim.balance import BalanceError, check_balance
from sim.caches import KERNEL_ADMISSIONS, KERNEL_POLICIES, empty_caches, empty_memory
from sim.climb import PULLS, Climbs, climbs, pull_paths
from sim.clock import ARRIVAL, FILL_END, FILL_START, OUTAGE, STEER, SWITCH, Moment
from sim.ends import NEVER, empty_calendar, page_shift, with_pages, with_room
from sim.fleet import Fleet
from sim.kernel import NO_ROOM, end_all, look_over, play, warm
from sim.log import OUTCOMES, Ledger, SessionLog
from sim.metrics import SimulationResult, measure
from sim.numbering import WORD, Numbers, Seats
from sim.scheme import RULES, Fills, Outage, Rules, Scheme, check_scheme, dropped_copies
from sim.series import SLOT_MS, SLOTS, arc_bytes, crossings, loads_of_marks
from sim.sessions import DAY_MS, Sessions, build_sessions, check_sessions
from sim.sites import copies_there
from sim.steer import refresh
from sim.tally import HOUR_MS, STARTUP_BINS, Tally, fill_loads, startup_bin
from topology.errors import InputError, Problem
from topology.placement import Placement
from topology.routing import Paths

ENDLESS_BPS = 2**62
"""The throughput of an origin."""
NO_CLIMBS = Climbs(of=np.zeros((0, 0), np.int32), start=np.zeros(1, np.int64), site=np.zeros(0, np.int32))
HOUR_SLOTS = HOUR_MS // SLOT_MS


def simulate(
    fleet: Fleet,
    sessions: Sessions | Iterable[Sessions],
    scheme: Scheme,
    fills: Fills | None = None,
    *,
    warm_up: Sessions | None = None,
    outages: Sequence[Outage] = (),
    rules: Rules = RULES,
    progress: Callable[[int], None] | None = None,
    keep_log: bool = False,
    link_loads: bool = True,
) -> SimulationResult:
    """Run sessions against one scheme.

    Parameters
    ----------
    sessions
        In the order of their starts; or parts of them, one after the other, each with the same ``days``.
    fills, warm_up, outages, rules
        As in :func:`sim.reference.simulate`.
    progress
        Called with the number of sessions so far, every simulated hour and at the end.
    keep_log
        Whether the result tells who served each session (needs sessions all at once): 25 bytes a session. The byte check is then made from it, too.
    link_loads
        Whether loads of arcs over time are measured; without, they are 0 and the sums of bytes are the same.

    Raises
    ------
    InputError
        If sessions, scheme, fills or outages do not fit the fleet, or parts are out of order.
    BalanceError
        If bytes do not balance: a defect.
    """
    fills = Fills.none() if fills is None else fills
    check_scheme(fleet, scheme, fills, list(outages), rules)
    run = _Run(fleet, scheme, fills, rules, link_loads=link_loads)
    if warm_up is not None:
        check_sessions(warm_up, fleet.regions, fleet.files)
        run.warm(warm_up)
    if isinstance(sessions, Sessions):
        run.begin(iter([sessions]), sessions.days, len(sessions) if keep_log else 0)
    elif keep_log:
        raise InputError(
            [
                Problem(
                    table="arguments",
                    column="keep_log",
                    message="a stream leaves no log",
                    mend="give all sessions at once",
                )
            ]
        )
    else:
        parts = iter(sessions)
        first = next(parts, None)
        if first is None:
            first = _no_sessions()
        run.begin(chain([first], parts), first.days, 0)
    run.run(outages, progress)
    tally, ledger = run.books_closed()
    log = run.log() if keep_log else None
    result = measure(fleet, scheme.label, tally, ledger, fills, log)
    if isinstance(sessions, Sessions) and keep_log:
        check_balance(result, fleet, sessions)
    return result


def _no_sessions() -> Sessions:
    none = np.zeros(0, np.int64)
    return build_sessions(none, none, none, none, none)


class _Run:
    """One run: the kernel's arrays, and SimPy as the clock that says when something other than a session happens."""

    def __init__(self, fleet: Fleet, scheme: Scheme, fills: Fills, rules: Rules, *, link_loads: bool) -> None:
        self.fleet, self.scheme, self.fills, self.link_loads = fleet, scheme, fills, link_loads
        numbers = self.numbers = Numbers(fleet)
        self.bit = numbers.bit
        self.throughput = np.full(numbers.bits, ENDLESS_BPS, np.int64)
        self.throughput[self.bit] = fleet.appliance_throughput_bps
        reserve = np.zeros(numbers.bits, np.int64)
        reserve[self.bit] = rules.reserve_bps(fleet)
        self.softly = rules.soft_limit < 1
        policy = 0 if scheme.policy is None else KERNEL_POLICIES[scheme.policy]
        rule = KERNEL_ADMISSIONS[scheme.admission]
        pair_of, self.pair_paths = (
            np.zeros((0, 0), np.int32),
            Paths(start=np.zeros(1, np.int64), arcs=np.zeros(0, np.int32)),
        )
        ways = NO_CLIMBS
        if policy:
            pair_of, self.pair_paths = pull_paths(fleet, scheme.pull)
            ways = climbs(fleet) if scheme.pull != "next" else NO_CLIMBS
        self.ground = Ground(
            candidate=np.ascontiguousarray(fleet.candidate, np.int32),
            where=numbers.where,
            site_of=numbers.site,
            reserve=reserve,
            file_bytes=fleet.file_bytes,
            pair_of=pair_of,
            pair_start=self.pair_paths.start,
            pair_arcs=self.pair_paths.arcs,
            path_us=fleet.round_trip_us(fleet.region_paths),
            pair_us=fleet.round_trip_us(self.pair_paths),
            policy=policy,
            admission=rule,
            largest=scheme.largest_bytes,
            climb_of=ways.of,
            climb_start=ways.start,
            climb_site=ways.site,
            pull=PULLS.index(scheme.pull),
            whole=scheme.fetch == "file",
        )
        up = np.zeros(numbers.width, np.uint64)  # gaps are never up
        np.bitwise_or.at(up, self.bit // WORD, np.uint64(1) << (self.bit % WORD).astype(np.uint64))
        meta, node = empty_caches(
            policy, np.where(fleet.is_origin, 0, scheme.cache_bytes(fleet)), fleet.files if policy else 0
        )
        self.state = State(
            row_of=np.arange(fleet.regions, dtype=np.int32),
            holds=self._origins(),
            copies=self._copies(),
            up=up,
            free=self.throughput.copy(),
            load=np.zeros(fleet.sites, np.int64),
            cache_meta=meta,
            cache_node=node,
            cache_asked=empty_memory(rule, fleet.sites, fleet.files if policy else 0),
            cached=np.zeros((fleet.files if policy else 0, -(-fleet.sites // WORD)), np.uint64),
            evicted=np.zeros(fleet.files if policy else 0, np.int32),
        )
        self.seats = Seats(fleet)
        if scheme.placement is not None:
            for placement in (scheme.placement, dropped_copies(fleet, scheme)):
                self._refresh(placement.appliance, placement.file)
        self.calendar = empty_calendar(page_shift(np.zeros(0)))
        self.base_slot = 0
        self.outages = np.zeros(fleet.appliances, np.int64)
        self.fill_rate, self.fill_writes = fills.rate_bps(), rules.write_bps(fills)
        self.fill_ran = np.zeros(len(fills), bool)
        self.env = simpy.Environment()
        self.parts: Iterator[Sessions] = iter(())
        self.part: Sessions | None = None
        self.at, self.done, self.last_start, self.requested = 0, 0, 0, 0
        self.so_far: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # at the end of every hour

    def _copies(self) -> np.ndarray:
        """(F, 2W) uint64: bits of the copies that are there when the clock starts, then of all planned ones."""
        width = self.numbers.width
        bits = np.zeros((self.fleet.files, 2 * width), np.uint64)
        if self.scheme.placement is not None:
            flat, (place, value) = bits.reshape(-1), self._bits_of(self.scheme.placement)
            now = copies_there(self.fleet, self.scheme, self.fills)
            np.bitwise_or.at(flat, width + place, value)
            np.bitwise_or.at(flat, place[now], value[now])
            np.bitwise_or.at(flat, *self._bits_of(dropped_copies(self.fleet, self.scheme)))
        return bits

    def _origins(self) -> np.ndarray:
        """(V, F, K / 16) uint16: the bits of origins alone."""
        fleet, width = self.fleet, self.fleet.candidate.shape[1]
        endless = fleet.is_origin[np.maximum(fleet.candidate, 0)] & (fleet.candidate >= 0)
        words = np.zeros((len(fleet.candidate), -(-width // PLACES)), np.uint16)
        row, k = np.nonzero(endless)
        np.bitwise_or.at(words, (row, k // PLACES), (1 << k % PLACES).astype(np.uint16))
        return np.repeat(words[:, None], fleet.files, axis=1)

    def _refresh(self, appliance: np.ndarray, file: np.ndarray) -> None:
        """Copies of these files at the sites of these appliances have come or gone."""
        seats = self.seats
        site = self.fleet.appliance_site[appliance].astype(np.int64)
        refresh(self.ground, self.state, seats.row, seats.place, seats.begin, site, np.asarray(file, np.int64))

    def _bits_of(self, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
        """Where the bits of copies stand in ``copies``, flat, and the words that have them alone set."""
        bit = self.bit[placement.appliance]
        place = placement.file.astype(np.int64) * (2 * self.numbers.width) + bit // WORD
        return place, np.uint64(1) << (bit % WORD).astype(np.uint64)

    def warm(self, sessions: Sessions) -> None:
        """Fill the caches with yesterday's sessions."""
        if self.ground.policy:
            warm(self.ground, self.state, sessions.region, sessions.file)

    def begin(self, parts: Iterator[Sessions], days: int, logged: int) -> None:
        """Open the books for so many days, and the first part of the sessions."""
        fleet, self.parts, self.days = self.fleet, parts, days
        paths = fleet.candidate.size
        self.books = Books(
            path=np.zeros(paths * PATH_COLUMNS, np.int64),
            pulled=np.zeros((paths, 2), np.int64),
            pair=np.zeros((len(self.pair_paths.start) - 1, 4), np.int64),
            fetched=np.zeros(fleet.sites, np.int64),
            startup=np.zeros(1 + STARTUP_BINS, np.int64),
            peak=np.zeros(fleet.sites, np.int64),
            marks=np.zeros((1, paths, 2), np.int64),
            arc_marks=np.zeros((days * SLOTS, fleet.arcs, 2), np.int64),
        )
        self.entries = Entries(
            candidate=np.zeros(logged, np.int32),
            appliance=np.zeros(logged, np.int32),
            source=np.zeros(logged, np.int32),
            source_appliance=np.zeros(logged, np.int32),
            keeper=np.zeros(logged, np.int32),
            fetched=np.zeros(logged, np.int64),
            outcome=np.zeros(logged, np.int8),
        )
        self.crossings = crossings(fleet.region_paths, np.arange(paths), fleet.arcs)
        self._open_next_part()

    def run(self, outages: Sequence[Outage], progress: Callable[[int], None] | None) -> None:
        """Start every process, let the clock run, and see that all throughput came back."""
        switch_ms = self.scheme.switch_ms
        changes = range(self.fleet.regions, len(self.fleet.candidate))
        first = [0, switch_ms or 0, *self.fills.start_ms.tolist(), *(outage.from_ms for outage in outages)]
        first += [int(self.fleet.row_from_ms[row]) for row in changes]
        self.env = simpy.Environment(initial_time=min(first))
        for fill in range(len(self.fills)):
            self.env.process(self.transfer(fill))
        for outage in outages:
            self.env.process(self.fail(outage))
        if switch_ms is not None:
            self.env.process(self.switch(switch_ms))
        for row in changes:
            self.env.process(self.change(row))
        self.env.process(self.hours(progress))
        try:
            self.env.run()
        except (InputError, BalanceError) as error:  # SimPy raises a copy that knows only the text
            raise error.__cause__ or error from None
        self.advance(NEVER)
        if not (np.array_equal(self.state.free, self.throughput) and not self.state.load.any()):
            raise BalanceError("throughput was not given back")
        if progress is not None:
            progress(self.done)

    def hours(self, progress: Callable[[int], None] | None) -> Generator[Moment, Any, None]:
        """Every hour: loads that can no longer change move from paths to arcs."""
        for hour in range(1, 24 * self.days + 1):
            yield Moment(self.env, hour * HOUR_MS, ARRIVAL)
            self.advance(hour * HOUR_MS)
            self._move_marks(hour * HOUR_SLOTS)
            books = self.books
            self.so_far.append((books.path.copy(), books.pulled[:, :2].copy(), books.pair[:, :2].copy()))
            if progress is not None:
                progress(self.done)

    def transfer(self, fill: int) -> Generator[Moment, Any, None]:
        """A fill: it takes throughput from its source and its target, and when it ends its copy is there."""
        start, end = int(self.fills.start_ms[fill]), int(self.fills.end_ms[fill])
        source, target, file = int(self.fills.source[fill]), int(self.fills.appliance[fill]), int(self.fills.file[fill])
        yield Moment(self.env, start, FILL_START)
        if self.outages[target] or (source >= 0 and self.outages[source]):
            return
        self.advance(start)
        self._provide(source, int(self.fill_rate[fill]))
        self.state.free[self.bit[target]] -= self.fill_writes[fill]
        yield Moment(self.env, end, FILL_END)
        self.advance(end)
        self._provide(source, -int(self.fill_rate[fill]))
        self.state.free[self.bit[target]] += self.fill_writes[fill]
        word, place = divmod(int(self.bit[target]), WORD)
        self.state.copies[file, word] |= np.uint64(1 << place)
        row, seat = self.seats.of(int(self.fleet.appliance_site[target]))
        self.state.holds[row, file, seat // PLACES] |= (1 << seat % PLACES).astype(np.uint16)
        self.fill_ran[fill] = True

    def switch(self, at: int) -> Generator[Moment, Any, None]:
        """The sites leave last night's plan: its copies that are no longer planned are gone."""
        yield Moment(self.env, at, SWITCH)
        self.advance(at)
        old = dropped_copies(self.fleet, self.scheme)
        place, value = self._bits_of(old)
        np.bitwise_and.at(self.state.copies.reshape(-1), place, ~value)
        self._refresh(old.appliance, old.file)

    def fail(self, outage: Outage) -> Generator[Moment, Any, None]:
        """An outage: its appliances take nothing new until it is over."""
        appliances = np.array(outage.appliances(self.fleet), np.int64)
        for at, change in ((outage.from_ms, 1), (outage.to_ms, -1)):
            yield Moment(self.env, at, OUTAGE)
            self.advance(at)
            self.outages[appliances] += change
            for bit, down in zip(self.bit[appliances].tolist(), self.outages[appliances].tolist(), strict=True):
                word, here = bit // WORD, np.uint64(1 << bit % WORD)
                self.state.up[word] = self.state.up[word] & ~here if down else self.state.up[word] | here

    def change(self, row: int) -> Generator[Moment, Any, None]:
        """From now on a region is steered by another row."""
        at = int(self.fleet.row_from_ms[row])
        yield Moment(self.env, at, STEER)
        self.advance(at)
        self.state.row_of[self.fleet.row_region[row]] = row

    def _provide(self, source: int, rate: int) -> None:
        """An appliance, or an origin, begins to provide a rate to a fill (or ends, with a negative rate)."""
        bit = int(self.bit[source]) if source >= 0 else int(self.numbers.where["endless"][-1 - source])
        site = self.ground.site_of[bit]
        self.state.free[bit] -= rate
        self.state.load[site] += rate
        self.books.peak[site] = max(self.books.peak[site], self.state.load[site])

    def advance(self, until: int) -> None:
        """Run every session that starts before a time, and end every session that is over by then."""
        while self.part is not None:
            part = self.part
            self.at, why = play(
                self.ground,
                self.state,
                self.calendar,
                self.books,
                self.entries,
                Part(part.start_ms, part.region, part.file, part.duration_ms, part.bytes, part.rate_bps),
                self.at,
                until,
                self.base_slot,
                self.softly,
                self.link_loads,
                self.numbers.appliance,
            )
            if why == NO_ROOM:
                self.calendar = with_room(self.calendar)
            elif self.at == len(part):
                self.done += len(part)
                self._open_next_part()
            else:
                return  # play has ended what is over
        end_all(self.ground, self.state, self.calendar, until)

    def _open_next_part(self) -> None:
        self.part, self.at = next(self.parts, None), 0
        part = self.part
        if part is None:
            return
        if part.days != self.days:
            mend = "give every part the same number of days"
            raise InputError([Problem(table="playback", message="the parts are not of the same days", mend=mend)])
        columns = (part.start_ms, part.region, part.file, part.duration_ms, part.bytes)
        sound, longest, requested = look_over(
            *columns, self.last_start, self.days * DAY_MS, self.fleet.regions, self.fleet.files
        )
        if not sound:
            check_sessions(part, self.fleet.regions, self.fleet.files)
            mend = "give the parts in the order of their starts"
            raise InputError(
                [
                    Problem(
                        table="playback",
                        column="start",
                        message="a part starts before the end of the one ahead of it",
                        mend=mend,
                    )
                ]
            )
        if self.done == 0:
            self.calendar = empty_calendar(page_shift(part.start_ms))
        if len(part):
            self.last_start = int(part.start_ms[-1])
            self.requested += requested
            self._make_room(longest)

    def _make_room(self, longest_ms: int) -> None:
        """A wheel and a window of marks that the longest session fits into."""
        self.calendar = with_pages(self.calendar, longest_ms)
        window = min(HOUR_SLOTS + longest_ms // SLOT_MS + 2, self.days * SLOTS)
        marks = self.books.marks
        if window > len(marks):
            more = np.zeros((window - len(marks), *marks.shape[1:]), np.int64)
            self.books = self.books._replace(marks=np.concatenate([marks, more]))

    def _move_marks(self, now_slot: int) -> None:
        """Charge the marks of past slots on paths to the arcs of the paths, and let the window begin now."""
        if not self.link_loads:
            return
        base, marks, arc_marks = self.base_slot, self.books.marks, self.books.arc_marks
        past = min(now_slot - base, len(marks))
        by_path = marks[:past].swapaxes(0, 1).reshape(marks.shape[1], -1)
        moved = (self.crossings @ by_path).reshape(-1, past, marks.shape[2]).swapaxes(0, 1)
        arc_marks[base : base + past] += moved[: len(arc_marks) - base]
        marks[: len(marks) - past] = marks[past:].copy()
        marks[len(marks) - past :] = 0
        self.base_slot = now_slot

    def books_closed(self) -> tuple[Tally, Ledger]:
        """Everything counted, as both engines give it."""
        fleet, books, fills, ran = self.fleet, self.books, self.fills, self.fill_ran
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
        marks = books.arc_marks
        load = loads_of_marks(marks[:, :, PART].T, marks[:, :, LEVEL].T)
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
            arc_load=load + fill_loads(fleet, fills, ran, self.days) if self.link_loads else load,
        )
        self._check_sums(tally, ledger)
        return tally, ledger

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
        startup = sessions.sum(axis=2) * self.ground.path_us
        return {
            "hour_sessions": sessions.sum(axis=1),
            "hour_bytes": size.sum(axis=1),
            "hour_hit_bytes": hits.sum(axis=1),
            "hour_origin_bytes": direct[:, fleet.is_origin[delivering]].sum(axis=1)
            + pair[:, fleet.is_origin[sources], BYTES].sum(axis=1),
            "site_hour_asked": _sum_of_each(first, sessions, sites),
            "site_hour_hit_bytes": _sum_of_each(fleet.candidate[:, 0], hits, sites),
            "site_hour_delivered": np.stack(
                [
                    _sum_of_each(delivering, sessions.sum(axis=2), sites),
                    _sum_of_each(delivering, size, sites),
                    _sum_of_each(delivering, path[:, :, PATH_MS], sites),
                    _sum_of_each(delivering, startup, sites)
                    + _sum_of_each(targets, pair[:, :, COUNT] * self.ground.pair_us, sites),
                    _sum_of_each(targets, pair[:, :, COUNT], sites),
                ],
                axis=2,
            ),
        }

    def _pair_sites(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets and sources of the pulls' pairs, in the order of their numbers."""
        sources, targets = np.nonzero(self.ground.pair_of >= 0)
        order = np.argsort(self.ground.pair_of[sources, targets])
        return targets[order], sources[order]

    def _check_sums(self, tally: Tally, ledger: Ledger) -> None:
        """Sums counted at different places of the kernel must agree."""
        requested = self.requested
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
        if self.done != int(tally.hour_sessions.sum()):
            raise BalanceError("sessions were lost")

    def log(self) -> SessionLog:
        """Who served each session."""
        kept = self.entries
        return SessionLog(
            candidate=kept.candidate,
            appliance=kept.appliance,
            source=kept.source,
            source_appliance=kept.source_appliance,
            keeper=kept.keeper,
            fetched_bytes=kept.fetched,
            outcome=kept.outcome,
        )


def _sum_by(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, where, values)
    return total


def _sum_of_each(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """(H, size, …) int64: sums of (H, N, …) values by where they belong, hour by hour."""
    total = np.zeros((size, len(values), *values.shape[2:]), np.int64)
    np.add.at(total, where, values.swapaxes(0, 1))
    return total.swapaxes(0, 1)
