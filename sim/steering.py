"""Changes of steering while a simulation runs: from a time on, other sites serve a region, or the same in another order."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.clock import NO_TIME, TIMES, is_time
from sim.fleet import Fleet
from topology.errors import InputError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringChange:
    """What a region's sessions are steered by from a time on.

    Parameters
    ----------
    region
        Its index.
    from_ms
        Milliseconds from 00:00 UTC of the first day; sessions that start at that moment are steered the new way.
    sites
        Indices, best first, an origin among them.
    cost_per_gb
        What one GB costs from each of them; None: what it cost before, or the cost of the path from a site that is new to the region.
    """

    region: int
    from_ms: int
    sites: Sequence[int]
    cost_per_gb: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What regions and sites are called."""

    regions: Sequence[str]
    sites: Sequence[str]


def change_steering(
    fleet: Fleet,
    changes: Sequence[SteeringChange],
    *,
    region_names: Sequence[str] | None = None,
    site_names: Sequence[str] | None = None,
) -> Fleet:
    """The fleet with changes of steering during the run.

    Parameters
    ----------
    changes
        In any order, at most one for a region and a time.
    region_names, site_names
        What error messages call them; default: their indices.

    Raises
    ------
    InputError
        An unknown region or site, a site twice, no origin, a site that no path of links leads from, costs that are not one a site, a time that is none, or two changes of one
        region at one time.
    """
    called = Names(
        regions=[str(r) for r in range(fleet.regions)] if region_names is None else region_names,
        sites=[str(s) for s in range(fleet.sites)] if site_names is None else site_names,
    )
    problems = [p for row, change in enumerate(changes, 1) for p in _problems(fleet, change, row, called)]
    moments = [(change.region, change.from_ms) for change in changes]
    twice = next((row for row, moment in enumerate(moments, 1) if moment in moments[: row - 1]), None)
    if twice is not None:
        whose, at = moments[twice - 1]
        message = f"the steering of region {called.regions[whose]} changes twice at this time"
        problems.append(_wrong(twice, "from", f"{at // 3_600_000:02}:{at // 60_000 % 60:02}", message, "keep one of the two"))  # fmt: skip
    if problems:
        raise InputError(problems)
    if not changes:
        return fleet
    width = max(fleet.candidate.shape[1], *(len(change.sites) for change in changes))
    rows = len(fleet.candidate) + len(changes)
    candidate, cost = np.full((rows, width), -1, np.int32), np.full((rows, width), np.inf)
    candidate[: len(fleet.candidate), : fleet.candidate.shape[1]] = fleet.candidate
    cost[: len(fleet.candidate), : fleet.candidate.shape[1]] = fleet.candidate_cost_per_gb
    for row, change in enumerate(changes, len(fleet.candidate)):
        candidate[row, : len(change.sites)] = change.sites
        cost[row, : len(change.sites)] = _costs(fleet, change) if change.cost_per_gb is None else change.cost_per_gb
    region = np.concatenate([fleet.row_region, [change.region for change in changes]])
    sites = candidate.ravel().astype(np.int64)
    nodes = np.where(sites >= 0, np.repeat(fleet.region_node[region], width), fleet.site_node[np.maximum(sites, 0)])
    return dataclasses.replace(
        fleet,
        candidate=candidate,
        candidate_cost_per_gb=cost,
        row_region=region,
        row_from_ms=np.concatenate([fleet.row_from_ms, [change.from_ms for change in changes]]),
        region_paths=fleet.trees.paths(np.maximum(sites, 0), nodes),
    )


def _costs(fleet: Fleet, change: SteeringChange) -> list[float]:
    first = fleet.candidate[change.region].tolist()
    known = dict(zip(first, fleet.candidate_cost_per_gb[change.region].tolist(), strict=True))
    path = fleet.trees.cost_per_gb[:, fleet.region_node[change.region]]
    return [known.get(site, float(path[site])) for site in change.sites]


def _problems(fleet: Fleet, change: SteeringChange, row: int, called: Names) -> list[Problem]:
    if not 0 <= change.region < fleet.regions:
        return [_wrong(row, "region", str(change.region), "no such region", "use the network's regions")]
    foreign = [site for site in change.sites if not 0 <= site < fleet.sites]
    if foreign:
        return [_wrong(row, "sites", str(foreign[0]), "no such site", "use the network's sites")]
    sites, region = list(change.sites), called.regions[change.region]
    listed = ", ".join(called.sites[site] for site in sites)
    problems = []
    if not is_time(change.from_ms):
        problems.append(_wrong(row, "from", str(change.from_ms), NO_TIME, TIMES))
    twice = [called.sites[site] for i, site in enumerate(sites) if site in sites[:i]]
    if twice:
        problems.append(_wrong(row, "sites", twice[0], "a site twice", "rank each site once"))
    if not fleet.is_origin[sites].any():
        problems.append(_wrong(row, "sites", listed, f"no origin among the sites of region {region}", "end the list with an origin"))  # fmt: skip
    cut_off = [called.sites[site] for site in sites if np.isinf(fleet.trees.cost_per_gb[site, fleet.region_node[change.region]])]  # fmt: skip
    if cut_off:
        problems.append(_wrong(row, "sites", cut_off[0], f"no path of links leads from this site to region {region}", "leave it out"))  # fmt: skip
    if change.cost_per_gb is not None and len(change.cost_per_gb) != len(sites):
        problems.append(_wrong(row, "cost_per_gb", str(len(change.cost_per_gb)), "not one cost a site", "give as many costs as sites"))  # fmt: skip
    return problems


def _wrong(row: int, column: str, value: str, message: str, mend: str) -> Problem:
    return Problem(table="steering changes", row=row, column=column, value=value, message=message, mend=mend)
