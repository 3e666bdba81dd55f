"""Recompute a plan from its files alone: cost, limits and a true lower bound. Shares no code with the solvers.

The bound is the better of two. (a) Unlimited storage: every entry from its cheapest candidate. (b) The Lagrangian bound at the plan's own prices
((7) and (8) of ``docs/model.md``), valid for any prices >= 0 and any w <= the origin's cost; w comes from dual ascent (Erlenkotter, 1978),
run for many files at once.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.catalogue import Catalogue, read_catalogue
from demand.demand import Demand, read_demand
from demand.diurnal import peak_slices as slice_shapes
from demand.laws import load_laws
from topology.errors import InputError, Problem
from topology.network import Network, read_network
from topology.routing import Paths, Routes, fill_costs, region_paths, site_trees, steering_routes
from topology.tables import find_table, index_of, load_schema, read_table

TOLERANCE = 1e-6
"""Relative excess of a limit that counts as rounding."""

BLOCK = 500_000
"""Entries (regions x files) whose duals are raised together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the files say. ``violations`` is empty if and only if ``feasible``."""

    feasible: bool
    violations: list[str]
    objective_cost: float
    serving_cost: float
    fill_cost: float
    origin_only_cost: float
    lower_bound: float
    gap: float
    stored_copies: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """Everything read: the network, what it costs, the demand, and the plan as arrays."""

    network: Network
    routes: Routes
    paths: Paths
    fill_cost: np.ndarray
    size_gb: np.ndarray
    demand: Demand
    stored: np.ndarray
    reactive_share: float
    link_limits: bool
    pinned: np.ndarray
    forbidden: np.ndarray
    floors: list[tuple[int, np.ndarray, int]]
    """file, (S,) bool sites of the group, how many of them at least."""
    fill_limit_gb: np.ndarray
    shape: np.ndarray


def verify(
    folder: Path, demand_path: Path, plan: Path, *, previous: Path | None = None,
    candidates: int = 10, peak_to_mean: float = 2.5, fill_weight: float = 0.14, reactive_share: float = 0.0, link_limits: bool = False,
    fill_limits: bool = False, peak_slices: int = 1,
) -> Verification:  # fmt: skip
    """Recompute a plan.

    Parameters
    ----------
    folder, demand_path, plan
        Network folder, demand table, plan folder.
    previous
        Last night's plan folder: what it stored costs no fill.
    candidates, peak_to_mean, fill_weight, reactive_share, link_limits, fill_limits, peak_slices
        The rules of the problem, as in ``fillplan.toml``.

    Raises
    ------
    InputError
        If a file cannot be read; a plan that breaks a limit or names what does not exist is a violation instead.
    """
    network, catalogue = read_network(folder), read_catalogue(folder)
    trees = site_trees(network)
    routes = steering_routes(network, trees, candidates=candidates)
    demand = read_demand(demand_path, network.region_ids, catalogue.file_ids, peak_to_mean=peak_to_mean)
    wrong: list[str] = []
    placement = _table(plan, "placement")
    stored = _stored(network, catalogue.file_ids, placement, catalogue.size_gb, wrong)
    case = _Case(
        network=network, routes=routes, paths=region_paths(network, trees, routes),
        fill_cost=np.where(network.is_origin, 0.0, fill_weight * fill_costs(network, trees)[0]),
        size_gb=catalogue.size_gb, demand=demand, stored=stored, reactive_share=reactive_share, link_limits=link_limits,
        pinned=_ruled(network, catalogue, "pinned"), forbidden=_ruled(network, catalogue, "forbidden"), floors=_floors(network, catalogue),
        fill_limit_gb=_windows(network) if fill_limits else np.full(len(network.sites), np.inf), shape=_shape(network, peak_slices),
    )  # fmt: skip
    _check_storage(case, wrong)
    _check_rules(case, catalogue.file_ids, wrong)
    row, k, share = _serving(case, _table(plan, "assignment", required=False), catalogue.file_ids, wrong)
    before = (
        np.zeros_like(stored)
        if previous is None
        else _known_stored(network, catalogue.file_ids, _table(previous, "placement"))
    )
    new = stored & ~before & ~network.is_origin[:, None]
    _check_windows(case, new, wrong)
    serving = math.fsum((demand.gb[row] * routes.cost_per_gb[demand.region[row], k] * share).tolist())
    fill = math.fsum((case.fill_cost[:, None] * new * catalogue.size_gb[None, :])[new].tolist())
    _check_loads(case, row, k, share, wrong)
    bound = lower_bound(
        case, before, _table(plan, "prices", required=False), _table(plan, "slice_prices", required=False)
    )
    objective = serving + fill
    _check_claims(plan, objective, wrong)
    return Verification(
        feasible=not wrong, violations=wrong, objective_cost=objective, serving_cost=serving, fill_cost=fill,
        origin_only_cost=math.fsum((demand.gb * _origin_cost(case)[demand.region]).tolist()), lower_bound=min(bound, objective),
        gap=(objective - min(bound, objective)) / objective if objective > 0 else 0.0,
        stored_copies=0 if placement is None else len(placement),
    )  # fmt: skip


def lower_bound(
    case: _Case, before: np.ndarray, prices: pd.DataFrame | None, slice_prices: pd.DataFrame | None = None
) -> float:
    """The better of the unlimited-storage bound and the Lagrangian bound at the plan's prices."""
    demand, routes = case.demand, case.routes
    unlimited = math.fsum((demand.gb * routes.cost_per_gb.min(axis=1)[demand.region]).tolist())
    if prices is None or not len(prices):
        return unlimited
    slices = case.shape.shape[1]
    storage, throughput, arc, fill = _price_arrays(case.network, prices)
    throughput, arc = np.tile(throughput / slices, (slices, 1)), np.tile(arc / slices, (slices, 1))
    if slices > 1 and slice_prices is not None:
        for t in range(slices):
            _, throughput[t], arc[t], _ = _price_arrays(case.network, slice_prices[slice_prices["slice"] == t])
    return max(unlimited, priced_bound(case, before, storage, throughput, arc, fill))


def priced_bound(
    case: _Case, before: np.ndarray, storage: np.ndarray, throughput: np.ndarray, arc: np.ndarray, fill: np.ndarray
) -> float:
    """The Lagrangian bound at prices >= 0.

    Parameters
    ----------
    storage, fill
        (S,) per GB stored and per GB filled; those of unlimited sites must be 0.
    throughput, arc
        (T, S) and (T, 2L) per Gbit/s in each slice of the day.
    """
    network, routes, demand = case.network, case.routes, case.demand
    R, K = routes.site.shape
    F = case.stored.shape[1]
    site = np.maximum(routes.site, 0)
    there = routes.site >= 0
    edge = there & ~network.is_origin[site]
    toll = np.zeros((R, K))
    for t, part in enumerate(case.shape.T):
        now = np.where(edge, throughput[t][site], 0.0)
        if case.link_limits:
            along = np.concatenate([[0.0], np.cumsum(arc[t][case.paths.arcs])])
            now = now + (along[case.paths.start[1:]] - along[case.paths.start[:-1]]).reshape(R, K)
        toll += part[:, None] * now
    limited = np.isfinite(case.fill_limit_gb)
    per_new_gb = case.fill_cost + np.where(limited, fill, 0.0)
    total = 0.0
    start = np.searchsorted(demand.file, np.arange(F + 1))
    width = max(1, BLOCK // max(R, 1))
    for first in range(0, F, width):
        last = min(F, first + width)
        rows = slice(start[first], start[last])
        at = (demand.region[rows], demand.file[rows] - first)
        gb, peak = np.zeros((R, last - first)), np.zeros((R, last - first))
        gb[at], peak[at] = demand.gb[rows], demand.peak_gbps[rows]
        opening = case.size_gb[None, first:last] * (storage[:, None] + per_new_gb[:, None] * ~before[:, first:last])
        pinned = case.pinned[:, first:last]
        total += float(opening[pinned].sum())
        opening[pinned] = 0.0
        opening[case.forbidden[:, first:last]] = np.inf
        floors = [
            (f - first, group & ~pinned[:, f - first], k - int(pinned[group, f - first].sum()))
            for f, group, k in case.floors
            if first <= f < last
        ]
        total += _files_bound(gb, peak, routes.cost_per_gb, toll, site, edge, there, opening, floors)
    limit = np.where(network.is_origin, 0.0, network.site_storage_gb) * (1.0 - case.reactive_share)
    paid = float(np.sum(storage * limit)) + float(np.sum(fill[limited] * case.fill_limit_gb[limited]))
    paid += float(np.sum(throughput * np.where(network.is_origin, 0.0, network.site_throughput_gbps)))
    if case.link_limits:
        paid += float(np.sum(arc * np.repeat(network.links["capacity_gbps"].to_numpy(float), 2)))
    return total - paid


def _files_bound(
    gb: np.ndarray, peak: np.ndarray, cost: np.ndarray, toll: np.ndarray, site: np.ndarray, edge: np.ndarray, there: np.ndarray,
    opening: np.ndarray, floors: list[tuple[int, np.ndarray, int]],
) -> float:  # fmt: skip
    """Sum over a block of files of a lower bound on their facility location; arrays over (R, B) files, opening (S, B), infinite where forbidden.

    ``floors``: file, (S,) bool group, and how many of the group must store it: whatever w is, a solution pays for each site it opens what w leaves of the opening
    price, so it pays the least of those at least so often. Of several floors of a file, whose groups may overlap, the dearest counts.
    """
    R, B = gb.shape
    K = cost.shape[1]
    price, ceiling = np.full((K, R, B), np.inf), np.full((R, B), np.inf)
    for k in range(K):
        total = np.where(
            there[:, k, None], gb * np.where(there[:, k], cost[:, k], 0.0)[:, None] + peak * toll[:, k, None], np.inf
        )
        price[k] = np.where(edge[:, k, None], total, np.inf)
        ceiling = np.where(edge[:, k, None], ceiling, np.minimum(ceiling, total))
    order = np.argsort(price, axis=0, kind="stable")
    level = np.minimum(np.take_along_axis(price, order, axis=0), ceiling)
    w, slack, files = level[0].copy(), opening.copy(), np.arange(B)
    for k in range(K):  # raise every w to its next level, region by region, as far as the sites it pays have slack
        goal = level[k + 1] if k + 1 < K else ceiling
        for r in range(R):
            pays = [(site[r, order[j, r]], price[order[j, r], r, files] <= w[r]) for j in range(k + 1)]
            step = goal[r] - w[r]
            for at, paid in pays:
                step = np.where(paid, np.minimum(step, slack[at, files]), step)
            step = np.maximum(step, 0.0)
            for at, paid in pays:
                slack[at, files] -= np.where(paid, step, 0.0)
            w[r] += step
    over = opening.copy()
    for k in range(K):  # whatever w is, charge each site what it would gain: this makes the bound true
        np.subtract.at(over, site[:, k], np.where(np.isfinite(price[k]), np.maximum(w - price[k], 0.0), 0.0))
    dearest = np.zeros(B)
    for f, group, count in floors:
        least = np.sort(np.maximum(over[group, f], 0.0))[: max(count, 0)]
        dearest[f] = max(dearest[f], float(least[np.isfinite(least)].sum()))
    return float(w.sum() + np.minimum(over, 0.0).sum() + dearest.sum())


def _table(folder: Path, name: str, *, required: bool = True) -> pd.DataFrame | None:
    path = find_table(folder, name)
    if path is None:
        if required:
            raise InputError(
                Problem(
                    table=name,
                    message=f"{folder} has no {name} table",
                    mend="give a plan folder written by 'fillplan place'",
                )
            )
        return None
    problems: list[Problem] = []
    frame = read_table(path, load_schema("cdn", name), problems, categorical=True, may_be_empty=True)
    if problems:
        raise InputError(problems)
    return frame


def _stored(
    network: Network, file_ids: pd.Index, placement: pd.DataFrame | None, size_gb: np.ndarray, wrong: list[str]
) -> np.ndarray:
    """(S, F) bool; every copy is checked for its names, its site and its appliance's room."""
    stored = np.zeros((len(network.sites), len(file_ids)), bool)
    stored[network.is_origin] = True
    if placement is None or placement.empty:
        return stored
    appliance, site = (
        index_of(network.appliance_ids, placement["appliance"]),
        index_of(network.site_ids, placement["site"]),
    )
    file = index_of(file_ids, placement["file"])
    for what, at in (("appliance", appliance), ("site", site), ("file", file)):
        unknown = np.flatnonzero(at < 0)
        if len(unknown):
            wrong.append(f"unknown {what} {placement[what].iloc[unknown[0]]!r} ({len(unknown)} rows)")
    good = (appliance >= 0) & (site >= 0) & (file >= 0)
    appliance, site, file = appliance[good], site[good], file[good]
    moved = np.flatnonzero(network.appliance_site[appliance] != site)
    if len(moved):
        wrong.append(
            f"appliance {network.appliance_ids[appliance[moved[0]]]!r} is not at site {network.site_ids[site[moved[0]]]!r} ({len(moved)} rows)"
        )
    used = np.bincount(appliance, size_gb[file], len(network.appliances))
    room = network.appliances["storage_gb"].to_numpy(float)
    for a in np.flatnonzero(used > room * (1 + TOLERANCE)).tolist():
        wrong.append(f"storage of appliance {network.appliance_ids[a]!r} exceeded: {used[a]:.6g} of {room[a]:.6g} GB")
    stored[network.appliance_site[appliance], file] = True
    return stored


def _known_stored(network: Network, file_ids: pd.Index, placement: pd.DataFrame | None) -> np.ndarray:
    stored = np.zeros((len(network.sites), len(file_ids)), bool)
    if placement is not None and len(placement):
        site, file = index_of(network.site_ids, placement["site"]), index_of(file_ids, placement["file"])
        known = (site >= 0) & (file >= 0)
        stored[site[known], file[known]] = True
    return stored


def _check_storage(case: _Case, wrong: list[str]) -> None:
    network = case.network
    used = np.where(network.is_origin, 0.0, case.stored @ case.size_gb)
    limit = network.site_storage_gb * (1.0 - case.reactive_share)
    for s in np.flatnonzero(used > limit * (1 + TOLERANCE)).tolist():
        wrong.append(f"storage of site {network.site_ids[s]!r} exceeded: {used[s]:.6g} of {limit[s]:.6g} GB")


def _ruled(network: Network, catalogue: Catalogue, rule: str) -> np.ndarray:
    """(S, F) bool: what the table ``rules`` says is pinned, or forbidden."""
    ruled = np.zeros((len(network.sites), len(catalogue.files)), bool)
    if catalogue.rules is not None:
        table = catalogue.rules[catalogue.rules["rule"] == rule].fillna({"profile": ""})
        files = catalogue.files.assign(f=np.arange(len(catalogue.files)))[["title", "profile", "f"]]
        found = table.merge(files, on="title", suffixes=("", "_own"))
        found = found[(found["profile"] == "") | (found["profile"] == found["profile_own"])]
        ruled[index_of(network.site_ids, found["site"]), found["f"].to_numpy()] = True
    return ruled


def _floors(network: Network, catalogue: Catalogue) -> list[tuple[int, np.ndarray, int]]:
    """Every floor on replicas: file, (S,) bool sites of the group, how many."""
    if catalogue.replicas is None:
        return []
    of = network.sites["group"].fillna("") if "group" in network.sites else pd.Series("", index=network.sites.index)
    table = catalogue.replicas.fillna({"group": ""})
    found = table.merge(catalogue.files.assign(f=np.arange(len(catalogue.files)))[["title", "f"]], on="title")
    return [
        (int(f), ~network.is_origin & ((of == group).to_numpy() if group else True), int(k))
        for f, group, k in zip(found["f"], found["group"], found["at_least"], strict=True)
    ]


def _windows(network: Network) -> np.ndarray:
    """(S,) GB that the fill windows of a site's appliances can bring."""
    table = network.appliances
    gb = table["fill_gbps"] / 8 * 3600 * table["fill_hours"]
    by_site = (
        gb.groupby(network.appliance_site).sum().reindex(range(len(network.sites)), fill_value=0.0).to_numpy(float)
    )
    return np.where(network.is_origin, np.inf, by_site)


def _shape(network: Network, slices: int) -> np.ndarray:
    """(R, T): what part of its busiest hour each region reaches in each slice of the day."""
    if slices == 1:
        return np.ones((len(network.regions), 1))
    return slice_shapes(network.regions["timezone"].to_numpy(str), slices, load_laws().hourly_profile)


def _check_rules(case: _Case, file_ids: pd.Index, wrong: list[str]) -> None:
    names = case.network.site_ids
    for what, broken in (
        ("misses the pinned", case.pinned & ~case.stored),
        ("stores the forbidden", case.forbidden & case.stored),
    ):
        s, f = np.nonzero(broken)
        if len(s):
            wrong.append(f"site {names[s[0]]!r} {what} file {file_ids[f[0]]!r} ({len(s)} such copies)")
    short = [(f, int(case.stored[group, f].sum()), k) for f, group, k in case.floors if case.stored[group, f].sum() < k]
    if short:
        file, there, least = short[0]
        wrong.append(
            f"file {file_ids[file]!r} has {there} replicas in a group that must have {least} ({len(short)} such floors)"
        )


def _check_windows(case: _Case, new: np.ndarray, wrong: list[str]) -> None:
    gb = new @ case.size_gb
    for s in np.flatnonzero(gb > case.fill_limit_gb * (1 + TOLERANCE)).tolist():
        wrong.append(
            f"fill window of site {case.network.site_ids[s]!r} exceeded: {gb[s]:.6g} of {case.fill_limit_gb[s]:.6g} GB"
        )


def _serving(
    case: _Case, assignment: pd.DataFrame | None, file_ids: pd.Index, wrong: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(entry, candidate, share) of everything served: the default of the best-ranked holder, and the named rows."""
    demand, routes, network = case.demand, case.routes, case.network
    candidates = routes.site[demand.region]
    holds = (candidates >= 0) & case.stored[np.maximum(candidates, 0), demand.file[:, None]]
    if not holds.any(axis=1).all():
        wrong.append(f"{int((~holds.any(axis=1)).sum())} demand entries that no site of their region holds")
    rows, ks, shares = np.arange(len(demand)), holds.argmax(axis=1), np.ones(len(demand))
    if assignment is None or assignment.empty:
        return rows, ks, shares
    region, file = index_of(network.region_ids, assignment["region"]), index_of(file_ids, assignment["file"])
    site, share = index_of(network.site_ids, assignment["site"]), assignment["share"].to_numpy(float)
    unknown = (region < 0) | (file < 0) | (site < 0)
    if unknown.any():
        wrong.append(
            f"assignment names what does not exist: {tuple(assignment.iloc[int(np.flatnonzero(unknown)[0]), :3])}"
        )
    keys = demand.file.astype(np.int64) * len(network.regions) + demand.region
    wanted = file.astype(np.int64) * len(network.regions) + region
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    known = ~unknown & (keys[at] == wanted)
    if (~unknown & ~known).any():
        wrong.append(f"{int((~unknown & ~known).sum())} assignment rows without demand")
    at, site, share = at[known], site[known], share[known]
    match = routes.site[demand.region[at]] == site[:, None]
    serves = match.any(axis=1)
    if not serves.all():
        wrong.append(f"{int((~serves).sum())} assignment rows to a site that does not serve the region")
    at, site, share, k = at[serves], site[serves], share[serves], match[serves].argmax(axis=1)
    empty = ~case.stored[site, demand.file[at]]
    if empty.any():
        wrong.append(f"{int(empty.sum())} assignment rows to a site that does not hold the file")
    sums = np.bincount(at, share, len(demand))
    named = np.bincount(at, minlength=len(demand)) > 0
    off = named & (np.abs(sums - 1.0) > TOLERANCE)
    if off.any():
        wrong.append(f"shares of {int(off.sum())} entries do not add up to 1")
    rest = ~named
    return np.concatenate([rows[rest], at]), np.concatenate([ks[rest], k]), np.concatenate([shares[rest], share])


def _check_loads(case: _Case, row: np.ndarray, k: np.ndarray, share: np.ndarray, wrong: list[str]) -> None:
    demand, routes, network = case.demand, case.routes, case.network
    path = demand.region[row].astype(np.int64) * routes.site.shape[1] + k
    busiest = np.bincount(path, demand.peak_gbps[row] * share, routes.site.size).reshape(routes.site.shape)
    by_slice = [busiest * part[:, None] for part in case.shape.T]
    pair_site = np.maximum(routes.site, 0).ravel()
    load = np.max([np.bincount(pair_site, now.ravel(), len(network.sites)) for now in by_slice], axis=0)
    over = np.flatnonzero(load > network.site_throughput_gbps * (1 + TOLERANCE))
    for s in over.tolist():
        wrong.append(
            f"throughput of site {network.site_ids[s]!r} exceeded: {load[s]:.6g} of {network.site_throughput_gbps[s]:.6g} Gbit/s"
        )
    if not case.link_limits:
        return
    arcs, hops = case.paths.arcs, np.diff(case.paths.start)
    flow = np.max([np.bincount(arcs, np.repeat(now.ravel(), hops), 2 * len(network.links)) for now in by_slice], axis=0)
    capacity = np.repeat(network.links["capacity_gbps"].to_numpy(float), 2)
    for a in np.flatnonzero(flow > capacity * (1 + TOLERANCE)).tolist():
        towards = network.node_ids[network.link_ends[a // 2, 1 - a % 2]]
        wrong.append(
            f"link {network.link_ids[a // 2]!r} towards {towards!r} exceeded: {flow[a]:.6g} of {capacity[a]:.6g} Gbit/s"
        )


def _check_claims(plan: Path, objective: float, wrong: list[str]) -> None:
    """The summary must say what the tables say."""
    try:
        claims = json.loads((plan / "summary.json").read_text("utf-8"))
        cost, bound = float(claims["objective_cost"]), float(claims["lower_bound"])
    except (OSError, ValueError, KeyError, TypeError):
        wrong.append("summary.json is missing or does not give objective_cost and lower_bound")
        return
    if not math.isclose(cost, objective, rel_tol=1e-9, abs_tol=1e-9):
        wrong.append(f"summary.json claims a cost of {cost!r}, the tables give {objective!r}")
    if bound > cost * (1 + 1e-9):
        wrong.append(f"summary.json claims a lower bound of {bound!r} above its own cost {cost!r}")


def _price_arrays(network: Network, prices: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Storage and throughput (S,), links (2L,), fill windows (S,) from a table of prices; rows of unknown names count as price 0, which keeps the bound true."""
    storage, throughput, fill = np.zeros((3, len(network.sites)))
    arc = np.zeros(2 * len(network.links))
    ends = network.link_ends[np.arange(len(arc)) // 2, 1 - np.arange(len(arc)) % 2]
    names = pd.Index([f"{network.link_ids[a // 2]}>{network.node_ids[n]}" for a, n in enumerate(ends)])
    value = prices["price"].to_numpy(float)
    for kind, target, index in (
        ("storage", storage, network.site_ids),
        ("throughput", throughput, network.site_ids),
        ("link", arc, names),
        ("fill", fill, network.site_ids),
    ):
        rows = (prices["kind"] == kind).to_numpy()
        at = index.get_indexer(pd.Index(prices["id"].astype(str).to_numpy()[rows]))
        target[at[at >= 0]] = value[rows][at >= 0]
    for price in (storage, throughput, fill):
        price[network.is_origin] = 0.0
    return storage, throughput, arc, fill


def _origin_cost(case: _Case) -> np.ndarray:
    """(R,) cost per GB from each region's cheapest origin."""
    site = case.routes.site
    origin = (site >= 0) & case.network.is_origin[np.maximum(site, 0)]
    return np.asarray(np.where(origin, case.routes.cost_per_gb, np.inf).min(axis=1))
