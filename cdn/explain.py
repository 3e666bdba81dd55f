"""Why a file is, or is not, at a site: what it would save there, at the plan's prices of throughput, links and fills, against the site's price of storage."""

import dataclasses
import difflib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.placement.build import build_problem
from cdn.placement.problem import Prices, Problem, rate_uses
from cdn.plan import Plan, prices_of
from demand.catalogue import Catalogue
from topology.errors import InputError
from topology.errors import Problem as Wrong
from topology.network import Network
from topology.placement import Placement

RULES = ("candidates", "fill_weight", "reactive_share", "link_limits", "fill_limits", "peak_slices")
"""What a plan's summary says of the problem it solves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a file is, or is not, at a site.

    Parameters
    ----------
    stored
        Whether the site stores it; ``appliances`` says where.
    value
        What the copy saves a day (or would save), fill deducted, given everything else that is stored; throughput, links and fill windows are charged at the
        plan's prices.
    density
        ``value`` per GB of room.
    price
        The site's price of storage per GB: what the last GB of room saves.
    margin
        ``density - price``: above 0 the copy earns its room.
    rank, files
        Place of the file among all files at this site by density, and their number.
    needed_factor
        By how much the demand would have to grow for the copy to be worth the price; below 1 it may shrink to that. None if nobody asks.
    sentence
        All of it in words.
    """

    site: str
    file: str
    stored: bool
    appliances: list[str]
    size_gb: float
    value: float
    density: float
    price: float
    margin: float
    rank: int
    files: int
    needed_factor: float | None
    sentence: str


def explain(
    network: Network, catalogue: Catalogue, plan: Plan, site: str, file: str, before: Placement | None = None
) -> Explanation:
    """Explain one file at one site.

    Parameters
    ----------
    before
        What the appliances held when the plan was made: those copies need no fill. None for nothing.

    Raises
    ------
    InputError
        If the site or the file is unknown, with the closest names, or the site is an origin.
    """
    s, f = _find(network.site_ids, site, "site"), _find(catalogue.file_ids, file, "file")
    if network.is_origin[s]:
        raise InputError(
            Wrong(
                table="arguments",
                column="--site",
                value=site,
                message="an origin stores every file",
                mend="name an edge site",
            )
        )
    rules = {name: plan.summary[name] for name in RULES if name in plan.summary}
    held = (
        np.zeros((len(network.sites), len(catalogue.files)), bool)
        if before is None
        else before.stored(network, len(catalogue.files))
    )
    problem = build_problem(network, catalogue, plan.demand, previous=held, **rules)
    stored = plan.placement.stored(network, len(catalogue.files))
    prices = prices_of(network, plan.prices, plan.slice_prices, problem.shape.shape[1])
    saving = savings_at(problem, stored, s, toll=tolls(problem, prices))
    window = 0.0 if prices.fill is None else prices.fill[s]
    fill = np.where(held[s], 0.0, (problem.fill_cost[s] + window) * problem.size_gb)
    value = saving - fill
    density = value / problem.size_gb
    price = float(prices.storage[s])
    own = np.flatnonzero(network.appliance_site == s)
    here = own[np.isin(own, plan.placement.appliance[plan.placement.file == f])]
    room = network.appliances["storage_gb"].to_numpy(float)[own]
    free = room - np.array([problem.size_gb[plan.placement.file[plan.placement.appliance == a]].sum() for a in own])
    found = Explanation(
        site=site, file=file, stored=bool(stored[s, f]), appliances=[str(network.appliance_ids[a]) for a in here],
        size_gb=float(problem.size_gb[f]), value=float(value[f]), density=float(density[f]), price=price, margin=float(density[f] - price),
        rank=int((density > density[f]).sum()) + 1, files=problem.files,
        needed_factor=float((price * problem.size_gb[f] + fill[f]) / saving[f]) if saving[f] > 0 else None, sentence="",
    )  # fmt: skip
    asked = bool((problem.file == f)[(problem.site[problem.region] == s).any(axis=1)].any())
    worth = _worth(found, float(saving[f]), float(fill[f]), asked)
    change = _change(found, float(room.max(initial=0.0)), float(free.max(initial=0.0)))
    head = f"{file} is {'stored' if found.stored else 'not stored'} at {site}{_ruled(problem, s, f)}"
    return dataclasses.replace(found, sentence=f"{head}: {worth}; {change}.")


def _ruled(problem: Problem, s: int, f: int) -> str:
    """What the rules say of a file at a site, in words."""
    if problem.pinned is not None and problem.pinned[s, f]:
        return ", where the table rules pins it"
    if problem.forbidden is not None and problem.forbidden[s, f]:
        return ", where the table rules forbids it"
    if problem.floors is not None:
        floors = problem.floors
        for q in np.flatnonzero((floors.file == f) & floors.member[floors.group, s]).tolist():
            return f", one of {int(floors.member[floors.group[q]].sum())} sites of which the table replicas wants {int(floors.at_least[q])} to store it"
    return ""


def tolls(problem: Problem, prices: Prices) -> np.ndarray:
    """(R, K): what a Gbit/s in the region's busiest hour is charged on its way from each candidate, for throughput and links."""
    toll = np.zeros(problem.site.shape)
    region, candidate = np.nonzero(problem.site >= 0)
    toll[region, candidate] = rate_uses(problem, region, candidate).T @ prices.rate(problem)
    return toll


def savings_at(problem: Problem, stored: np.ndarray, s: int, *, toll: np.ndarray | None = None) -> np.ndarray:
    """What each file saves (or would save) a day at a site: serving cost without the copy there less with it, limits of throughput aside.

    Parameters
    ----------
    stored
        (S, F) bool.
    s
        The site.
    toll
        (R, K) what a Gbit/s of a region is charged on its way from each candidate, >= 0; None for nothing.

    Returns
    -------
    (F,) >= 0.
    """
    concerned = np.flatnonzero((problem.site == s).any(axis=1)[problem.region])
    region, file = problem.region[concerned], problem.file[concerned]
    candidates, mine = problem.site[region], problem.site[region] == s
    safe = np.maximum(candidates, 0)
    cost = problem.gb[concerned][:, None] * np.where(candidates >= 0, problem.cost_per_gb[region], 0.0)
    if toll is not None:
        cost = cost + problem.peak_gbps[concerned][:, None] * toll[region]
    holds = (candidates >= 0) & (stored[safe, file[:, None]] | problem.is_origin[safe]) & ~mine
    others = np.where(holds, cost, np.inf).min(axis=1)
    own = np.where(mine, cost, np.inf).min(axis=1)
    return np.bincount(file, np.maximum(0.0, others - own), problem.files)


def _find(ids: pd.Index, name: str, what: str) -> int:
    at = ids.get_indexer(pd.Index([name], dtype=object))[0]
    if at < 0:
        near = difflib.get_close_matches(name, [str(i) for i in ids], 3)
        mend = f"did you mean {' or '.join(near)}?" if near else f"see the table {what}s"
        raise InputError(Wrong(table="arguments", column=f"--{what}", value=name, message=f"no such {what}", mend=mend))
    return int(at)


def _worth(found: Explanation, saving: float, fill: float, asked: bool) -> str:
    """What the copy is worth, in words."""
    saves = "saves" if found.stored else "would save"
    if saving <= 0:
        why = (
            "every region that it serves has a holder as cheap"
            if asked
            else "no region that it serves asks for the file"
        )
        return f"a copy there {saves} nothing, for {why}"
    against = f"where the last GB of the site saves {found.price:,.4g}" if found.price > 0 else "where room is free"
    if found.value < 0:
        return f"a copy there {saves} {saving:,.4g} a day in serving, less than the {fill:,.4g} that its fill counts for, {against}"
    return f"a copy there {saves} {found.value:,.4g} a day, {found.density:,.4g} per GB, {against} (rank {found.rank:,} of {found.files:,} files)"


def _change(found: Explanation, largest: float, free: float) -> str:
    """What would have to change, in words; ``largest`` and ``free`` are the most GB of an appliance, in all and left."""
    needed, size = found.needed_factor, f"{found.size_gb:,.4g} GB"
    proven = "a plan is proven only to its gap"
    if needed is None:
        if found.stored:
            return "nothing is lost if it makes way"
        return "only demand there, or the loss of another holder, would change that"
    if found.stored and found.margin >= 0:
        if found.price > 0:
            return f"it keeps its place as long as demand stays above {needed:.0%} of the forecast"
        return (
            "it stays whatever the demand"
            if needed <= 0
            else f"it stays as long as demand is above {needed:.0%} of the forecast, which pays for its fill"
        )
    if found.stored:
        return f"it does not earn its place unless it lay there before, or demand grew x {needed:.2f}: {proven}"
    if found.size_gb > largest:
        return f"no appliance there is large enough for {size}"
    if found.margin < 0:
        cheaper = f", or if the last GB there saved less than {found.density:,.4g}" if found.density > 0 else ""
        return f"it would earn its place if demand grew x {needed:.2f}{cheaper}"
    if found.size_gb <= free:
        return f"it would earn its place and {size} are free: {proven}"
    return f"it would earn its place, but {size} are not free on any appliance there and what would make way is worth as much: {proven}"
