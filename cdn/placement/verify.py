"""Recompute a plan from its files alone: cost, limits and a true lower bound. Shares no code with the solvers.

What the plan must keep is read by :mod:`cdn.placement.case`, what its prices prove computed by :mod:`cdn.placement.bound`.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cdn.documents import read_json
from cdn.placement.bound import lower_bound
from cdn.placement.case import Case, read_case
from demand.demand import read_demand
from topology.errors import InputError, Problem
from topology.network import Network
from topology.tables import find_table, index_of, load_schema, read_table

TOLERANCE = 1e-6
"""Relative excess of a limit that counts as rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the files say. ``violations`` is empty if and only if ``feasible``.

    ``lower_bound`` is what the plan's prices prove by themselves, ``claimed_bound`` the one written in its summary.
    """

    feasible: bool
    violations: list[str]
    objective_cost: float
    serving_cost: float
    fill_cost: float
    origin_only_cost: float
    lower_bound: float
    gap: float
    stored_copies: int
    claimed_bound: float

    @property
    def unproven(self) -> float:
        """The part of the claimed bound that the prices do not prove; 0 where that is rounding."""
        short = (self.claimed_bound - self.lower_bound) / self.claimed_bound if self.claimed_bound > 0 else 0.0
        return short if short > TOLERANCE else 0.0


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
        Last night's plan folder: what it stored costs no fill, and what an appliance held takes nothing of its fill window. What lay on appliances that are gone is gone.
    candidates, peak_to_mean, fill_weight, reactive_share, link_limits, fill_limits, peak_slices
        The rules of the problem, as in ``fillplan.toml``.

    Raises
    ------
    InputError
        If a file cannot be read, the plan was made for another demand, or its summary claims no cost and bound; a plan that breaks a limit or names what does
        not exist is a violation instead.
    """
    case = read_case(
        folder, demand_path, candidates=candidates, peak_to_mean=peak_to_mean, fill_weight=fill_weight, reactive_share=reactive_share,
        link_limits=link_limits, fill_limits=fill_limits, peak_slices=peak_slices,
    )  # fmt: skip
    _refuse_other_demand(case, demand_path, plan)
    network, file_ids, demand = case.network, case.catalogue.file_ids, case.demand
    wrong: list[str] = []
    copies = _copies(network, file_ids, _table(plan, "placement"), wrong)
    claimed = _claims(plan)
    ignored: list[str] = []
    held = _copies(network, file_ids, None if previous is None else _table(previous, "placement"), ignored)
    stored, before = _at_sites(network, copies, len(file_ids)), _at_sites(network, held, len(file_ids))
    new = stored & ~before & ~network.is_origin[:, None]
    _check_storage(case, copies, stored, wrong)
    _check_windows(case, copies, held, wrong)
    _check_rules(case, stored, wrong)
    row, k, share = _serving(case, stored, _table(plan, "assignment", required=False), wrong)
    _check_loads(case, row, k, share, wrong)
    serving = math.fsum((demand.gb[row] * case.routes.cost_per_gb[demand.region[row], k] * share).tolist())
    fill = math.fsum((case.fill_cost[:, None] * new * case.size_gb[None, :])[new].tolist())
    prices = (_table(plan, name, required=False) for name in ("prices", "slice_prices"))
    objective = serving + fill
    bound = min(lower_bound(case, before, *prices), objective)
    _check_claims(*claimed, objective, wrong)
    return Verification(
        feasible=not wrong, violations=wrong, objective_cost=objective, serving_cost=serving, fill_cost=fill,
        origin_only_cost=math.fsum((demand.gb * _origin_cost(case)[demand.region]).tolist()), lower_bound=bound,
        gap=(objective - bound) / objective if objective > 0 else 0.0, stored_copies=len(copies), claimed_bound=claimed[1],
    )  # fmt: skip


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


def _copies(network: Network, file_ids: pd.Index, placement: pd.DataFrame | None, wrong: list[str]) -> np.ndarray:
    """(P, 2): appliance and file of every copy whose names are known; the others are said to be wrong, and those that are not at their site."""
    if placement is None or placement.empty:
        return np.zeros((0, 2), np.int64)
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
    return np.unique(np.column_stack([appliance, file]), axis=0).astype(np.int64)


def _at_sites(network: Network, copies: np.ndarray, files: int) -> np.ndarray:
    """(S, F) bool: what any appliance of the site holds; origins hold everything."""
    stored = np.zeros((len(network.sites), files), bool)
    stored[network.is_origin] = True
    stored[network.appliance_site[copies[:, 0]], copies[:, 1]] = True
    return stored


def _check_storage(case: Case, copies: np.ndarray, stored: np.ndarray, wrong: list[str]) -> None:
    network = case.network
    used = np.bincount(copies[:, 0], case.size_gb[copies[:, 1]], len(network.appliances))
    room = network.appliances["storage_gb"].to_numpy(float)
    for a in np.flatnonzero(used > room * (1 + TOLERANCE)).tolist():
        wrong.append(f"storage of appliance {network.appliance_ids[a]!r} exceeded: {used[a]:.6g} of {room[a]:.6g} GB")
    gb = np.where(network.is_origin, 0.0, stored @ case.size_gb)
    for s in np.flatnonzero(gb > case.storage_gb * (1 + TOLERANCE)).tolist():
        wrong.append(f"storage of site {network.site_ids[s]!r} exceeded: {gb[s]:.6g} of {case.storage_gb[s]:.6g} GB")


def _check_windows(case: Case, copies: np.ndarray, held: np.ndarray, wrong: list[str]) -> None:
    """What each appliance takes in that it does not hold, from wherever it comes, must fit into its own window."""
    files, ids = len(case.size_gb), case.network.appliance_ids
    new = copies[~np.isin(copies @ [files, 1], held @ [files, 1])]
    gb = np.bincount(new[:, 0], case.size_gb[new[:, 1]], len(ids))
    for a in np.flatnonzero(gb > case.appliance_window_gb * (1 + TOLERANCE)).tolist():
        wrong.append(
            f"fill window of appliance {ids[a]!r} exceeded: {gb[a]:.6g} of {case.appliance_window_gb[a]:.6g} GB"
        )


def _check_rules(case: Case, stored: np.ndarray, wrong: list[str]) -> None:
    names, file_ids = case.network.site_ids, case.catalogue.file_ids
    for what, broken in (
        ("misses the pinned", case.pinned & ~stored),
        ("stores the forbidden", case.forbidden & stored),
    ):
        s, f = np.nonzero(broken)
        if len(s):
            wrong.append(f"site {names[s[0]]!r} {what} file {file_ids[f[0]]!r} ({len(s)} such copies)")
    floors = case.floors.to_numpy()
    there = np.array([stored[case.member[group], file].sum() for file, group, _ in floors], int)
    short = np.flatnonzero(there < floors[:, 2])
    if len(short):
        file, _, least = floors[short[0]]
        wrong.append(
            f"file {file_ids[file]!r} has {there[short[0]]} replicas in a group that must have {least} ({len(short)} such floors)"
        )


def _serving(
    case: Case, stored: np.ndarray, assignment: pd.DataFrame | None, wrong: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(entry, candidate, share) of everything served: the default of the best-ranked holder, and the named rows."""
    demand, routes, network, file_ids = case.demand, case.routes, case.network, case.catalogue.file_ids
    candidates = routes.site[demand.region]
    holds = (candidates >= 0) & stored[np.maximum(candidates, 0), demand.file[:, None]]
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
    empty = ~stored[site, demand.file[at]]
    if empty.any():
        wrong.append(f"{int(empty.sum())} assignment rows to a site that does not hold the file")
    sums = np.bincount(at, share, len(demand))
    named = np.bincount(at, minlength=len(demand)) > 0
    off = named & (np.abs(sums - 1.0) > TOLERANCE)
    if off.any():
        wrong.append(f"shares of {int(off.sum())} entries do not add up to 1")
    rest = ~named
    return np.concatenate([rows[rest], at]), np.concatenate([ks[rest], k]), np.concatenate([shares[rest], share])


def _check_loads(case: Case, row: np.ndarray, k: np.ndarray, share: np.ndarray, wrong: list[str]) -> None:
    demand, routes, network = case.demand, case.routes, case.network
    path = demand.region[row].astype(np.int64) * routes.site.shape[1] + k
    busiest = np.bincount(path, demand.peak_gbps[row] * share, routes.site.size).reshape(routes.site.shape)
    by_slice = [busiest * part[:, None] for part in case.shape.T]
    pair_site = np.maximum(routes.site, 0).ravel()
    load = np.max([np.bincount(pair_site, now.ravel(), len(network.sites)) for now in by_slice], axis=0)
    limit = case.throughput_gbps()
    for s in np.flatnonzero(load > limit * (1 + TOLERANCE)).tolist():
        wrong.append(f"throughput of site {network.site_ids[s]!r} exceeded: {load[s]:.6g} of {limit[s]:.6g} Gbit/s")
    if not case.link_limits:
        return
    arcs, hops = case.paths.arcs, np.diff(case.paths.start)
    flow = np.max([np.bincount(arcs, np.repeat(now.ravel(), hops), 2 * len(network.links)) for now in by_slice], axis=0)
    capacity = case.link_gbps()
    for a in np.flatnonzero(flow > capacity * (1 + TOLERANCE)).tolist():
        towards = network.node_ids[network.link_ends[a // 2, 1 - a % 2]]
        wrong.append(
            f"link {network.link_ids[a // 2]!r} towards {towards!r} exceeded: {flow[a]:.6g} of {capacity[a]:.6g} Gbit/s"
        )


def _claims(plan: Path) -> tuple[float, float]:
    """Cost and bound that the summary claims."""
    claims = read_json(plan / "summary.json")
    try:
        return float(claims["objective_cost"]), float(claims["lower_bound"])
    except (ValueError, KeyError, TypeError):
        message, mend = "does not give objective_cost and lower_bound", "make the plan again"
        raise InputError(Problem(table="summary.json", value=str(plan), message=message, mend=mend)) from None


def _check_claims(cost: float, bound: float, objective: float, wrong: list[str]) -> None:
    """The summary must say what the tables say."""
    if not math.isclose(cost, objective, rel_tol=1e-9, abs_tol=1e-9):
        wrong.append(f"summary.json claims a cost of {cost!r}, the tables give {objective!r}")
    if bound > cost * (1 + 1e-9):
        wrong.append(f"summary.json claims a lower bound of {bound!r} above its own cost {cost!r}")


def _refuse_other_demand(case: Case, demand_path: Path, plan: Path) -> None:
    """Raise InputError where the plan keeps the demand it was made for, and that is another one."""
    path = find_table(plan, "demand")
    if path is None:
        return
    try:
        own = read_demand(path, case.network.region_ids, case.catalogue.file_ids)
    except InputError:
        message = "keeps a demand that this network does not know"
        mend = "make the plan again for this network, or give the network it was made for"
        raise InputError(Problem(table="plan", value=str(plan), message=message, mend=mend)) from None
    given = case.demand
    same = len(own) == len(given) and bool((own.region == given.region).all() and (own.file == given.file).all())
    if not same or not np.allclose([own.gb, own.peak_gbps], [given.gb, given.peak_gbps], rtol=TOLERANCE, atol=0.0):
        message = "is not the demand that the plan was made for"
        mend = f"give --demand {path}, or make the plan again for this demand"
        raise InputError(
            Problem(table="arguments", column="--demand", value=str(demand_path), message=message, mend=mend)
        )


def _origin_cost(case: Case) -> np.ndarray:
    """(R,) cost per GB from each region's cheapest origin."""
    site = case.routes.site
    origin = (site >= 0) & case.network.is_origin[np.maximum(site, 0)]
    return np.asarray(np.where(origin, case.routes.cost_per_gb, np.inf).min(axis=1))
