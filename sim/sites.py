"""The state of the sites while a simulation runs: throughput left, planned copies there and still to come, reactive caches, outages."""

from bisect import insort
from collections import defaultdict

import numpy as np

from sim.fleet import Fleet
from sim.log import CONTENT, HEALTH, NOT_YET_FILLED
from sim.policies import ADMISSIONS, CachePolicy, make_policy
from sim.scheme import Fills, Rules, Scheme, among, copy_keys, dropped_copies
from topology.placement import Placement

NONE = -1
"""No appliance."""


class SiteState:
    """What every edge site holds and can still carry. Origins are never asked: they hold every file and carry any load.

    Files are looked up under ``site * F + file``; the appliances of a copy stand in the order of their numbers, which decides ties.
    """

    def __init__(self, fleet: Fleet, scheme: Scheme, fills: Fills, rules: Rules) -> None:
        self._files = fleet.files
        self._site_of: list[int] = fleet.appliance_site.tolist()
        self._appliances: list[list[int]] = [[] for _ in range(fleet.sites)]
        for appliance, site in enumerate(self._site_of):
            self._appliances[site].append(appliance)
        self.free_bps: list[int] = fleet.appliance_throughput_bps.tolist()
        self._reserve_bps: list[int] = rules.reserve_bps(fleet).tolist()
        self.outages: list[int] = [0] * fleet.appliances
        self._there: defaultdict[int, list[int]] = defaultdict(list)
        self._planned: set[int] = set()
        if scheme.placement is not None:
            self._plan(fleet, scheme, scheme.placement, fills)
        self.caches = _make_caches(fleet, scheme)
        self._admissions = [ADMISSIONS[scheme.admission](scheme.largest_bytes) for _ in self.caches]

    def _plan(self, fleet: Fleet, scheme: Scheme, placement: Placement, fills: Fills) -> None:
        there = copies_there(fleet, scheme, fills)
        keys = fleet.appliance_site[placement.appliance].astype(np.int64) * fleet.files + placement.file
        self._planned = set(keys.tolist())
        for appliance, key in zip(placement.appliance[there].tolist(), keys[there].tolist(), strict=True):
            self._there[key].append(appliance)
        old = dropped_copies(fleet, scheme)
        for appliance, file in zip(old.appliance.tolist(), old.file.tolist(), strict=True):
            self.store(appliance, file)

    def store(self, appliance: int, file: int) -> None:
        """A fill is complete: the copy is there from now on."""
        insort(self._there[self._site_of[appliance] * self._files + file], appliance)

    def drop(self, appliance: int, file: int) -> None:
        """A copy is gone from now on."""
        self._there[self._site_of[appliance] * self._files + file].remove(appliance)

    def holder(self, site: int, file: int, rate_bps: int, *, soft: bool) -> tuple[int, bool]:
        """The appliance that can serve the file at this rate, or NONE; and whether it comes from the reactive cache.

        Among the appliances that are up, hold a planned copy and have the rate left, the one with the most throughput left (ties: the first). If
        there is none and the site's cache holds the file, any appliance of the site will do, chosen the same way. ``soft``: what an appliance keeps back
        above its soft limit does not count as left.
        """
        copies = self._there.get(site * self._files + file)
        if copies:
            appliance = self._freest(copies, rate_bps, soft)
            if appliance != NONE:
                return appliance, False
        cache = self.caches[site]
        if cache is not None and file in cache:
            return self.carrier(site, rate_bps, soft=soft), True
        return NONE, False

    def carrier(self, site: int, rate_bps: int, *, soft: bool) -> int:
        """The appliance of the site with the most throughput left, if that is at least the rate, or NONE."""
        return self._freest(self._appliances[site], rate_bps, soft)

    def holds_planned(self, site: int, file: int) -> bool:
        """Whether an appliance that is up has a planned copy, with or without throughput left."""
        copies = self._there.get(site * self._files + file)
        return copies is not None and not all(self.outages[a] for a in copies)

    def why_missed(self, site: int, file: int) -> int:
        """The class of a session that this, its best-ranked site, did not serve from what it holds."""
        key = site * self._files + file
        cache = self.caches[site]
        if self._there.get(key) or (cache is not None and file in cache):
            return HEALTH
        return NOT_YET_FILLED if key in self._planned else CONTENT

    def warm(self, site: int, file: int, size_bytes: int) -> None:
        """One request of the day before: it goes to the cache unless the file is planned here."""
        cache = self.caches[site]
        if cache is None or site * self._files + file in self._planned or cache.access(file):
            return
        if self.lets_in(site, file, size_bytes):
            cache.admit(file, size_bytes)

    def lets_in(self, site: int, file: int, size_bytes: int) -> bool:
        """Whether the site's rule of admission lets a missed file into its cache; the rule remembers that it was asked for."""
        return self._admissions[site].admits(file, size_bytes)

    def _freest(self, appliances: list[int], rate_bps: int, soft: bool) -> int:
        best, most = NONE, rate_bps - 1
        for appliance in appliances:
            free, kept = self.free_bps[appliance], self._reserve_bps[appliance] if soft else 0
            if free > most and free - kept >= rate_bps and not self.outages[appliance]:
                best, most = appliance, free
        return best


def copies_there(fleet: Fleet, scheme: Scheme, fills: Fills) -> np.ndarray:
    """(P,) bool: which planned copies are there when the clock starts: those that no fill brings and that were stored last night, if that is known."""
    if scheme.placement is None:
        return np.zeros(0, bool)
    copies = copy_keys(fleet, scheme.placement)
    there = np.ones(len(copies), bool)
    there[np.searchsorted(copies, fills.appliance.astype(np.int64) * fleet.files + fills.file)] = False
    if scheme.initial is not None:
        there &= among(copies, copy_keys(fleet, scheme.initial))
    return there


def _make_caches(fleet: Fleet, scheme: Scheme) -> list[CachePolicy | None]:
    """A cache for every edge site of a reactive scheme, None elsewhere."""
    policy, sizes = scheme.policy, scheme.cache_bytes(fleet).tolist()
    if policy is None:
        return [None] * fleet.sites
    return [
        None if origin else make_policy(policy, size)
        for origin, size in zip(fleet.is_origin.tolist(), sizes, strict=True)
    ]
