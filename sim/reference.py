"""The SimPy model: exact, event by event, and meant to be read.

A session arrives, is steered to the best-ranked site that holds its file and has throughput left, holds its rate for its length, loads every link on
the way, and leaves. Fills and outages run as processes beside it. ``docs/simulation.md`` says the same in words, ties included.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import simpy

from sim.balance import check_balance
from sim.climb import climbs
from sim.clock import ARRIVAL, FILL_END, FILL_START, OUTAGE, RELEASE, STEER, SWITCH, Moment
from sim.fleet import Fleet
from sim.log import HIT, Ledger, SessionLog
from sim.metrics import SimulationResult, measure
from sim.policies import CachePolicy
from sim.scheme import RULES, Fills, Outage, Rules, Scheme, check_scheme, dropped_copies
from sim.sessions import Sessions, check_sessions
from sim.sites import NONE, SiteState
from sim.tally import tally_log

__all__ = ["Fills", "Outage", "Scheme", "simulate"]

PROGRESS_EVERY = 100_000
Entry = tuple[int, int, int, int, int, int, int]
"""What :class:`SessionLog` keeps of a session: candidate, appliance, source, source_appliance, keeper, fetched_bytes, outcome."""


def simulate(
    fleet: Fleet,
    sessions: Sessions,
    scheme: Scheme,
    fills: Fills | None = None,
    *,
    warm_up: Sessions | None = None,
    outages: Sequence[Outage] = (),
    rules: Rules = RULES,
    progress: Callable[[int], None] | None = None,
) -> SimulationResult:
    """Run sessions against one scheme.

    Parameters
    ----------
    sessions
        In the order of their starts.
    fills
        Tonight's transfers; without them every planned copy is there at 00:00 (but see :attr:`Scheme.initial`).
    warm_up
        Sessions of the day before, shown to the reactive caches in order and not measured; without them the caches start empty.
    outages
        Appliances or sites out of service for a time: they take no new sessions and start no fills; sessions in progress run to their end.
    rules
        How appliances take load.
    progress
        Called with the number of sessions so far, now and then, and with all of them at the end.

    Raises
    ------
    InputError
        If sessions, scheme, fills or outages do not fit the fleet.
    BalanceError
        If bytes do not balance: a defect.
    """
    fills = Fills.none() if fills is None else fills
    check_sessions(sessions, fleet.regions, fleet.files)
    check_scheme(fleet, scheme, fills, list(outages), rules)
    model = _Model(fleet, sessions, scheme, fills, rules)
    if warm_up is not None:
        check_sessions(warm_up, fleet.regions, fleet.files)
        model.warm(warm_up)
    model.run(outages, progress)
    log, ledger = model.log(), model.ledger()
    result = measure(fleet, scheme.label, tally_log(fleet, sessions, log, ledger, fills), ledger, fills, log)
    check_balance(result, fleet, sessions)
    return result


class _Model:
    """One run: the clock, the state of the sites, and what is written down."""

    def __init__(self, fleet: Fleet, sessions: Sessions, scheme: Scheme, fills: Fills, rules: Rules) -> None:
        self.fleet, self.scheme, self.fills = fleet, scheme, fills
        self.state = SiteState(fleet, scheme, fills, rules)
        self.softly = rules.soft_limit < 1
        self.env = simpy.Environment()
        self.candidates = [[site for site in row if site >= 0] for row in fleet.candidate.tolist()]
        self.is_origin: list[bool] = fleet.is_origin.tolist()
        self.file_bytes: list[int] = fleet.file_bytes.tolist()
        self.path_arcs = _arc_lists(fleet)
        self.row = list(range(fleet.regions))
        self.served_row = [0] * len(sessions)
        self.climbs = climbs(fleet)
        self.pull_arcs: dict[tuple[int, int], list[int]] = {}
        self.start, self.region, self.file = (
            sessions.start_ms.tolist(),
            sessions.region.tolist(),
            sessions.file.tolist(),
        )
        self.length, self.bytes, self.rate = (
            sessions.duration_ms.tolist(),
            sessions.bytes.tolist(),
            sessions.rate_bps.tolist(),
        )
        self.entries: list[Entry] = []
        self.delivered, self.provided = [0] * fleet.sites, [0] * fleet.sites
        self.serving, self.fetching, self.filling = [0] * fleet.arcs, [0] * fleet.arcs, [0] * fleet.arcs
        self.watched = [0] * fleet.arcs
        self.fill_rate: list[int] = fills.rate_bps().tolist()
        self.fill_writes: list[int] = rules.write_bps(fills).tolist()
        self.fill_ran = [False] * len(fills)
        self.progress: Callable[[int], None] | None = None

    def run(self, outages: Sequence[Outage], progress: Callable[[int], None] | None) -> None:
        """Start every process and let the clock run until the last session has left."""
        self.progress = progress
        switch_ms = self.scheme.switch_ms
        changes = range(self.fleet.regions, len(self.candidates))
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
        self.expect(0)
        self.env.run()
        assert self.state.free_bps == self.fleet.appliance_throughput_bps.tolist(), "throughput was not given back"

    def expect(self, i: int) -> None:
        """Schedule the arrival of session i: one at a time, so equal starts keep their order."""
        if i < len(self.start):
            Moment(self.env, self.start[i], ARRIVAL, i).callbacks.append(self.arrive)
        if self.progress is not None and (i % PROGRESS_EVERY == 0 or i == len(self.start)):
            self.progress(i)

    def arrive(self, moment: Moment) -> None:
        """A session begins: it is steered, takes throughput, and will be released."""
        i: int = moment.value
        rate = self.rate[i]
        row = self.served_row[i] = self.row[self.region[i]]
        entry = self.steer(row, self.file[i], rate, self.bytes[i])
        self.entries.append(entry)
        _, appliance, _, source_appliance, _, _, _ = entry
        if appliance != NONE:
            self.state.free_bps[appliance] -= rate
        if source_appliance != NONE:
            self.state.free_bps[source_appliance] -= rate
        Moment(self.env, self.start[i] + self.length[i], RELEASE, i).callbacks.append(self.release)
        self.expect(i + 1)

    def steer(self, row: int, file: int, rate: int, size: int) -> Entry:
        """Choose who serves, within the soft limits unless that means an origin; a front site that lacks the file pulls it, if any site is to keep it."""
        sites, soft = self.candidates[row], True
        k, appliance, cached, front, front_appliance, outcome = self.walk(row, file, rate, soft=True)
        if self.softly and self.is_origin[sites[k]]:
            soft = False
            k, appliance, cached, front, front_appliance, outcome = self.walk(row, file, rate, soft=False)
        if front >= 0:
            between: list[int] = []
            source, source_appliance, source_cached = sites[k], appliance, cached
            if self.scheme.pull != "next":
                source, source_appliance, source_cached, between = self.climb(row, front, file, rate, soft=soft)
                if soft and self.softly and self.is_origin[source]:
                    source, source_appliance, source_cached, between = self.climb(row, front, file, rate, soft=False)
            keeper = self.keep(file, sites[front], between)
            if keeper >= 0:
                if source_cached:
                    self.cache(source).access(file)
                whole = self.scheme.fetch == "file"
                fetched = max(self.file_bytes[file], size) if whole else size
                return front, front_appliance, source, source_appliance, keeper, fetched, outcome
        if cached:
            self.cache(sites[k]).access(file)
        return k, appliance, -1, NONE, -1, 0, outcome

    def climb(self, row: int, front: int, file: int, rate: int, *, soft: bool) -> tuple[int, int, bool, list[int]]:
        """Go from the front site towards the origin until a site can serve: that site, its appliance, whether from its cache, and the sites passed."""
        passed: list[int] = []
        for site in self.climbs.sites(row, front):
            if self.is_origin[site]:
                return site, NONE, False, passed
            appliance, cached = self.state.holder(site, file, rate, soft=soft)
            if appliance != NONE:
                return site, appliance, cached, passed
            passed.append(site)
        raise AssertionError("a way that ends at no origin")

    def keep(self, file: int, front: int, between: list[int]) -> int:
        """Store a file that is pulled through these sites (the nearest to the front first) where the scheme says; the keeper nearest to the front, or -1."""
        free = [site for site in between if self.admits(site, file) and not self.holds(site, file)]
        asked = {"lce": [front, *free], "lcd": [*free[-1:], front][:1]}.get(self.scheme.pull, [front])
        size = self.file_bytes[file]
        keepers = [site for site in asked if self.state.lets_in(site, file, size)]
        for site in keepers:
            self.cache(site).admit(file, size)
        return keepers[0] if keepers else -1

    def holds(self, site: int, file: int) -> bool:
        """Whether a site has the file, with or without throughput left."""
        return file in self.cache(site) or self.state.holds_planned(site, file)

    def walk(self, row: int, file: int, rate: int, *, soft: bool) -> tuple[int, int, bool, int, int, int]:
        """Ask the sites of a row, best first, and change nothing.

        Returns
        -------
        Place and appliance of the site that has the file and can serve, whether from its cache; place and appliance of the front site that would pull
        it from there, place -1 if none; and the outcome.
        """
        state, sites = self.state, self.candidates[row]
        outcome, front, front_appliance, front_known = HIT, -1, NONE, False
        for k, site in enumerate(sites):
            appliance, cached = (NONE, False) if self.is_origin[site] else state.holder(site, file, rate, soft=soft)
            if appliance != NONE or self.is_origin[site]:
                break
            if k == 0:
                outcome = state.why_missed(site, file)
            if not front_known and not state.holds_planned(site, file):
                front_appliance = state.carrier(site, rate, soft=soft)
                front_known = front_appliance != NONE
                if front_known and self.admits(site, file):
                    front = k
        return k, appliance, cached, front, front_appliance, outcome

    def admits(self, site: int, file: int) -> bool:
        """Whether the site has a reactive cache that the file fits into."""
        cache = self.state.caches[site]
        return cache is not None and self.file_bytes[file] <= cache.capacity_bytes

    def release(self, moment: Moment) -> None:
        """A session ends: it gives its throughput back, and its bytes are charged to sites and arcs."""
        i: int = moment.value
        k, appliance, source, source_appliance, keeper, fetched, _ = self.entries[i]
        rate, size, row = self.rate[i], self.bytes[i], self.served_row[i]
        if appliance != NONE:
            self.state.free_bps[appliance] += rate
        site = provider = self.candidates[row][k]
        for arc in self.path_arcs[row][k]:
            self.serving[arc] += size
        if source >= 0:
            provider = source
            if source_appliance != NONE:
                self.state.free_bps[source_appliance] += rate
            for here, there, carried in ((source, keeper, fetched), (keeper, site, size)):
                for arc in self.arcs_between(here, there):
                    self.fetching[arc] += carried
                    self.watched[arc] += size
        self.delivered[site] += size
        self.provided[provider] += size

    def change(self, row: int) -> Generator[Moment, Any, None]:
        """From now on a region is steered by another row."""
        yield Moment(self.env, int(self.fleet.row_from_ms[row]), STEER)
        self.row[int(self.fleet.row_region[row])] = row

    def transfer(self, fill: int) -> Generator[Moment, Any, None]:
        """A fill: it takes throughput from an edge source and from its target, and when it ends its copy is there."""
        fills, state = self.fills, self.state
        source, target, file = int(fills.source[fill]), int(fills.appliance[fill]), int(fills.file[fill])
        rate = self.fill_rate[fill]
        yield Moment(self.env, int(fills.start_ms[fill]), FILL_START)
        if state.outages[target] or (source >= 0 and state.outages[source]):
            return
        if source >= 0:
            state.free_bps[source] -= rate
        state.free_bps[target] -= self.fill_writes[fill]
        yield Moment(self.env, int(fills.end_ms[fill]), FILL_END)
        if source >= 0:
            state.free_bps[source] += rate
        state.free_bps[target] += self.fill_writes[fill]
        state.store(target, file)
        self.fill_ran[fill] = True
        site_of = self.fleet.appliance_site
        origin_or_site = int(site_of[source]) if source >= 0 else -1 - source
        for arc in self.arcs_between(origin_or_site, int(site_of[target])):
            self.filling[arc] += int(fills.bytes[fill])

    def switch(self, at: int) -> Generator[Moment, Any, None]:
        """The sites leave last night's plan: its copies that are no longer planned are gone."""
        yield Moment(self.env, at, SWITCH)
        old = dropped_copies(self.fleet, self.scheme)
        for appliance, file in zip(old.appliance.tolist(), old.file.tolist(), strict=True):
            self.state.drop(appliance, file)

    def fail(self, outage: Outage) -> Generator[Moment, Any, None]:
        """An outage: its appliances take nothing new until it is over."""
        appliances = outage.appliances(self.fleet)
        for at, change in ((outage.from_ms, 1), (outage.to_ms, -1)):
            yield Moment(self.env, at, OUTAGE)
            for appliance in appliances:
                self.state.outages[appliance] += change

    def warm(self, sessions: Sessions) -> None:
        """Show yesterday's sessions to the cache of their region's best-ranked site, whatever its throughput."""
        for region, file in zip(sessions.region.tolist(), sessions.file.tolist(), strict=True):
            site = self.candidates[region][0]
            self.state.warm(site, file, self.file_bytes[file])

    def cache(self, site: int) -> CachePolicy:
        """The reactive cache of a site that has one."""
        cache = self.state.caches[site]
        assert cache is not None
        return cache

    def arcs_between(self, source: int, target: int) -> list[int]:
        """The arcs from one site to another, traced once."""
        arcs = self.pull_arcs.get((source, target))
        if arcs is None:
            arcs = self.pull_arcs[source, target] = self.fleet.site_paths(
                np.array([source]), np.array([target])
            ).arcs.tolist()
        return arcs

    def log(self) -> SessionLog:
        """Who served each session."""
        columns = np.array(self.entries, np.int64).reshape(-1, 7).T
        candidate, appliance, source, source_appliance, keeper, fetched, outcome = columns
        return SessionLog(
            candidate=candidate.astype(np.int32),
            appliance=appliance.astype(np.int32),
            source=source.astype(np.int32),
            source_appliance=source_appliance.astype(np.int32),
            keeper=keeper.astype(np.int32),
            fetched_bytes=fetched.copy(),
            outcome=outcome.astype(np.int8),
        )

    def ledger(self) -> Ledger:
        """The bytes counted on the way."""
        counts = (self.delivered, self.provided, self.serving, self.fetching, self.filling, self.watched)
        delivered, provided, serving, fetching, filling, watched = (np.array(c, np.int64) for c in counts)
        ran = np.array(self.fill_ran, bool)
        return Ledger(
            delivered=delivered, provided=provided, serving=serving, fetching=fetching, filling=filling, watched=watched,
            fill_ran=ran,
        )  # fmt: skip


def _arc_lists(fleet: Fleet) -> list[list[list[int]]]:
    """The arcs from every candidate to its region, as nested lists: ``[row][place]``."""
    start, arcs, width = fleet.region_paths.start.tolist(), fleet.region_paths.arcs.tolist(), fleet.candidate.shape[1]
    return [
        [arcs[start[p] : start[p + 1]] for p in range(v * width, (v + 1) * width)] for v in range(len(fleet.candidate))
    ]
