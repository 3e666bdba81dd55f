"""Both engines of the simulator on one scenario: ``python -m benchmarks.simulator [--sessions N | --scale N … | --log N … | --grow AxF …] [--json]``.

100 appliances on 50 sites, 20,000 files, 50 regions that each know 10 edge sites and an origin, seven days, a tick every hour, 20 failures with their
repairs, 700 fills. Everything is timed in this process, by the processor's clock, medians over rounds that take the variants in turn:

- kernel: sessions ready in memory (40 bytes each), through the batch engine;
- end to end: sessions drawn hour by hour and simulated as they come, the control events, the tables;
- LRU: a fifth of every site's storage as a cache beside the plan (``lru_factor``; ``end_to_end_lru_factor`` with the sessions drawn and loads of links), or
  the caches and no plan (``lru_alone_factor``);
- SimPy: the reference on the first sessions of the same seven days, which the batch engine then repeats: every number of every table must be the same.
"""

import argparse
import dataclasses
import datetime as dt
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demand.catalogue import Catalogue, build_catalogue
from demand.demand import Demand, build_demand
from demand.laws import LognormalWatching
from sim import batch, reference
from sim.draw import draw_parts, draw_sessions, mean_session_gb
from sim.fleet import BYTES_PER_GB, Fleet, build_fleet
from sim.metrics import SimulationResult
from sim.scheme import Fills, Outage, Scheme
from sim.sessions import COLUMNS, DAY_MS, PlaybackDay, Sessions
from topology.network import Network, build_network
from topology.placement import Placement
from topology.routing import region_paths, site_trees, steering_routes

NODES, EDGE_SITES, ORIGINS, REGIONS, CANDIDATES, DAYS = 50, 50, 2, 50, 10, 7
DATE = dt.date(2026, 1, 5)
WATCHING = LognormalWatching(log_mean=float(np.log(45)) - 0.9**2 / 2, log_sd=0.9)
"""45 minutes in the mean, if the file does not end first."""
SESSIONS = 10_000_000
FEW, HARDLY_ANY = 1_000_000, 1_000
FAILURES, FILLS = 20, 700
PEAK_LOAD = 0.95
"""Load of all appliances together in the busiest hour: some are full, some are not."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """What is simulated."""

    network: Network
    catalogue: Catalogue
    demand: Demand
    fleet: Fleet
    scheme: Scheme
    fills: Fills
    outages: list[Outage]


def build_scenario(
    sessions: int, files: int = 20_000, appliances: int = 100, seed: int = 1, peak_load: float = PEAK_LOAD
) -> Scenario:
    """A national fleet whose throughput suits the number of sessions, so that as many sites are full whatever that number is."""
    rng = np.random.default_rng(seed)
    catalogue = _catalogue(rng, files)
    demand, peak_gbps = _demand(rng, catalogue, sessions)
    network = _network(rng, appliances, peak_gbps / peak_load / appliances)
    trees = site_trees(network)
    routes = steering_routes(network, trees, candidates=CANDIDATES)
    fleet = build_fleet(network, catalogue, trees, routes, region_paths(network, trees, routes))
    placement = _placement(rng, fleet, np.bincount(demand.file, demand.gb, files))
    fills = _fills(rng, fleet, placement)
    outages = [
        Outage(appliance=int(a), from_ms=int(begin), to_ms=int(begin) + 6 * 3_600_000)
        for a, begin in zip(
            rng.integers(0, appliances, FAILURES), rng.integers(0, DAYS * DAY_MS, FAILURES), strict=True
        )
    ]
    scheme = Scheme(label="plan", placement=placement)
    return Scenario(
        network=network, catalogue=catalogue, demand=demand, fleet=fleet, scheme=scheme, fills=fills, outages=outages
    )


def _catalogue(rng: np.random.Generator, files: int) -> Catalogue:
    names = [f"t{i}" for i in range(files)]
    rate = rng.choice([1500.0, 3000.0, 5800.0, 8000.0], files)
    minutes = rng.uniform(25, 130, files)
    table = {
        "file": names,
        "title": names,
        "profile": "h264",
        "bitrate_kbps": rate,
        "size_gb": rate * minutes * 60 / 8e6,
    }
    return build_catalogue(pd.DataFrame({"title": names}), pd.DataFrame(table))


def _demand(rng: np.random.Generator, catalogue: Catalogue, sessions: int) -> tuple[Demand, float]:
    """Zipf 0.9 with a taste of each region's own; and the rate of all sessions in the busiest hour, in Gbit/s."""
    files = len(catalogue.files)
    weight = rng.permutation(np.arange(1, files + 1) ** -0.9) * rng.lognormal(0, 0.5, (REGIONS, files))
    weight *= rng.dirichlet(np.full(REGIONS, 3.0))[:, None] / weight.sum(axis=1, keepdims=True)
    gb = weight * sessions / DAYS * mean_session_gb(catalogue, WATCHING)
    region, file = np.divmod(np.arange(gb.size), files)
    return build_demand(region, file, gb.ravel()), float(gb.sum()) * 8 / 86400 * 1.6


def _network(rng: np.random.Generator, appliances: int, gbps: float) -> Network:
    ring = [(i, (i + 1) % NODES) for i in range(NODES)]
    chords = {(min(a, b), max(a, b)) for a, b in rng.integers(0, NODES, (60, 2)).tolist() if abs(a - b) > 1}
    ends = [*ring, *sorted(chords - set(ring) - {(0, NODES - 1)})]
    links = pd.DataFrame(
        {
            "link": [f"l{i}" for i in range(len(ends))],
            "source": [f"n{a}" for a, _ in ends],
            "target": [f"n{b}" for _, b in ends],
            "capacity_gbps": 400.0,
            "length_km": rng.uniform(20, 400, len(ends)),
            "cost_per_gb": rng.uniform(0.5, 2, len(ends)),
        }
    )
    zones = ["Etc/GMT+5", "Etc/GMT+4", "Etc/GMT+3", "UTC", "Etc/GMT-1"]
    site_of = np.arange(appliances) % EDGE_SITES
    tables = {
        "nodes": pd.DataFrame({"node": [f"n{i}" for i in range(NODES)], "lat": 0.0, "lon": np.arange(NODES) * 1.0}),
        "links": links,
        "regions": pd.DataFrame(
            {
                "region": [f"r{i}" for i in range(REGIONS)],
                "node": [f"n{i % NODES}" for i in range(REGIONS)],
                "timezone": [zones[i % len(zones)] for i in range(REGIONS)],
                "subscribers": 1000.0,
            }
        ),
        "sites": pd.DataFrame(
            {
                "site": [f"s{i}" for i in range(EDGE_SITES + ORIGINS)],
                "node": [f"n{i % NODES}" for i in range(EDGE_SITES)] + [f"n{i * 25}" for i in range(ORIGINS)],
                "kind": ["embedded"] * EDGE_SITES + ["origin"] * ORIGINS,
            }
        ),
        "appliances": pd.DataFrame(
            {
                "appliance": [f"a{i}" for i in range(appliances)],
                "site": [f"s{s}" for s in site_of],
                "model": "m",
                "storage_gb": 10_000.0,
                "throughput_gbps": gbps,
                "fill_gbps": 1.0,
                "fill_start": "02:00",
                "fill_hours": 12.0,
            }
        ),
        "steering": None,
    }
    return build_network(tables)


def _placement(rng: np.random.Generator, fleet: Fleet, gb: np.ndarray) -> Placement:
    """The 300 files most asked for at every site and a sixth of the rest by chance; an eighth of the copies on a second appliance too."""
    files, copies = fleet.files, []
    common = np.zeros(files, bool)
    common[np.argsort(-gb)[:300]] = True
    for site in np.flatnonzero(~fleet.is_origin):
        own = np.flatnonzero(common | (rng.random(files) < 1 / 6))
        appliances = np.flatnonzero(fleet.appliance_site == site)
        first = rng.integers(0, len(appliances), len(own))
        twice = rng.random(len(own)) < 0.125 if len(appliances) > 1 else np.zeros(len(own), bool)
        copies.append((appliances[first], own))
        copies.append((appliances[(first[twice] + 1) % len(appliances)], own[twice]))
    appliance, file = (np.concatenate(column) for column in zip(*copies, strict=True))
    return Placement.of(appliance, file)


def _fills(rng: np.random.Generator, fleet: Fleet, placement: Placement) -> Fills:
    """A hundred copies a night, each from another holder's appliance or an origin, an hour long, at a fifth of an appliance's throughput."""
    chosen = rng.choice(len(placement.file), FILLS, replace=False)
    begin = np.repeat(np.arange(DAYS), FILLS // DAYS) * DAY_MS + rng.integers(2 * 3_600_000, 13 * 3_600_000, FILLS)
    from_origin = rng.random(FILLS) < 0.3
    source = np.where(from_origin, -1 - (fleet.sites - 1), rng.integers(0, fleet.appliances, FILLS))
    rate = int(fleet.appliance_throughput_bps[0]) // 5
    return Fills(
        appliance=placement.appliance[chosen].astype(np.int64),
        file=placement.file[chosen].astype(np.int64),
        source=source,
        start_ms=begin,
        end_ms=begin + 3_600_000,
        bytes=np.full(FILLS, rate * 3600 // 8),
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and what came of them."""
    began = time.process_time()
    value = work()
    return time.process_time() - began, value


def same(one: SimulationResult, two: SimulationResult) -> bool:
    """Whether two results agree on every number of every table."""
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("tally", "ledger", "log")]
    whole = all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for a, b in pairs for f in dataclasses.fields(a))
    tables = all(
        getattr(one, name).equals(getattr(two, name)) for name in ("by_hour", "by_site", "by_site_hour", "by_arc")
    )
    return whole and tables and one.figures == two.figures and np.array_equal(one.arc_gbps, two.arc_gbps)


def every_nth(sessions: Sessions, count: int) -> Sessions:
    """A thinned week of about ``count`` sessions, spread over all of it."""
    return sessions[:: max(len(sessions) // count, 1)]


def compare_engines(sessions: int, slice_: int, repeats: int, seed: int) -> dict[str, Any]:
    """All figures of one run."""
    scenario = build_scenario(sessions)
    rng = np.random.default_rng(seed)
    drawing = {"date": DATE, "days": DAYS, "watching": WATCHING}
    draw_arguments = (scenario.demand, scenario.network, scenario.catalogue)
    ready = draw_sessions(*draw_arguments, rng, **drawing)  # type: ignore[arg-type]
    fleet, scheme, fills, outages = scenario.fleet, scenario.scheme, scenario.fills, scenario.outages
    mixed = dataclasses.replace(scheme, policy="lru", reactive_share=0.2)
    lru = Scheme(label="lru", policy="lru", reactive_share=0.2)
    small_scenario = build_scenario(slice_)
    small = draw_sessions(small_scenario.demand, *draw_arguments[1:], rng, **drawing)  # type: ignore[arg-type]

    def engine(sessions: Any, scheme: Scheme, **more: Any) -> SimulationResult:
        return batch.simulate(fleet, sessions, scheme, fills if scheme.placement else None, outages=outages, **more)

    def week(module: Any, **more: Any) -> SimulationResult:
        other = small_scenario
        result: SimulationResult = module.simulate(
            other.fleet, small, other.scheme, other.fills, outages=other.outages, **more
        )
        return result

    def drawn(scheme: Scheme) -> SimulationResult:
        return engine(draw_parts(*draw_arguments, np.random.default_rng(seed + 1), **drawing), scheme)  # type: ignore[arg-type]

    variants: dict[str, Callable[[], Any]] = {
        "kernel": lambda: engine(ready, scheme, link_loads=False),
        "kernel_link_loads": lambda: engine(ready, scheme),
        "kernel_lru": lambda: engine(ready, mixed, link_loads=False),
        "kernel_lru_alone": lambda: engine(ready, lru, link_loads=False),
        "end_to_end": lambda: drawn(scheme),
        "end_to_end_lru": lambda: drawn(mixed),
        "simpy": lambda: week(reference),
        "kernel_on_the_slice": lambda: week(batch, keep_log=True),
    }
    engine(every_nth(ready, 1000), scheme)  # compiles
    engine(every_nth(ready, 1000), mixed)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    results: dict[str, SimulationResult] = {}
    for _ in range(repeats):
        for name, work in variants.items():
            spent, results[name] = timed(work)
            seconds[name].append(spent)
    median = {name: statistics.median(spent) for name, spent in seconds.items()}
    totals = results["kernel_link_loads"].totals()
    return {
        "sessions": len(ready),
        "kernel_sessions_per_second": round(len(ready) / median["kernel"]),
        "end_to_end_sessions_per_second": round(results["end_to_end"].sessions / median["end_to_end"]),
        "simpy_sessions": len(small),
        "simpy_sessions_per_second": round(len(small) / median["simpy"]),
        "kernel_over_simpy": round(len(ready) / median["kernel"] / (len(small) / median["simpy"]), 1),
        "identical": same(results["simpy"], results["kernel_on_the_slice"]),
        "bytes_per_session": sum(getattr(ready, name).nbytes for name in COLUMNS) / len(ready),
        "link_loads_factor": round(median["kernel_link_loads"] / median["kernel"], 2),
        "lru_factor": round(median["kernel_lru"] / median["kernel"], 2),
        "end_to_end_lru_factor": round(median["end_to_end_lru"] / median["end_to_end"], 2),
        "lru_alone_factor": round(median["kernel_lru_alone"] / median["kernel"], 2),
        "misses": totals["misses"],
        "request_hit_ratio": totals["request_hit_ratio"],
        "edge_offload": totals["edge_offload"],
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "repeats": repeats,
    }


def scaling(counts: list[int], seed: int) -> list[dict[str, float]]:
    """The same week with more and more sessions, drawn and simulated as they come: what one costs, what is drawn from included, and the memory.

    Medians of five up to :data:`FEW` sessions. ``ns_each_more`` is what a session costs that the row above did not have, or a week of a thousand: without
    the copies put in place, the tables that are drawn from, and the fleet's clock.
    """
    rows: list[dict[str, float]] = []
    before, had = 0.0, 0
    for count in [HARDLY_ANY, HARDLY_ANY, *counts]:  # the first compiles
        scenario = build_scenario(count)

        def week(s: Scenario = scenario) -> SimulationResult:
            parts = draw_parts(
                s.demand, s.network, s.catalogue, np.random.default_rng(seed),
                date=DATE, days=DAYS, watching=WATCHING,
            )  # fmt: skip
            return batch.simulate(s.fleet, parts, s.scheme, s.fills, outages=s.outages)

        rounds = [timed(week) for _ in range(5 if count <= FEW else 1)]
        spent, result = statistics.median(seconds for seconds, _ in rounds), rounds[0][1]
        rows.append(
            {
                "sessions": result.sessions,
                "seconds": round(spent, 3),
                "ns_per_session": round(spent / result.sessions * 1e9),
                "ns_each_more": round((spent - before) / max(result.sessions - had, 1) * 1e9),
                "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
            }
        )
        before, had = spent, result.sessions
    return rows[2:]


def write_log(sessions: int, folder: Path, seed: int) -> None:
    """A playback log of one day with about so many sessions."""
    scenario = build_scenario(sessions * DAYS)
    network, catalogue, demand = scenario.network, scenario.catalogue, scenario.demand
    regions, titles = pa.array(network.region_ids.astype(str)), pa.array(catalogue.title_ids.astype(str))
    profile, midnight = pa.array(["h264"]), np.datetime64(DATE, "ms")
    target = folder / "playback" / f"date={DATE}" / "part-0.parquet"
    target.parent.mkdir(parents=True)
    writer = None
    for part in draw_parts(demand, network, catalogue, np.random.default_rng(seed), date=DATE, watching=WATCHING):
        table = pa.table(
            {
                "start": pa.array(midnight + part.start_ms.astype("timedelta64[ms]")),
                "region": pa.DictionaryArray.from_arrays(part.region, regions),
                "title": pa.DictionaryArray.from_arrays(part.file, titles),
                "profile": pa.DictionaryArray.from_arrays(np.zeros(len(part), np.int32), profile),
                "seconds": part.duration_ms / 1000,
                "gb": part.bytes / BYTES_PER_GB,
            }
        )
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def replay_log(sessions: int, folder: Path) -> dict[str, float]:
    """That day read from Parquet, part by part, and simulated with the plan in place; in a process of its own, for the sake of its memory."""
    s = build_scenario(sessions * DAYS)
    small = PlaybackDay(folder=folder, date=DATE, network=s.network, catalogue=s.catalogue)
    batch.simulate(s.fleet, [every_nth(next(iter(small)), 1000)], s.scheme)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    day = PlaybackDay(folder=folder, date=DATE, network=s.network, catalogue=s.catalogue)
    spent, result = timed(lambda: batch.simulate(s.fleet, day, s.scheme))
    return {
        "sessions": result.sessions,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_ns_per_session": round(spent / result.sessions * 1e9),
        "memory_before_gb": round(before / 1e6, 2),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "log_gb": round(sum(path.stat().st_size for path in folder.rglob("*.parquet")) / BYTES_PER_GB, 2),
    }


def replaying(counts: list[int], seed: int) -> list[dict[str, float]]:
    """A day's log of so many sessions on disk: what reading and simulating it costs, and the memory."""
    rows = []
    for count in counts:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as process,
        ):
            process.submit(write_log, count, Path(folder), seed).result()
            rows.append(process.submit(replay_log, count, Path(folder)).result())
    return rows


def growing(sizes: list[str], sessions: int, peak_load: float, seed: int) -> list[dict[str, float]]:
    """The same week on fleets with other numbers of appliances and files, sessions ready in memory: what one costs, the least of three."""
    rows = []
    for size in sizes:
        appliances, files = (int(part) for part in size.split("x"))
        scenario = build_scenario(sessions, files, appliances, peak_load=peak_load)
        ready = draw_sessions(
            scenario.demand, scenario.network, scenario.catalogue, np.random.default_rng(seed),
            date=DATE, days=DAYS, watching=WATCHING,
        )  # fmt: skip

        def run(week: Sessions, s: Scenario = scenario) -> SimulationResult:
            return batch.simulate(s.fleet, week, s.scheme, s.fills, outages=s.outages, link_loads=False)

        few, many = (
            min((timed(lambda w=week: run(w)) for _ in range(3)), key=lambda one: one[0])  # type: ignore[misc]
            for week in (every_nth(ready, 1000), ready)
        )
        rows.append(
            {
                "appliances": appliances,
                "files": files,
                "sessions": len(ready),
                "ns_per_session": round(many[0] / len(ready) * 1e9),
                "fixed_seconds": round(few[0], 3),
                "ns_per_session_without": round((many[0] - few[0]) / len(ready) * 1e9),
                "health_misses": round(many[1].figures["misses"]["health"] / len(ready), 3),
            }
        )
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--slice", type=int, default=200_000, help="sessions of the SimPy reference")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scale", type=int, nargs="+", metavar="N", help="instead: the week with so many sessions")
    parser.add_argument("--log", type=int, nargs="+", metavar="N", help="instead: a day's log of so many, from Parquet")
    parser.add_argument("--grow", nargs="+", metavar="APPLIANCESxFILES", help="instead: the week on such fleets")
    parser.add_argument(
        "--peak-load", type=float, default=PEAK_LOAD, help="with --grow: load of all appliances in the busiest hour"
    )
    args = parser.parse_args()
    if args.scale:
        rows = scaling(args.scale, args.seed)
        print(json.dumps(rows) if args.json else pd.DataFrame(rows).to_string(index=False))
        return
    if args.log:
        rows = replaying(args.log, args.seed)
        print(json.dumps(rows) if args.json else pd.DataFrame(rows).to_string(index=False))
        return
    if args.grow:
        rows = growing(args.grow, args.sessions, args.peak_load, args.seed)
        print(json.dumps(rows) if args.json else pd.DataFrame(rows).to_string(index=False))
        return
    figures = compare_engines(args.sessions, args.slice, args.repeats, args.seed)
    if args.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:>16,}" if isinstance(value, int | float) else f"{name:32} {value}")


if __name__ == "__main__":
    main()
