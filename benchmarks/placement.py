"""Placement side by side: the decomposition, HiGHS's linear relaxation and MIP, CBC and greedy on the same instances under the same time limits.

    python -m benchmarks.placement --maker MAKER --checker CHECKER [--sizes 20x1000 50x20000] [--seeds 0 1 2] [--time-limit 60] [--json]

MAKER writes an instance (``MAKER DIR --sites S --regions S --files F --candidates 10 --seed N --parquet``), CHECKER recomputes a plan from its files; both are
programs that share nothing with the project. Every method runs in a process of its own, so that its memory is its own; of the decomposition, all
of ``fillplan place`` is measured, reading and writing included. ``--warm`` adds a night after: other demand, the plan of the night before as the start.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.placement.problem import Prices, Problem, build_problem
from cdn.placement.relaxation import solve_relaxation
from cdn.placement.solve import solve
from cdn.plan import read_prices
from demand.catalogue import read_catalogue
from demand.demand import read_demand
from topology.network import Network, read_network

METHODS = ("lagrangian", "greedy", "highs-lp", "highs-mip", "cbc")
MONOLITHIC = 300_000
"""Shares above which the monolithic solvers are left out unless ``--all`` asks for them: they prove nothing there in an hour."""


def main() -> None:
    """Make the instances, run the methods, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maker", type=Path, required=True)
    parser.add_argument("--checker", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", default=["20x1000", "50x20000", "200x20000"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--gap", type=float, default=0.001, help="gap at which a method may stop")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--throughput", choices=["tight", "loose"], default="tight")
    parser.add_argument("--all", action="store_true", help="give the monolithic solvers every size")
    parser.add_argument("--warm", action="store_true", help="plan the next day from the plan of the first")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(_monolithic(Path(args.one[0]), args.one[1], args.gap, args.time_limit)))
        return
    rows = []
    for size in args.sizes:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as place:
                rows += _instance(Path(place), size, seed, args)
    if args.json:
        print(json.dumps(rows))
        return
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, float_format=lambda x: f"{x:,.6g}", na_rep="-"))


def _instance(place: Path, size: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    sites, files = size.split("x")
    network = place / "network"
    _run([sys.executable, args.maker, network, "--sites", sites, "--regions", sites, "--files", files, "--candidates", "10", "--seed", seed,
          "--throughput", args.throughput, "--parquet"])  # fmt: skip
    rows = []
    for method in args.methods:
        head = {"size": size, "seed": seed, "method": method}
        if method == "lagrangian":
            rows.append({**head, **_ours(network, network / "demand.parquet", place / "plan", args)})
            if args.warm:
                _next_day(network, seed)
                warm = _ours(network, network / "next.parquet", place / "next", args, previous=place / "plan")
                rows.append({**head, "method": "lagrangian, next day", **warm})
        elif int(sites) * int(files) * 11 <= MONOLITHIC or args.all or method == "greedy":
            call = [sys.executable, "-m", "benchmarks.placement", "--maker", args.maker, "--checker", args.checker, "--one", network, method,
                    "--gap", args.gap, "--time-limit", args.time_limit]  # fmt: skip
            found = json.loads(_run(call))
            if method == "highs-lp" and "lagrangian" in args.methods and found.pop("optimal"):
                found |= _price_errors(network, place / "plan", found["prices"])
            found.pop("prices", None)
            rows.append({**head, **found})
        else:
            continue
        print(*rows[-2 if args.warm and method == "lagrangian" else -1 :], sep="\n", file=sys.stderr)
    return rows


def _ours(
    network: Path, demand: Path, plan: Path, args: argparse.Namespace, previous: Path | None = None
) -> dict[str, Any]:
    """The whole command in a process of its own, and what the checker says of its plan."""
    extra = ["--previous", previous] if previous else []
    began = time.perf_counter()
    call = [sys.executable, "-c", "from cdn.cli import main; main()", "place", network, "--demand", demand, "-o", plan, "--method", "lagrangian",
            "--gap", args.gap, "--time-limit", args.time_limit, "--json", *extra]  # fmt: skip
    found = json.loads(_run(call))
    seconds = time.perf_counter() - began
    checked = json.loads(_run([sys.executable, args.checker, network, "--demand", demand, plan, *extra]))
    assert checked["feasible"], checked
    assert abs(checked["objective_cost"] / found["objective_cost"] - 1) < 1e-9, (checked, found)
    return {
        "cost": found["objective_cost"], "bound": found["lower_bound"], "gap_percent": 100 * found["gap"], "seconds": found["seconds"],
        "process_seconds": seconds, "peak_gb": found["peak_memory_gb"], "status": found["status"],
    }  # fmt: skip


def _monolithic(folder: Path, method: str, gap: float, time_limit: float) -> dict[str, Any]:
    network, catalogue = read_network(folder), read_catalogue(folder)
    demand = read_demand(folder / "demand.parquet", network.region_ids, catalogue.file_ids)
    problem = build_problem(network, catalogue, demand)
    if method == "highs-lp":
        return _relaxed(network, problem, time_limit)
    solver = "cbc" if method == "cbc" else "highs"
    chosen = "greedy" if method == "greedy" else "exact"
    found = solve(problem, method=chosen, solver=solver, gap=gap, time_limit=time_limit)
    return {
        "cost": found.objective_cost, "bound": found.lower_bound, "gap_percent": 100 * found.gap, "seconds": found.seconds,
        "peak_gb": _peak_gb(), "status": found.status,
    }  # fmt: skip


def _relaxed(network: Network, problem: Problem, time_limit: float) -> dict[str, Any]:
    found = solve_relaxation(problem, time_limit=time_limit)
    prices = None
    if found.prices is not None:
        names = [str(site) for site in network.site_ids]
        prices = {"storage": dict(zip(names, found.prices.storage.tolist(), strict=True)),
                  "throughput": dict(zip(names, found.prices.throughput.tolist(), strict=True))}  # fmt: skip
    return {
        "bound": found.value, "seconds": found.seconds, "peak_gb": _peak_gb(), "status": "optimal" if found.optimal else "time limit",
        "optimal": found.optimal, "prices": prices,
    }  # fmt: skip


def _price_errors(network_folder: Path, plan: Path, prices: dict[str, dict[str, float]]) -> dict[str, float]:
    """Median relative difference of our prices from the relaxation's, over the limits that it prices."""
    network = read_network(network_folder)
    ours: Prices = read_prices(plan, network)
    errors = {}
    for kind, mine in (("storage", ours.storage), ("throughput", ours.throughput)):
        theirs = np.array([prices[kind][str(site)] for site in network.site_ids])
        priced = theirs > 1e-6 * max(theirs.max(), 1e-30)
        errors[f"{kind}_price_error_percent"] = (
            100 * float(np.median(np.abs(mine / theirs - 1)[priced])) if priced.any() else 0.0
        )
    return errors


def _next_day(network: Path, seed: int) -> None:
    """The day after: every file's demand times a lognormal of 0.3, every region's of it times one of 0.15."""
    frame = pd.read_parquet(network / "demand.parquet")
    rng = np.random.default_rng([seed, 1])
    file = frame["file"].cat.codes.to_numpy() if hasattr(frame["file"], "cat") else pd.factorize(frame["file"])[0]
    factor = rng.lognormal(0, 0.3, file.max() + 1)[file] * rng.lognormal(0, 0.15, len(frame))
    frame.assign(gb=frame["gb"] * factor, peak_gbps=frame["peak_gbps"] * factor).to_parquet(
        network / "next.parquet", index=False
    )


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _run(call: list[Any]) -> str:
    """Run a command; its standard output."""
    done = subprocess.run(
        [str(part) for part in call], capture_output=True, text=True, check=False, env=os.environ.copy()
    )
    if done.returncode:
        sys.exit(f"{' '.join(str(part) for part in call)}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
