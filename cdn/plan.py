"""A plan and its folder: tables as the contract has them, written whole or not at all."""

import ctypes
import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.documents import read_json, write_json
from cdn.placement.problem import REACHED, Costs, Prices, Problem, Shares, Solution
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand, read_demand, write_demand
from topology.errors import InputError
from topology.errors import Problem as Wrong
from topology.network import Network
from topology.placement import Placement
from topology.tables import find_table, index_of, load_schema, read_table, write_table

SUMMARY = "summary.json"
AGAIN = "make the plan again for this network"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Which appliance stores which file, for which demand, at what cost.

    Parameters
    ----------
    placement
        The copies.
    assignment
        region, file, site, share: only rows that differ from 'all from the best-ranked holder'.
    prices
        kind, id, price: what one more GB or Gbit/s of a limit would save.
    demand
        What the plan was made for.
    summary
        Cost, bound, gap, method, seconds and the settings used.
    slice_prices
        kind, id, slice, price: of throughput and links in every slice of the day, whose sums ``prices`` has; None where there is one slice.
    """

    placement: Placement
    assignment: pd.DataFrame
    prices: pd.DataFrame
    demand: Demand
    summary: Mapping[str, Any]
    slice_prices: pd.DataFrame | None = None


def make_plan(
    network: Network, catalogue: Catalogue, demand: Demand, problem: Problem, placement: Placement, solution: Solution,
    *, settings: Settings, seconds: float, peak_memory_gb: float,
) -> Plan:  # fmt: skip
    """Put names to a solution."""
    summary = {
        "objective_cost": solution.objective_cost,
        "lower_bound": solution.lower_bound,
        "gap": solution.gap,
        "gap_asked": settings.placement.gap,
        "serving_cost": solution.serving_cost,
        "fill_cost": solution.fill_cost,
        "origin_only_cost": solution.origin_only_cost,
        "method": solution.method,
        "status": solution.status,
        "reason": solution.reason,
        "seconds": seconds,
        "peak_memory_gb": peak_memory_gb,
        "peak_to_mean": settings.demand.peak_to_mean,
        **settings.problem_rules(),
    }
    return Plan(
        placement=placement, assignment=_assignment(network, catalogue, problem, solution.shares),
        prices=_prices(network, solution), demand=demand, summary=summary, slice_prices=_slice_prices(network, solution),
    )  # fmt: skip


def recost(
    network: Network, catalogue: Catalogue, plan: Plan, problem: Problem, placement: Placement, shares: Shares, costs: Costs
) -> Plan:  # fmt: skip
    """The plan with another placement for the same demand: its bound and prices stay true, its costs, gap and status are those given."""
    cost, bound = costs.objective, float(plan.summary["lower_bound"])
    gap, status = (cost - bound) / cost if cost > 0 else 0.0, str(plan.summary.get("status", ""))
    if status.startswith(REACHED) and gap > plan.summary.get("gap_asked", gap):
        status = f"{REACHED} before fill windows cut the plan"
    changed = {
        "objective_cost": cost, "serving_cost": costs.serving, "fill_cost": costs.fill, "gap": gap, "status": status,
    }  # fmt: skip
    return dataclasses.replace(
        plan,
        placement=placement,
        assignment=_assignment(network, catalogue, problem, shares),
        summary={**plan.summary, **changed},
    )


def _assignment(network: Network, catalogue: Catalogue, problem: Problem, shares: Shares) -> pd.DataFrame:
    """The contract's assignment table."""
    region = problem.region[shares.row]
    return pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(region, categories=network.region_ids),
            "file": pd.Categorical.from_codes(problem.file[shares.row], categories=catalogue.file_ids),
            "site": pd.Categorical.from_codes(problem.site[region, shares.candidate], categories=network.site_ids),
            "share": shares.share,
        }
    )


def placement_frame(placement: Placement, network: Network, catalogue: Catalogue) -> pd.DataFrame:
    """The contract's placement table."""
    return pd.DataFrame(
        {
            "appliance": pd.Categorical.from_codes(placement.appliance, categories=network.appliance_ids),
            "site": pd.Categorical.from_codes(network.appliance_site[placement.appliance], categories=network.site_ids),
            "file": pd.Categorical.from_codes(placement.file, categories=catalogue.file_ids),
        }
    )


def write_plan(
    plan: Plan, network: Network, catalogue: Catalogue, folder: Path,
    *, fills: pd.DataFrame | None = None, evictions: pd.DataFrame | None = None, manifests: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write a plan folder beside its place, then rename it there: a reader sees the old one or the new one, whole.

    Parameters
    ----------
    fills, evictions
        The contract's tables; absent ones are left out.
    manifests
        File name -> text, written under ``manifests/``.

    Raises
    ------
    InputError
        If the folder exists and is not a plan.
    """
    refuse_foreign(folder)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        tables = {
            "placement": placement_frame(plan.placement, network, catalogue),
            "assignment": plan.assignment,
            "prices": plan.prices,
            "slice_prices": plan.slice_prices,
        }
        for name, frame in {**tables, "fills": fills, "evictions": evictions}.items():
            if frame is not None:
                write_table(frame, draft / f"{name}.parquet")
        write_demand(plan.demand, network.region_ids, catalogue.file_ids, draft / "demand.parquet")
        for name, text in (manifests or {}).items():
            (draft / "manifests").mkdir(exist_ok=True)
            (draft / "manifests" / name).write_text(text, "utf-8")
        write_json(plan.summary, draft / SUMMARY)
        replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_foreign(folder: Path) -> None:
    """Raise InputError if something is there that is no plan."""
    if folder.exists() and not (folder / SUMMARY).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            Wrong(
                table="arguments",
                value=str(folder),
                message="exists and is not a plan folder",
                mend="give another place for the plan",
            )
        )


def replace_folder(draft: Path, folder: Path) -> None:
    """Put ``draft`` in the place of ``folder`` and remove what was there.

    On Linux the two are exchanged in one step, so that at every moment one of them is there whole. Elsewhere, and on file systems that cannot
    exchange, there is an instant between two renames in which neither is.
    """
    if not folder.exists():
        draft.rename(folder)
    elif _exchange(draft, folder):
        shutil.rmtree(draft, ignore_errors=True)
    else:
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(aside)
        draft.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths by ``renameat2``; False where that cannot be done."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def read_plan(folder: Path, network: Network, catalogue: Catalogue) -> Plan:
    """Read and validate a plan folder.

    Raises
    ------
    InputError
        If it is no plan, or names an appliance, site, region or file that is gone, or an appliance at another site than its own.
    """
    _check_folder(folder)
    problems: list[Wrong] = []
    known = {
        "appliances": network.appliance_ids, "sites": network.site_ids, "regions": network.region_ids, "files": catalogue.file_ids,
    }  # fmt: skip
    frames: dict[str, pd.DataFrame | None] = {}
    for name in ("placement", "assignment", "prices", "slice_prices"):
        path = find_table(folder, name)
        if path is None and name == "slice_prices":
            continue
        if path is None:
            problems.append(Wrong(table=name, message=f"{folder} has no {name} table", mend="make the plan again"))
            continue
        frames[name] = read_table(
            path, load_schema("cdn", name), problems, known=known, categorical=True, may_be_empty=True
        )
    if problems:
        raise InputError(_each_once(problems))
    placement, assignment, prices = frames["placement"], frames["assignment"], frames["prices"]
    assert placement is not None and assignment is not None and prices is not None
    _refuse_moved(network, placement)
    path = find_table(folder, "demand") or folder / "demand.parquet"
    return Plan(
        placement=Placement.of(index_of(network.appliance_ids, placement["appliance"]), index_of(catalogue.file_ids, placement["file"])),
        assignment=assignment, prices=prices, demand=read_demand(path, network.region_ids, catalogue.file_ids),
        summary=read_json(folder / SUMMARY), slice_prices=frames.get("slice_prices"),
    )  # fmt: skip


def _refuse_moved(network: Network, placement: pd.DataFrame) -> None:
    """Raise InputError for copies on an appliance that is not at the site they name."""
    appliance = index_of(network.appliance_ids, placement["appliance"])
    own = network.appliance_site[appliance]
    moved = np.flatnonzero(index_of(network.site_ids, placement["site"]) != own)
    if not len(moved):
        return
    row = int(moved[0])
    others = f" (and {len(moved) - 1} more rows)" if len(moved) > 1 else ""
    message = f"appliance {network.appliance_ids[appliance[row]]!r} is at site {network.site_ids[own[row]]!r}{others}"
    value = str(placement["site"].iloc[row])
    raise InputError(Wrong(table="placement", row=row + 1, column="site", value=value, message=message, mend=AGAIN))


def refuse_overfull(network: Network, used: np.ndarray, room: np.ndarray, over: np.ndarray) -> None:
    """Raise InputError if a placement takes more of an appliance than it has: (A,) GB each of what it takes, what there is, and what is too much of it."""
    full = np.flatnonzero(over > 0)
    if not len(full):
        return
    worst = full[np.argmax(over[full])]
    others = f"; {len(full) - 1} more appliances hold too much, this one the most" if len(full) > 1 else ""
    message = f"its files take {used[worst]:,.6g} GB of {room[worst]:,.6g} GB{others}"
    name = str(network.appliance_ids[worst])
    raise InputError(Wrong(table="placement", column="appliance", value=name, message=message, mend=AGAIN))


def _each_once(problems: Sequence[Wrong]) -> list[Wrong]:
    """Name what is gone from the network once, not in every row; a plan is not mended by hand."""
    first = {(p.table, p.column, p.value, p.message.partition(" (and ")[0]): p for p in reversed(problems)}
    return [
        replace(p, mend=f"{AGAIN}, or use the network it was made for") if p.message.startswith("unknown id") else p
        for p in reversed(first.values())
    ]


def read_placement(folder: Path, network: Network, catalogue: Catalogue, *, own: bool = False) -> Placement:
    """The copies of an earlier plan that still mean something: appliances and files that are gone do not count.

    Parameters
    ----------
    own
        Whether to refuse the plan of another network: one that names no appliance of this one, or no file.

    Raises
    ------
    InputError
        If the folder is no plan, and no record of what lay there before one (a placement table by itself).
    """
    path = find_table(folder, "placement")
    if path is None:
        _check_folder(folder)
        path = folder / "placement.parquet"
    problems: list[Wrong] = []
    frame = read_table(path, load_schema("cdn", "placement"), problems, categorical=True, may_be_empty=True)
    if problems or frame is None:
        raise InputError(problems)
    appliance, file = index_of(network.appliance_ids, frame["appliance"]), index_of(catalogue.file_ids, frame["file"])
    there = (appliance >= 0) & (file >= 0)
    if own and len(there) and not there.any():
        message = "names no copy that this network could hold"
        mend = "give an earlier plan of this network, or none"
        raise InputError(Wrong(table="placement", value=str(folder), message=message, mend=mend))
    return Placement.of(appliance[there], file[there])


def read_prices(folder: Path, network: Network) -> Prices:
    """The prices of a plan folder, zero for limits it does not price.

    Raises
    ------
    InputError
        If it is no plan, or its prices are wrong.
    """
    _check_folder(folder)
    problems: list[Wrong] = []
    path, sliced = find_table(folder, "prices"), find_table(folder, "slice_prices")
    frame = None if path is None else read_table(path, load_schema("cdn", "prices"), problems, may_be_empty=True)
    by_slice = (
        None if sliced is None else read_table(sliced, load_schema("cdn", "slice_prices"), problems, may_be_empty=True)
    )
    if problems or frame is None:
        raise InputError(
            problems or Wrong(table="prices", message=f"{folder} has no prices table", mend="make the plan again")
        )
    return prices_of(network, frame, by_slice, int(read_json(folder / SUMMARY).get("peak_slices", 1)))


def prices_of(
    network: Network, prices: pd.DataFrame, slice_prices: pd.DataFrame | None = None, slices: int = 1
) -> Prices:
    """The prices of a plan's tables, made for so many slices of the day, as arrays; zero for limits they do not price."""

    def of(frame: pd.DataFrame, kind: str, ids: pd.Index) -> np.ndarray:
        own = frame[frame["kind"] == kind].drop_duplicates("id").set_index("id")["price"]
        return own.reindex(ids).fillna(0.0).to_numpy(float)

    def rates(frame: pd.DataFrame) -> np.ndarray:
        return np.concatenate([of(frame, "throughput", network.site_ids), of(frame, "link", arcs)])

    arcs, by_slice = pd.Index([arc_name(network, a) for a in range(2 * len(network.links))]), None
    if slice_prices is not None:
        by_slice = np.stack([rates(slice_prices[slice_prices["slice"] == t]) for t in range(slices)])
    return Prices(
        storage=of(prices, "storage", network.site_ids), throughput=of(prices, "throughput", network.site_ids), arc=of(prices, "link", arcs),
        fill=of(prices, "fill", network.site_ids), by_slice=by_slice,
    )  # fmt: skip


def arc_name(network: Network, arc: int) -> str:
    """``LINK>NODE``: the direction of a link towards a node."""
    towards = network.link_ends[arc // 2, 1 - arc % 2]
    return f"{network.link_ids[arc // 2]}>{network.node_ids[towards]}"


def _prices(network: Network, solution: Solution) -> pd.DataFrame:
    edge = np.flatnonzero(~network.is_origin).tolist()
    rows = [("storage", network.site_ids[s], solution.prices.storage[s]) for s in edge]
    rows += [("throughput", network.site_ids[s], solution.prices.throughput[s]) for s in edge]
    if solution.prices.arc is not None:
        rows += [("link", arc_name(network, a), price) for a, price in enumerate(solution.prices.arc)]
    if solution.prices.fill is not None:
        rows += [("fill", network.site_ids[s], solution.prices.fill[s]) for s in edge]
    frame = pd.DataFrame(rows, columns=["kind", "id", "price"])
    return frame.astype({"price": float})


def _slice_prices(network: Network, solution: Solution) -> pd.DataFrame | None:
    """The rates' prices of every slice of the day, where there are several: kind, id, slice, price."""
    by_slice = solution.prices.by_slice
    if by_slice is None:
        return None
    S = len(network.sites)
    t, at = np.nonzero(by_slice)
    names = np.array([*network.site_ids, *(arc_name(network, a) for a in range(by_slice.shape[1] - S))], object)
    return pd.DataFrame(
        {"kind": np.where(at < S, "throughput", "link"), "id": names[at], "slice": t, "price": by_slice[t, at]}
    )


def _check_folder(folder: Path) -> None:
    if not (folder / SUMMARY).is_file():
        raise InputError(
            Wrong(
                table="plan",
                value=str(folder),
                message="not a plan folder (no summary.json)",
                mend="give a folder written by 'fillplan place'",
            )
        )
