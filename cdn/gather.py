"""Collect what the report shows from a published plan's folder, or from a plan and its rehearsal."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.documents import read_json
from cdn.nightly import NIGHT
from cdn.plan import Plan, arc_name, read_plan
from cdn.report import ReportData
from cdn.report.data import POLICY_COLUMNS
from cdn.settings import Settings
from cdn.simulation_tables import TOTALS
from cdn.store import PlanStore, Published
from demand.catalogue import Catalogue, read_catalogue
from topology.errors import InputError, Problem
from topology.network import Network, read_network
from topology.tables import index_of

BUSIEST = 6
"""Link directions whose load over the day is drawn."""
LOADS = "arc_gbps"
TABLES = {
    "by_hour": POLICY_COLUMNS,
    "by_site": ("policy", "site", "gb", "hit_gb", "peak_gbps"),
    "by_arc": ("policy", "arc", "link", "gb", "peak_gbps", "p95_gbps", "capacity_gbps"),
    LOADS: ("policy", "arc", "minute", "gbps"),
}
"""The tables of a rehearsal that are shown, and their columns; all but ``policy`` and ``link`` are numbers."""


def gather(folder: Path, settings: Settings) -> ReportData:
    """What the report of the plan in force shows.

    Raises
    ------
    InputError
        If nothing was published yet.
    """
    published = published_plan(folder, settings)
    night = read_json(published.folder / NIGHT)
    network, catalogue = read_network(folder), read_catalogue(folder)
    plan = read_plan(published.folder, network, catalogue)
    rehearsal = published.folder / "rehearsal"
    return _report_data(
        folder, network, catalogue, plan, rehearsal, date=night["date"], summary=night["plan"], backtest=pd.DataFrame(night["forecast"]["backtest"]),
        notes=[str(Problem(**note)) for note in night["forecast"].get("notes", ())],
        policies=night["policies"], decomposition=night["decomposition"], fill=night["fill"],
    )  # fmt: skip


def gather_rehearsal(folder: Path, plan: Path, rehearsal: Path) -> ReportData:
    """What the report of any plan shows whose rehearsal was written to a folder; it knows neither of the forecast nor of the fill.

    Parameters
    ----------
    folder, plan
        The network folder and the plan folder that were rehearsed.
    rehearsal
        What ``simulate -o`` wrote.

    Raises
    ------
    InputError
        No such plan; tables that are not there or broken, or are of another network, another plan or a sample of titles.
    """
    network, catalogue = read_network(folder), read_catalogue(folder)
    made = read_plan(plan, network, catalogue)
    if missing := [name for name in (TOTALS, *(f"{t}.parquet" for t in TABLES)) if not (rehearsal / name).is_file()]:
        raise _unfit(rehearsal, f"no tables of a rehearsal: {missing[0]} is missing")
    totals = _totals(rehearsal / TOTALS)
    if totals.get("plan", made.placement.fingerprint()) != made.placement.fingerprint():
        raise _unfit(rehearsal, "the rehearsal of another plan")
    if totals.get("title_share", 1.0) != 1.0:
        raise _unfit(
            rehearsal,
            "the rehearsal of a sample of titles, whose GB and rates are theirs alone",
            " and all its titles",
        )
    return _report_data(
        folder, network, catalogue, made, rehearsal, date=f"the sessions of {rehearsal.resolve().name}", summary=made.summary,
        policies=totals["policies"], decomposition=totals["decomposition"],
    )  # fmt: skip


def _unfit(path: Path, message: str, but: str = "") -> InputError:
    mend = (
        f"write them with fillplan simulate NETWORK --plan PLAN --policy plan -o FOLDER, for this network and plan{but}"
    )
    return InputError(Problem(table="rehearsal", value=str(path), message=message, mend=mend))


def _totals(path: Path) -> dict[str, Any]:
    try:
        totals = read_json(path)
    except InputError as error:
        raise _unfit(path, error.problems[0].message) from error
    if not (isinstance(totals.get("policies"), dict) and isinstance(totals.get("decomposition"), list)):
        raise _unfit(path, "no figures of policies")
    return totals


def _table(rehearsal: Path, name: str) -> pd.DataFrame:
    """A table of a rehearsal that has the columns which are shown."""
    path = rehearsal / f"{name}.parquet"
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise _unfit(path, f"cannot be read as Parquet ({str(error).partition(chr(10))[0]})") from error
    for column in TABLES[name]:
        if column not in frame:
            raise _unfit(path, f"no column {column}")
        if column not in ("policy", "link") and frame[column].dtype.kind not in "iuf":
            raise _unfit(path, f"column {column} is no number")
    return frame


def _report_data(
    folder: Path, network: Network, catalogue: Catalogue, plan: Plan, rehearsal: Path, *, policies: dict[str, Any], decomposition: list[Any], **more: Any
) -> ReportData:  # fmt: skip
    tables = {name: _table(rehearsal, name) for name in TABLES}
    for name, frame in tables.items():
        if frame.empty and (len(network.links) or name not in ("by_arc", LOADS)):
            raise _unfit(rehearsal / f"{name}.parquet", "the table is empty")
    own = tables["by_arc"].query("policy == 'plan'")
    loads = tables[LOADS].query("policy == 'plan'").drop_duplicates(["arc", "minute"])
    if own["link"].tolist() != np.repeat(network.link_ids, 2).tolist() or loads["arc"].nunique() != len(own):
        raise _unfit(rehearsal, "the tables hold no policy plan on the links of this network")
    links = _links(network, own, plan.prices)
    return ReportData(
        network=folder.resolve().name,
        policies=[{"policy": name, **totals} for name, totals in policies.items()],
        decomposition=[tuple(row) for row in decomposition],
        by_hour=tables["by_hour"],
        links=links,
        link_load=_link_load(links, loads.pivot(index="arc", columns="minute", values="gbps").to_numpy(float)),
        sites=_sites(
            network, catalogue.size_gb, plan.placement.appliance, plan.placement.file, tables["by_site"], plan.prices
        ),
        **more,
    )


def published_plan(folder: Path, settings: Settings) -> Published:
    """The plan in force.

    Raises
    ------
    InputError
        If there is none.
    """
    current = None
    if (folder / "plans").is_dir():
        store = PlanStore(folder / "plans", settings.store.url)
        current = store.current()
        store.close()
    if current is None:
        raise InputError(
            Problem(
                table="plans",
                value=str(folder),
                message="no plan was published yet",
                mend="run 'fillplan nightly NETWORK --for DATE' first",
            )
        )
    return current


def _links(network: Network, by_arc: pd.DataFrame, prices: pd.DataFrame) -> pd.DataFrame:
    """One row a direction: load under the plan, capacity, ends, price."""
    rows = by_arc.reset_index(drop=True)
    arc = rows["arc"].to_numpy()
    towards = network.link_ends[arc // 2, 1 - arc % 2]
    away = network.link_ends[arc // 2, arc % 2]
    lat, lon = network.nodes["lat"].to_numpy(float), network.nodes["lon"].to_numpy(float)
    price = prices[prices["kind"] == "link"].set_index("id")["price"]
    names = [arc_name(network, int(a)) for a in arc]
    return pd.DataFrame(
        {
            "arc": arc, "link": network.link_ids[arc // 2], "towards": network.node_ids[towards], "gb": rows["gb"],
            "peak_gbps": rows["peak_gbps"], "p95_gbps": rows["p95_gbps"], "capacity_gbps": rows["capacity_gbps"],
            "lat": lat[away], "lon": lon[away], "towards_lat": lat[towards], "towards_lon": lon[towards],
            "price": price.reindex(names).to_numpy(float),
        }
    )  # fmt: skip


def _link_load(links: pd.DataFrame, arc_gbps: np.ndarray) -> pd.DataFrame:
    """Five-minute loads of the busiest directions, relative to capacity."""
    use = links["peak_gbps"] / links["capacity_gbps"]
    busiest = links.loc[use.sort_values(ascending=False, kind="stable").index[:BUSIEST]]
    minutes = np.arange(arc_gbps.shape[1]) * (1440 // arc_gbps.shape[1])
    parts = [
        pd.DataFrame(
            {
                "link": row["link"],
                "towards": row["towards"],
                "minute": minutes,
                "gbps": arc_gbps[row["arc"]],
                "capacity_gbps": row["capacity_gbps"],
            }
        )
        for row in busiest.to_dict("records")
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _sites(
    network: Network,
    size_gb: np.ndarray,
    appliance: np.ndarray,
    file: np.ndarray,
    by_site: pd.DataFrame,
    prices: pd.DataFrame,
) -> pd.DataFrame:
    mine = by_site[by_site["policy"] == "plan"].set_index("site").reindex(range(len(network.sites)))
    used = np.bincount(network.appliance_site[appliance], size_gb[file], len(network.sites))
    at = index_of(network.node_ids, network.sites["node"])
    storage, throughput = (
        prices[prices["kind"] == kind].assign(id=lambda t: t["id"].astype(str)).set_index("id")["price"]
        for kind in ("storage", "throughput")
    )
    served = mine["gb"].to_numpy(float)
    edge = ~network.is_origin
    return pd.DataFrame(
        {
            "site": network.site_ids, "kind": network.sites["kind"], "lat": network.nodes["lat"].to_numpy(float)[at],
            "lon": network.nodes["lon"].to_numpy(float)[at], "storage_gb": np.where(edge, network.site_storage_gb, np.nan),
            "used_gb": np.where(edge, used, np.nan), "throughput_gbps": np.where(edge, network.site_throughput_gbps, np.nan),
            "peak_gbps": mine["peak_gbps"].to_numpy(float), "served_gb": served,
            "hit_share": np.divide(mine["hit_gb"].to_numpy(float), served, out=np.zeros(len(served)), where=served > 0),
            "storage_price": storage.reindex(network.site_ids).to_numpy(float), "throughput_price": throughput.reindex(network.site_ids).to_numpy(float),
        }
    )  # fmt: skip
