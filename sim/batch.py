"""The batch engine: the results of :func:`sim.reference.simulate`, to the last byte, at the speed of compiled code.

SimPy keeps the clock of the fleet: fills, outages, changes of plan and steering, the hours. Before each of its events the kernel (:mod:`sim.kernel`) runs
all sessions that start earlier and ends all that are over by then, so a session sees exactly the fleet it would have seen in the reference. What a fill
that begins or ends changes is noted by the clock and made by the kernel between the sessions it comes between: fills are many, ask nothing of the
sessions, and would cut them into short pieces. Sessions may come all at once or in parts, in the order of their starts, so that memory does not grow with
their number.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import simpy

from sim.accounts import Accounts
from sim.arrays import CHANGE, Entries, Part
from sim.balance import BalanceError, check_balance
from sim.clock import ARRIVAL, FILL_END, FILL_START, NEVER, OUTAGE, STEER, SWITCH, Moment
from sim.ends import empty_calendar, page_shift, with_pages, with_room
from sim.fleet import Fleet
from sim.ground import drop, file_rows, first_state, lay_ground, number_transfers, throughput
from sim.kernel import DONE, NO_ROOM, end_all, look_over, run, warm
from sim.log import Ledger, SessionLog
from sim.metrics import SimulationResult, measure
from sim.numbering import WORD, Numbers
from sim.scheme import RULES, Fills, Outage, Rules, Scheme, check_scheme, dropped_copies
from sim.sessions import DAY_MS, Sessions, build_sessions, check_sessions, check_total
from sim.tally import HOUR_MS, Tally
from topology.errors import InputError, Problem


def simulate(
    fleet: Fleet,
    sessions: Sessions | Iterable[Sessions],
    scheme: Scheme,
    fills: Fills | None = None,
    *,
    warm_up: Sessions | Iterable[Sessions] | None = None,
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
    fills, outages, rules
        As in :func:`sim.reference.simulate`.
    warm_up
        As there; in parts, too.
    progress
        Called with the number of sessions so far, every simulated hour and at the end.
    keep_log
        Whether the result tells who served each session (needs sessions all at once): 25 bytes a session. The byte check is then made from it, too.
    link_loads
        Whether loads of arcs over time are measured; without, they are 0 and the sums of bytes are the same.

    Raises
    ------
    InputError
        If sessions, scheme, fills or outages do not fit the fleet, or parts are out of order or have more bytes than can be counted.
    BalanceError
        If bytes do not balance: a defect.
    """
    fills = Fills.none() if fills is None else fills
    check_scheme(fleet, scheme, fills, list(outages), rules)
    run = _Run(fleet, scheme, fills, rules, link_loads=link_loads)
    if warm_up is not None and scheme.policy is not None:  # else there is nothing to fill, and a day need not be read
        for part in [warm_up] if isinstance(warm_up, Sessions) else warm_up:
            check_sessions(part, fleet.regions, fleet.files)
            run.warm(part)
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
        self.numbers = Numbers(fleet)
        self.softly = rules.soft_limit < 1
        rows = file_rows(fleet, scheme, self.numbers)
        self.ground, self.pair_paths = lay_ground(fleet, scheme, rules, self.numbers, rows)
        self.state = first_state(fleet, scheme, fills, self.numbers, self.ground, rows)
        self.calendar = empty_calendar(page_shift(np.zeros(0)))
        self.outages = [0] * fleet.appliances
        self.transfers = number_transfers(fleet, fills, rules, self.numbers)
        self.changes: list[tuple[int, int, bool]] = []
        self.fill_ran = [False] * len(fills)
        self.env = simpy.Environment()
        self.parts: Iterator[Sessions] = iter(())
        self.part: Sessions | None = None
        self.at, self.done, self.last_start, self.requested = 0, 0, 0, 0

    def warm(self, sessions: Sessions) -> None:
        """Fill the caches with yesterday's sessions."""
        warm(self.ground, self.state, sessions.region, sessions.file)

    def begin(self, parts: Iterator[Sessions], days: int, logged: int) -> None:
        """Open the books for so many days, and the first part of the sessions."""
        self.parts, self.days = parts, days
        self.accounts = Accounts(self.fleet, self.ground, self.pair_paths, days, link_loads=self.link_loads)
        self.entries = Entries(
            candidate=np.zeros(logged, np.int32),
            appliance=np.zeros(logged, np.int32),
            source=np.zeros(logged, np.int32),
            source_appliance=np.zeros(logged, np.int32),
            keeper=np.zeros(logged, np.int32),
            fetched=np.zeros(logged, np.int64),
            outcome=np.zeros(logged, np.int8),
        )
        self._open_next_part()

    def run(self, outages: Sequence[Outage], progress: Callable[[int], None] | None) -> None:
        """Start every process, let the clock run, and see that all throughput came back."""
        switch_ms = self.scheme.switch_ms
        changes = range(self.fleet.regions, len(self.fleet.candidate))
        first = [0, switch_ms or 0, *self.fills.start_ms.tolist(), *(outage.from_ms for outage in outages)]
        first += [int(self.fleet.row_from_ms[row]) for row in changes]
        self.env = simpy.Environment(initial_time=min(first))
        self.env.process(self.fill())
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
        all_there = np.array_equal(self.state.free, throughput(self.fleet, self.numbers))
        if not all_there or self.state.load.any():
            raise BalanceError("throughput was not given back")
        if progress is not None:
            progress(self.done)

    def hours(self, progress: Callable[[int], None] | None) -> Generator[Moment, Any, None]:
        """Every hour that somebody waits for: the user, or the books."""
        for hour in range(1, 24 * self.days + 1):
            if progress is None and not self.accounts.is_due(hour):
                continue
            yield Moment(self.env, hour * HOUR_MS, ARRIVAL)
            self.advance(hour * HOUR_MS)
            self.accounts.end_hour(hour)
            if progress is not None:
                progress(self.done)

    def fill(self) -> Generator[Moment, Any, None]:
        """What fills do: each takes throughput from its source and its target, unless one of them is down, and when it ends its copy is there.

        One process for all of them, which costs a seventh of one for each.
        """
        fills, down = self.fills, self.outages
        at = np.concatenate([fills.start_ms, fills.end_ms])
        what = np.repeat([FILL_START, FILL_END], len(fills))
        order = np.lexsort((what, at))
        which = order % max(len(fills), 1)
        for now, kind, fill in zip(at[order].tolist(), what[order].tolist(), which.tolist(), strict=True):
            yield Moment(self.env, now, kind)
            if kind == FILL_START:
                source = fills.source[fill]
                self.fill_ran[fill] = not (down[fills.appliance[fill]] or (source >= 0 and down[source]))
            if self.fill_ran[fill]:
                self.changes.append((now, fill, kind == FILL_START))

    def switch(self, at: int) -> Generator[Moment, Any, None]:
        """The sites leave last night's plan: its copies that are no longer planned are gone."""
        yield Moment(self.env, at, SWITCH)
        self.advance(at)
        drop(self.numbers, self.ground, self.state, dropped_copies(self.fleet, self.scheme))

    def fail(self, outage: Outage) -> Generator[Moment, Any, None]:
        """An outage: its appliances take nothing new until it is over."""
        for at, change in ((outage.from_ms, 1), (outage.to_ms, -1)):
            yield Moment(self.env, at, OUTAGE)
            self.advance(at)
            for appliance in outage.appliances(self.fleet):
                self.outages[appliance] += change
                word, place = divmod(int(self.numbers.bit[appliance]), WORD)
                here, up = np.uint64(1 << place), self.state.up
                up[word] = up[word] & ~here if self.outages[appliance] else up[word] | here

    def change(self, row: int) -> Generator[Moment, Any, None]:
        """From now on a region is steered by another row."""
        at = int(self.fleet.row_from_ms[row])
        yield Moment(self.env, at, STEER)
        self.advance(at)
        self.state.row_of[self.fleet.row_region[row]] = row

    def advance(self, until: int) -> None:
        """Run every session that starts before a time, and what fills have done by now; end every session that is over by then."""
        changes, first = np.array(self.changes, CHANGE), 0
        self.changes.clear()
        while self.part is not None:
            part = self.part
            self.at, first, why = run(
                self.ground,
                self.state,
                self.calendar,
                self.accounts.books,
                self.entries,
                Part(part.start_ms, part.region, part.file, part.duration_ms, part.bytes, part.rate_bps),
                self.at,
                until,
                self.transfers,
                changes,
                first,
                self.accounts.base_slot,
                self.softly,
                self.link_loads,
                self.numbers.appliance,
            )
            if why == DONE:
                return
            if why == NO_ROOM:
                self.calendar = with_room(self.calendar)
            else:
                self.done += len(part)
                self._open_next_part()
                if first == len(changes) and self.part and self.part.start_ms[0] >= until:
                    return  # what ends before the next session ends as it comes
        end_all(self.ground, self.state, self.calendar, self.accounts.books, until, self.transfers, changes, first)

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
            check_total(self.requested)
            self._make_room(longest)

    def _make_room(self, longest_ms: int) -> None:
        """A wheel and a window of marks that the longest session fits into."""
        self.calendar = with_pages(self.calendar, longest_ms)
        self.accounts.make_room(longest_ms)

    def books_closed(self) -> tuple[Tally, Ledger]:
        """Everything counted, as both engines give it."""
        tally, ledger = self.accounts.close(self.fills, np.array(self.fill_ran, bool), self.requested)
        if self.done != int(tally.hour_sessions.sum()):
            raise BalanceError("sessions were lost")
        return tally, ledger

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
