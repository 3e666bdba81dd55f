"""Why a file is, or is not, at a site: what it would save there against the site's price of storage."""

import difflib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.placement.problem import Problem, build_problem, cheapest_origin
from cdn.plan import Plan
from demand.catalogue import Catalogue
from topology.errors import InputError
from topology.errors import Problem as Wrong
from topology.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a file is, or is not, at a site.

    Parameters
    ----------
    stored
        Whether the site stores it; ``appliances`` says where.
    value
        What the copy saves a day (or would save), fill cost deducted, given everything else that is stored.
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


def explain(network: Network, catalogue: Catalogue, plan: Plan, site: str, file: str) -> Explanation:
    """Explain one file at one site.

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
    summary = plan.summary
    problem = build_problem(
        network,
        catalogue,
        plan.demand,
        candidates=int(summary.get("candidates", 10)),
        fill_weight=float(summary.get("fill_weight", 0.14)),
    )
    stored = plan.placement.stored(network, len(catalogue.files))
    saving = savings_at(problem, stored, s)
    fill = problem.fill_cost[s] * problem.size_gb
    value = saving - fill
    density = value / problem.size_gb
    prices = plan.prices
    row = prices[(prices["kind"] == "storage") & (prices["id"].astype(str) == site)]
    price = float(row["price"].iloc[0]) if len(row) else 0.0
    rank = int((density > density[f]).sum()) + 1
    here = network.appliance_ids[plan.placement.appliance[(plan.placement.file == f)]]
    own = [a for a in here if network.appliance_site[network.appliance_ids.get_loc(a)] == s]
    size = float(problem.size_gb[f])
    needed = float((price * size + fill[f]) / saving[f]) if saving[f] > 0 else None
    return Explanation(
        site=site, file=file, stored=bool(stored[s, f]), appliances=[str(a) for a in own], size_gb=size, value=float(value[f]),
        density=float(density[f]), price=price, margin=float(density[f] - price), rank=rank, files=problem.files, needed_factor=needed,
        sentence=_sentence(site, file, bool(stored[s, f]), float(value[f]), float(density[f]), price, rank, problem.files, needed, size),
    )  # fmt: skip


def savings_at(problem: Problem, stored: np.ndarray, s: int) -> np.ndarray:
    """(F,) what each file saves (or would save) a day at site ``s``: serving cost without the copy there less with it, limits of throughput aside."""
    candidates = problem.site[problem.region]
    cost = problem.cost_per_gb[problem.region]
    mine = candidates == s
    concerned = np.flatnonzero(mine.any(axis=1))
    safe = np.maximum(candidates[concerned], 0)
    holds = (
        (candidates[concerned] >= 0)
        & (stored[safe, problem.file[concerned][:, None]] | problem.is_origin[safe])
        & ~mine[concerned]
    )
    others = np.minimum(
        np.where(holds, cost[concerned], np.inf).min(axis=1), cheapest_origin(problem)[problem.region[concerned]]
    )
    own = np.where(mine[concerned], cost[concerned], np.inf).min(axis=1)
    gain = problem.gb[concerned] * np.maximum(0.0, others - own)
    return np.bincount(problem.file[concerned], gain, problem.files)


def _find(ids: pd.Index, name: str, what: str) -> int:
    at = ids.get_indexer(pd.Index([name], dtype=object))[0]
    if at < 0:
        near = difflib.get_close_matches(name, [str(i) for i in ids], 3)
        mend = f"did you mean {' or '.join(near)}?" if near else f"see the table {what}s"
        raise InputError(Wrong(table="arguments", column=f"--{what}", value=name, message=f"no such {what}", mend=mend))
    return int(at)


def _sentence(
    site: str, file: str, stored: bool, value: float, density: float, price: float, rank: int, files: int, needed: float | None, size: float
) -> str:  # fmt: skip
    where = f"{file} is {'stored' if stored else 'not stored'} at {site}"
    worth = f"a copy there saves {value:,.4g} a day, {density:,.4g} per GB against the site's price of {price:,.4g} per GB (rank {rank:,} of {files:,} files)"
    if needed is None:
        change = "no region that this site serves would take it from there: only demand there, or losing a nearer holder, would change that"
    elif stored and density >= price:
        change = (
            f"it would lose its place if demand fell below {needed:.0%} of the forecast"
            if price > 0
            else "the site has room to spare"
        )
    elif stored:
        change = f"it keeps a place that it does not earn at this price (the plan is proven only to its gap); demand x {needed:.2f} would earn it"
    elif density < price:
        change = (
            f"it would earn its place if demand grew x {needed:.2f}, or if the site had room at {density:,.4g} per GB"
        )
    else:
        change = f"it earns its room but {size:,.4g} GB were not free: the plan is proven only to its gap"
    return f"{where}: {worth}; {change}."
