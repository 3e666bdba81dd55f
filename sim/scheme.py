"""What the sites do (a scheme), what is still on its way to them (fills), and what is taken out of service (outages)."""

import math
from dataclasses import dataclass

import numpy as np

from sim.climb import PULLS
from sim.clock import NEVER, NO_TIME, TIME_SPAN, TIMES, is_time
from sim.fleet import Fleet
from sim.policies import ADMISSIONS, POLICIES
from topology.errors import InputError, Problem
from topology.placement import Placement

FETCHES = ("file", "session")
"""What a pull brings: :attr:`Scheme.fetch`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scheme:
    """How sites decide what they hold: a planned part, a reactive part, or both.

    Nothing here is held against storage: planned copies are there whatever they take, a cache has its share of the site beside them, and until ``switch_ms``
    last night's copies lie beside tonight's. A plan that fits, with the share left free, is the caller's affair: :func:`cdn.rehearse.rehearse` refuses a plan
    that takes more than an appliance has, and places anew with that much of each site kept free where a cache is to stand beside it.

    Parameters
    ----------
    label
        What the results call it.
    placement
        The planned copies, or None.
    initial
        Last night's placement: of the planned copies only those in it are there at 00:00, the others come with a fill or not at all. None: all
        planned copies that no fill brings are there at 00:00.
    switch_ms
        When the sites leave last night's plan for this one: until then its copies that are no longer planned still serve. None: they are gone when
        the clock starts.
    policy
        A name of :data:`sim.policies.POLICIES`: the reactive cache of every site; None: no site reacts.
    reactive_share
        Share of each site's storage the cache gets, 0..1, pooled over the site's appliances.
    admission
        A name of :data:`sim.policies.ADMISSIONS`: which missed files the caches let in.
    pull
        A name of :data:`sim.climb.PULLS`: from whom a front site that lacks a file takes it, and who keeps it. ``next``: from the site that steering finds,
        kept at the front. The others go from the front towards the region's origin until a site answers; then the front keeps a copy (``edge``),
        every site on the way (``lce``, leave copy everywhere), or the one below the site that answered (``lcd``, leave copy down).
    fetch
        ``file``: a pull brings the whole file. ``session``: only the bytes that its session watches, though the file counts as held.
    largest_bytes
        The largest file that the admission ``size`` lets in.
    """

    label: str
    placement: Placement | None = None
    initial: Placement | None = None
    switch_ms: int | None = None
    policy: str | None = None
    reactive_share: float = 0.0
    admission: str = "all"
    pull: str = "next"
    fetch: str = "file"
    largest_bytes: int = 0

    def cache_bytes(self, fleet: Fleet) -> np.ndarray:
        """(S,) int64: bytes of each site's reactive cache, rounded down."""
        if self.policy is None:
            return np.zeros(fleet.sites, np.int64)
        return np.array([math.floor(b * self.reactive_share) for b in fleet.site_storage_bytes.tolist()], np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How appliances take load.

    Parameters
    ----------
    soft_limit
        Share of its throughput, 0..1, up to which an appliance takes new sessions as long as another edge site has the file; from there to the whole
        it takes only what would otherwise go to an origin.
    fill_writes
        Throughput of the target that a fill takes while it runs, >= 0, in parts of its own rate: what writing to its disks costs its readers.
    """

    soft_limit: float = 1.0
    fill_writes: float = 0.0

    def reserve_bps(self, fleet: Fleet) -> np.ndarray:
        """(A,) int64: what each appliance keeps back at first."""
        soft = [math.floor(b * self.soft_limit) for b in fleet.appliance_throughput_bps.tolist()]
        return np.asarray(fleet.appliance_throughput_bps - np.array(soft, np.int64))

    def write_bps(self, fills: "Fills") -> np.ndarray:
        """(T,) int64: what each fill takes from its target's throughput."""
        return np.asarray(np.rint(fills.rate_bps() * self.fill_writes), np.int64)


RULES = Rules()
"""No soft limit, and fills that cost their targets nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fills:
    """Transfers of planned copies: a copy that a fill brings is not there before the fill ends.

    Parameters
    ----------
    appliance, file
        (T,) int: what is brought where; each pair at most once.
    source
        (T,) int: an appliance, or ``-1 - site`` of an origin.
    start_ms, end_ms
        (T,) int64, from 00:00 UTC of the day; the start may lie in the evening before (negative), the end after midnight.
    bytes
        (T,) int64, >= 0.
    """

    appliance: np.ndarray
    file: np.ndarray
    source: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray
    bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.file)

    @classmethod
    def none(cls) -> "Fills":
        """No transfers."""
        empty = np.zeros(0, np.int64)
        return cls(appliance=empty, file=empty, source=empty, start_ms=empty, end_ms=empty, bytes=empty)

    def source_site(self, fleet: Fleet) -> np.ndarray:
        """(T,) int64: the site each transfer comes from."""
        edge = self.source >= 0
        sites = -1 - np.asarray(self.source, np.int64)
        sites[edge] = fleet.appliance_site[self.source[edge]]
        return sites

    def target_site(self, fleet: Fleet) -> np.ndarray:
        """(T,) int64: the site each transfer goes to."""
        return np.asarray(fleet.appliance_site[self.appliance], np.int64)

    def rate_bps(self) -> np.ndarray:
        """(T,) int64: bytes spread evenly over the transfer's time, rounded to whole bit/s."""
        return np.asarray(np.rint(self.bytes * 8000.0 / (self.end_ms - self.start_ms)), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An appliance, or every appliance of a site, out of service from ``from_ms`` (inclusive) to ``to_ms`` (exclusive); give one of the two."""

    appliance: int | None = None
    site: int | None = None
    from_ms: int = 0
    to_ms: int = NEVER

    def appliances(self, fleet: Fleet) -> list[int]:
        """The appliances it takes down."""
        if self.appliance is not None:
            return [self.appliance]
        return [int(a) for a in np.flatnonzero(fleet.appliance_site == self.site)]


def check_scheme(fleet: Fleet, scheme: Scheme, fills: Fills, outages: list[Outage], rules: Rules = RULES) -> None:
    """Refuse what does not fit the fleet; storage is not looked at (:class:`Scheme`).

    Raises
    ------
    InputError
        No sites, an unknown policy, a share outside 0..1, a switch without last night's plan, indices beyond the fleet, a fill of a copy that is not planned or planned twice, a fill that ends
        before it starts, an outage of an origin or of nothing, a time that is none.
    """
    problems = [*_scheme_problems(fleet, scheme), *_rules_problems(rules), *_outage_problems(fleet, outages)]
    if not problems:
        problems += _fill_problems(fleet, scheme, fills)
    if problems:
        raise InputError(problems)


def _rules_problems(rules: Rules) -> list[Problem]:
    problems: list[Problem] = []
    if not 0 <= rules.soft_limit <= 1:
        value, mend = str(rules.soft_limit), "give a number 0..1"
        problems.append(Problem(table="rules", column="soft_limit", value=value, message="not a share", mend=mend))
    if not 0 <= rules.fill_writes < math.inf:
        value, mend = str(rules.fill_writes), "give a number >= 0"
        problems.append(Problem(table="rules", column="fill_writes", value=value, message="not a factor", mend=mend))
    return problems


def _scheme_problems(fleet: Fleet, scheme: Scheme) -> list[Problem]:
    problems: list[Problem] = []
    if scheme.policy is not None and scheme.policy not in POLICIES:
        mend = "use one of " + ", ".join(POLICIES)
        problems.append(
            Problem(table="scheme", column="policy", value=scheme.policy, message="unknown policy", mend=mend)
        )
    if scheme.admission not in ADMISSIONS:
        value, mend = scheme.admission, "use one of " + ", ".join(ADMISSIONS)
        problems.append(
            Problem(table="scheme", column="admission", value=value, message="unknown admission", mend=mend)
        )
    for column, chosen, known in (("pull", scheme.pull, PULLS), ("fetch", scheme.fetch, FETCHES)):
        if chosen not in known:
            mend = "use one of " + ", ".join(known)
            problems.append(
                Problem(table="scheme", column=column, value=chosen, message=f"unknown {column}", mend=mend)
            )
    if not 0 <= scheme.reactive_share <= 1:
        value = str(scheme.reactive_share)
        problems.append(
            Problem(
                table="scheme", column="reactive_share", value=value, message="not a share", mend="give a number 0..1"
            )
        )
    for placement in (scheme.placement, scheme.initial):
        if placement is not None and not (
            _in(placement.appliance, fleet.appliances) and _in(placement.file, fleet.files)
        ):
            mend = "make the placement from the same network and catalogue"
            problems.append(
                Problem(table="placement", message="names an appliance or file that is not there", mend=mend)
            )
    if scheme.switch_ms is not None and (scheme.placement is None or scheme.initial is None):
        mend = "give last night's placement and tonight's, or no time of switching"
        problems.append(Problem(table="scheme", column="switch_ms", message="nothing to switch between", mend=mend))
    if scheme.switch_ms is not None and not is_time(scheme.switch_ms):
        value = str(scheme.switch_ms)
        problems.append(Problem(table="scheme", column="switch_ms", value=value, message=NO_TIME, mend=TIMES))
    return problems


def _fill_problems(fleet: Fleet, scheme: Scheme, fills: Fills) -> list[Problem]:
    def wrong(rows: np.ndarray, column: str, message: str, mend: str) -> list[Problem]:
        return [
            Problem(table="fills", row=int(i) + 1, column=column, message=message, mend=mend)
            for i in np.flatnonzero(rows)[:20]
        ]

    unknown = ~(
        (fills.appliance >= 0) & (fills.appliance < fleet.appliances) & (fills.file >= 0) & (fills.file < fleet.files)
    )
    problems = wrong(
        unknown, "file", "an appliance or file that is not there", "fill what the network and catalogue hold"
    )
    source = np.asarray(fills.source, np.int64)
    origin = np.clip(-1 - source, 0, fleet.sites - 1)
    foreign = (source >= fleet.appliances) | (-1 - source >= fleet.sites) | ((source < 0) & ~fleet.is_origin[origin])
    problems += wrong(
        foreign, "source", "neither an appliance nor an origin", "name an appliance, or -1 - site of an origin"
    )
    problems += wrong(
        fills.end_ms <= fills.start_ms, "end", "the transfer ends before it starts", "give an end after the start"
    )
    for column, at in (("start", fills.start_ms), ("end", fills.end_ms)):
        problems += wrong((at <= -TIME_SPAN) | (at >= TIME_SPAN), column, NO_TIME, TIMES)
    problems += wrong(fills.bytes < 0, "gb", "negative bytes", "give bytes >= 0")
    if problems:
        return problems
    apart = np.isinf(fleet.trees.cost_per_gb[fills.source_site(fleet), fleet.site_node[fills.target_site(fleet)]])
    problems += wrong(
        apart, "source", "no path of links leads from the source", "choose a source that reaches the appliance"
    )
    key = fills.appliance.astype(np.int64) * fleet.files + fills.file
    planned = np.zeros(0, np.int64) if scheme.placement is None else copy_keys(fleet, scheme.placement)
    problems += wrong(~among(key, planned), "file", "the copy is not in the placement", "fill what the plan stores")
    twice = np.ones(len(key), bool)
    twice[np.unique(key, return_index=True)[1]] = False
    return problems + wrong(twice, "file", "the same copy is filled twice", "keep one transfer a copy")


def _outage_problems(fleet: Fleet, outages: list[Outage]) -> list[Problem]:
    problems: list[Problem] = []
    for row, outage in enumerate(outages, 1):
        message, mend = "", "name one appliance or one edge site"
        if (outage.appliance is None) == (outage.site is None):
            message = "an outage is of an appliance or of a site"
        elif outage.appliance is not None and not 0 <= outage.appliance < fleet.appliances:
            message = "no such appliance"
        elif outage.site is not None and not 0 <= outage.site < fleet.sites:
            message = "no such site"
        elif outage.site is not None and fleet.is_origin[outage.site]:
            message, mend = "origins do not fail here", "take it out of the steering instead"
        elif outage.to_ms <= outage.from_ms:
            message, mend = "the outage ends before it begins", "give an end after the beginning"
        elif not (is_time(outage.from_ms) and (is_time(outage.to_ms) or outage.to_ms == NEVER)):
            message, mend = NO_TIME, TIMES
        if message:
            problems.append(Problem(table="outages", row=row, message=message, mend=mend))
    return problems


def dropped_copies(fleet: Fleet, scheme: Scheme) -> Placement:
    """Copies of last night that serve until the switch: those that are no longer planned, if there is a switch."""
    if scheme.switch_ms is None or scheme.initial is None or scheme.placement is None:
        return Placement.of(np.zeros(0, np.int32), np.zeros(0, np.int32))
    gone = ~among(copy_keys(fleet, scheme.initial), copy_keys(fleet, scheme.placement))
    return Placement.of(scheme.initial.appliance[gone], scheme.initial.file[gone])


def copy_keys(fleet: Fleet, placement: Placement) -> np.ndarray:
    """(P,) int64: one number for each copy, ``appliance * F + file``, in ascending order as the copies are."""
    return np.asarray(placement.appliance.astype(np.int64) * fleet.files + placement.file)


def among(keys: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """(N,) bool: which keys are among others that stand in ascending order."""
    if not len(ascending):
        return np.zeros(len(keys), bool)
    return np.asarray(ascending[np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)] == keys)


def _in(values: np.ndarray, limit: int) -> bool:
    return bool(((values >= 0) & (values < limit)).all())
