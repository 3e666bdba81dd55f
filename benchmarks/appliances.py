"""How evenly appliances share a site's peak, and how little moves: ``python -m benchmarks.appliances [NETWORK…] [--data DIR] [--json FILE]``.

Real sites: the sample network and the two real nights (made by the commands that a user types), or the network folders given, planned for two days in a row from what
was asked for on them, the second with what lies there; *afresh*: the same second plan, put on appliances as if nothing did. Their sites have one to three appliances; so every plan is put into sites of the same totals with 2 to 12 unlike appliances as well. Synthetic
sites: 2 to 30 appliances of storage and flash kinds, 1,000 files an appliance whose peaks follow a power law, storage full or half full.

*Over*: the greatest load over throughput of an appliance, over the least possible (:func:`cdn.balance.least_peak`, a lower bound), less 1; demand is split over copies as
evenly as they allow. *Whole*: the worst, where sites of few files that are not near that bound are held to HiGHS's bound of whole files instead.
*Moved*: copies that an appliance must take in when one of the site joins or leaves, over all copies; *ideal*: those that any scheme must move, the newcomer's own or the
ones that were on the leaver.
"""

import argparse
import dataclasses
import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from benchmarks.nights import COMMAND, DATA, DAY, NIGHTS
from cdn.balance import Site, fit, least_peak, spread_peak
from cdn.cluster import chances, hash_names, into_appliances
from cdn.placement.build import build_problem
from cdn.placement.problem import Problem, Solution, served_peak
from cdn.placement.solve import solve
from demand.catalogue import Catalogue, read_catalogue
from demand.playback import actual_demand, playback_dates
from topology.network import Network, read_network
from topology.placement import Placement

KINDS = ((200_000.0, 36.0), (100_000.0, 18.0), (24_000.0, 100.0))
"""GB and Gbit/s of appliances for storage (large, small) and of flash: the orders of magnitude that Netflix has told of its own."""

COARSE = 4_000
"""Pairs of a file and an appliance up to which HiGHS is asked for a bound of whole files."""

ORACLE_SECONDS = 60.0

ENOUGH = 0.03
"""How near the bound of cut files a site need be for that not to be asked."""

FILES = 1_000
"""Files of a synthetic site, for each appliance; published ones hold tens of thousands."""


def make_networks(folder: Path, data: Path) -> list[Path]:
    """The sample network and the two real ones, made in a folder."""

    def call(*arguments: str) -> None:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"fillplan {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")

    call("new", str(folder / "sample"), "--seed", "1")
    made = [folder / "sample"]
    for night in NIGHTS if data.is_dir() else ():
        network, (kind, source) = str(folder / night.name), night.topology
        call("import", kind, str(data / source), network, "--sites", str(night.sites), "--seed", "0")
        where = ["--country", night.country] if night.country else []
        call(
            "import",
            "netflix",
            str(data),
            network,
            "--week",
            DAY,
            "--weeks",
            "1",
            "--titles",
            "1500",
            "--sessions-per-day",
            "200000",
            "--seed",
            "0",
            *where,
        )
        made.append(Path(network))
    if len(made) == 1:
        print(f"{data} is not there: only the sample network is measured", file=sys.stderr)
    return made


def with_more_appliances(network: Network, rng: np.random.Generator) -> Network:
    """The network with 2 to 12 appliances of unlike kinds at every edge site, of the same totals."""
    rows: list[dict[str, Any]] = []
    for s in np.flatnonzero(~network.is_origin).tolist():
        kinds = rng.integers(0, len(KINDS), rng.integers(2, 13))
        gb, gbps = np.array(KINDS)[kinds].T
        gb, gbps = gb / gb.sum() * network.site_storage_gb[s], gbps / gbps.sum() * network.site_throughput_gbps[s]
        name = str(network.site_ids[s])
        rows += [
            {"appliance": f"{name}+{i}", "site": name, "model": f"kind-{kind}", "storage_gb": float(gb[i]), "throughput_gbps": float(gbps[i])}
            for i, kind in enumerate(kinds)
        ]  # fmt: skip
    table = pd.DataFrame(rows).assign(fill_gbps=1.0, fill_start="02:00", fill_hours=12.0)
    site = network.site_ids.get_indexer(table["site"]).astype(np.int32)
    return dataclasses.replace(
        network, appliances=table, appliance_site=site, appliance_ids=pd.Index(table["appliance"])
    )


def judge(network: Network, problem: Problem, placement: Placement, solution: Solution) -> list[dict[str, float]]:
    """A row for every edge site of several appliances: how even, how many copies, how much of the room they take."""
    peak, rows = np.zeros(solution.stored.shape), []
    peak[solution.stored] = served_peak(problem, solution.stored, solution.shares)
    gb, gbps = (network.appliances[name].to_numpy(float) for name in ("storage_gb", "throughput_gbps"))
    for s in np.flatnonzero(~network.is_origin).tolist():
        own = np.flatnonzero(network.appliance_site == s)
        files = np.flatnonzero(solution.stored[s])
        if len(own) < 2 or not len(files):
            continue
        held = np.zeros((len(own), problem.files), bool)
        here = np.isin(placement.appliance, own)
        held[np.searchsorted(own, placement.appliance[here]), placement.file[here]] = True
        site = Site(
            storage_gb=gb[own], throughput_gbps=gbps[own], size_gb=problem.size_gb[files], peak_gbps=peak[s, files],
            chance=np.ones((len(files), len(own))),
        )  # fmt: skip
        rows.append(_row(site, held[:, files].T))
    return rows


def _row(site: Site, where: np.ndarray) -> dict[str, float]:
    load = spread_peak(where, site.peak_gbps, site.throughput_gbps)
    stored = site.of(np.flatnonzero(where.any(axis=1)))
    bound = least_peak(stored)
    copies = where.sum(axis=1)
    extra = float(np.maximum(copies - 1, 0) @ site.size_gb)
    over = float((load / site.throughput_gbps).max() / bound - 1) if bound > 0 else 0.0
    coarse = over > ENOUGH and stored.chance.size <= COARSE
    return {
        "over_whole": (1 + over) * bound / integer_bound(stored, ORACLE_SECONDS) - 1 if coarse else over,
        "appliances": len(site.storage_gb), "files": int((copies > 0).sum()), "bound": bound, "load": float((load / site.throughput_gbps).max()),
        "over": over, "copied_files": int((copies > 1).sum()),
        "copies": int(np.maximum(copies - 1, 0).sum()), "copies_room": extra / float(site.storage_gb.sum()),
        "used": float(copies @ site.size_gb) / float(site.storage_gb.sum()),
    }  # fmt: skip


def integer_bound(site: Site, time_limit: float) -> float:
    """A bound on :func:`cdn.balance.least_peak`'s question where files are whole, by HiGHS: that of the mixed-integer program when time is up.

    Variables are y[f, a], whether a copy lies there, x[f, a] <= y[f, a], the part of the file's peak that it serves, and the greatest load over throughput z.
    """
    F, A = site.chance.shape
    n = F * A
    pair, file, appliance = np.arange(n), np.repeat(np.arange(F), A), np.tile(np.arange(A), F)
    row = [file, F + pair, F + pair, F + n + appliance, F + n + A + appliance, F + n + A + np.arange(A)]
    column = [n + pair, n + pair, pair, pair, n + pair, np.full(A, 2 * n)]
    value = [np.ones(n), np.ones(n), -np.ones(n), site.size_gb[file], site.peak_gbps[file], -site.throughput_gbps]
    matrix = csr_array(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(column))), shape=(F + n + 2 * A, 2 * n + 1)
    )
    cost = np.append(np.zeros(2 * n), 1.0)
    low = np.concatenate([np.ones(F), np.full(n + 2 * A, -np.inf)])
    high = np.concatenate([np.ones(F), np.zeros(n), site.storage_gb * (1 + 1e-9), np.zeros(A)])
    found = milp(
        cost, integrality=np.concatenate([np.ones(n), np.zeros(n + 1)]), bounds=Bounds(0, np.append(np.ones(2 * n), np.inf)),
        constraints=LinearConstraint(matrix, low, high), options={"time_limit": time_limit, "mip_rel_gap": 1e-3},
    )  # fmt: skip
    return max(least_peak(site), found.mip_dual_bound or 0.0)


def measure_network(folder: Path, seed: int) -> dict[str, Any]:
    """Plan two days in a row and put them into the appliances as they are, and into more."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    yesterday, today = playback_dates(folder)[-2:]
    first = _plan(folder, network, catalogue, yesterday)
    found: dict[str, Any] = {"network": folder.name}
    for name, fleet in (
        ("as grown", network),
        ("2 to 12 appliances", with_more_appliances(network, np.random.default_rng(seed))),
    ):
        held, _ = into_appliances(fleet, *first, catalogue.file_ids)
        problem, solution = _plan(folder, network, catalogue, today, held.stored(fleet, len(catalogue.files)))
        placement, final = into_appliances(fleet, problem, solution, catalogue.file_ids, held)
        afresh, _ = into_appliances(fleet, problem, solution, catalogue.file_ids)
        found[name] = {
            "sites": judge(fleet, problem, placement, final),
            "dropped": int((solution.stored & ~final.stored).sum()),
            "stored": int(solution.stored[~network.is_origin].sum()),
            "cost_more": final.objective_cost / solution.objective_cost - 1,
            "gap": solution.gap,
            "gap_finally": final.gap,
            "nightly_moved": _moved_at_night(fleet, problem.files, held, placement),
            "nightly_moved_afresh": _moved_at_night(fleet, problem.files, held, afresh),
        }
    return found


def _plan(
    folder: Path, network: Network, catalogue: Catalogue, day: dt.date, previous: np.ndarray | None = None
) -> tuple[Problem, Solution]:
    demand = actual_demand(folder, day, network.region_ids, catalogue)
    problem = build_problem(network, catalogue, demand, previous=previous)
    return problem, solve(problem, method="lagrangian", time_limit=30.0, gap=5e-3, workers=1)


def _moved_at_night(network: Network, files: int, before: Placement, now: Placement) -> float:
    """Of the files that a site stores on both days, the share that an appliance must take in anew."""
    both = before.stored(network, files) & now.stored(network, files)
    kept = both[network.appliance_site[now.appliance], now.file]
    key = now.appliance[kept].astype(np.int64) * files + now.file[kept]
    old = before.appliance.astype(np.int64) * files + before.file
    return 1.0 - float(np.isin(key, old).mean())


def synthetic_site(rng: np.random.Generator, appliances: int, fill: float) -> tuple[Site, np.ndarray]:
    """A site of unlike appliances, files that fill a part of its room, and what each is worth per GB: what is asked of it."""
    gb, gbps = np.array(KINDS)[rng.integers(0, len(KINDS), appliances)].T
    files = FILES * appliances
    size = rng.lognormal(0.0, 0.8, files)
    size *= fill * gb.sum() / size.sum()
    peak = np.arange(1, files + 1) ** -0.9 * rng.lognormal(0.0, 0.3, files)
    peak *= 0.8 * gbps.sum() / peak.sum()
    names = (
        hash_names(pd.Index([f"appliance-{rng.integers(1 << 40)}" for _ in gb])),
        hash_names(pd.Index([f"file-{i}" for i in range(files)])),
    )
    return Site(storage_gb=gb, throughput_gbps=gbps, size_gb=size, peak_gbps=peak, chance=chances(*names)), peak / size


def measure_synthetic(appliances: int, fill: float, seed: int) -> dict[str, float]:
    """A site, then the same when the last appliance leaves; read backwards, when it joins."""
    site, worth = synthetic_site(np.random.default_rng(seed), appliances, fill)
    where = fit(site, worth)
    row = _row(site, where)
    small = dataclasses.replace(
        site, storage_gb=site.storage_gb[:-1], throughput_gbps=site.throughput_gbps[:-1], chance=site.chance[:, :-1]
    )
    without = fit(small, worth)
    stays = without.any(axis=1)  # files that find room without the last appliance, too
    common = site.of(np.flatnonzero(stays))
    whole = fit(common, worth[stays])
    less = fit(small.of(np.flatnonzero(stays)), worth[stays])
    padded = np.column_stack([less, np.zeros(len(less), bool)])
    joined = whole & ~padded
    return {
        **row, "dropped": int((~where.any(axis=1)).sum()),
        "join_moved": float(joined.sum() / whole.sum()), "join_ideal": float(whole[:, -1].sum() / whole.sum()),
        "leave_moved": float((less & ~whole[:, :-1]).sum() / less.sum()),
        "leave_ideal": float((whole[:, -1] & ~whole[:, :-1].any(axis=1)).sum() / less.sum()),
    }  # fmt: skip


def lines(networks: list[dict[str, Any]], synthetic: list[dict[str, float]]) -> list[str]:
    """Everything as tables for people."""
    table = [f"{'network, appliances':34} {'sites':>5} {'over: median':>12} {'worst':>7} {'whole':>7} {'copies':>7} {'room':>7} {'dropped':>8} {'cost':>8} {'gap before, after':>19} {'anew next night':>16} {'afresh':>7}"]  # fmt: skip
    for found in networks:
        for name in ("as grown", "2 to 12 appliances"):
            part, sites = found[name], pd.DataFrame(found[name]["sites"])
            if sites.empty:
                continue
            table.append(
                f"{found['network'] + ', ' + name:34} {len(sites):5} {sites['over'].median():12.2%} {sites['over'].max():7.2%} {sites['over_whole'].max():7.2%} {sites['copies'].sum():7,.0f} "
                f"{sites['copies_room'].max():7.2%} {part['dropped']:8,} {part['cost_more']:8.3%} {part['gap']:9.2%} {part['gap_finally']:9.2%} {part['nightly_moved']:16.2%} {part['nightly_moved_afresh']:7.2%}"
            )  # fmt: skip
    table.append(f"\n{'appliances':>10} {'full':>5} {'over: median':>12} {'worst':>7} {'copies':>7} {'room':>7} {'joins: moved':>13} {'ideal':>7} {'leaves: moved':>14} {'ideal':>7} {'dropped':>8}")  # fmt: skip
    for (appliances, fill), rows in pd.DataFrame(synthetic).groupby(["appliances", "fill"]):
        mean = rows.mean()
        table.append(
            f"{appliances:10} {fill:5.2f} {rows['over'].median():12.2%} {rows['over'].max():7.2%} {mean['copies']:7.0f} {mean['copies_room']:7.2%} {mean['join_moved']:13.2%} "
            f"{mean['join_ideal']:7.2%} {mean['leave_moved']:14.2%} {mean['leave_ideal']:7.2%} {mean['dropped']:8.1f}"
        )  # fmt: skip
    return table


def main() -> None:
    """Print the tables, and write all rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "networks",
        nargs="*",
        type=Path,
        metavar="NETWORK",
        help="network folders; default: the sample and the two real nights",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the published files")
    parser.add_argument("--json", type=Path, help="write every row to this file")
    parser.add_argument("--seeds", type=int, default=3, help="synthetic sites of each kind")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        networks = [measure_network(folder, 0) for folder in args.networks or make_networks(Path(scratch), args.data)]
    synthetic = [
        {**measure_synthetic(appliances, fill, seed), "fill": fill}
        for appliances in (2, 3, 5, 10, 20, 30)
        for fill in (0.5, 0.98, 1.0)
        for seed in range(args.seeds)
    ]
    print("\n".join(lines(networks, synthetic)))
    if args.json:
        args.json.write_text(json.dumps({"networks": networks, "synthetic": synthetic}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
