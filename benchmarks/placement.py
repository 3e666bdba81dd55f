"""Placement side by side: the decomposition, HiGHS and CBC by themselves, HiGHS's linear relaxation and greedy on the same instances under the same time limits.

    python -m benchmarks.placement --maker MAKER --checker CHECKER [--sizes 20x1000 50x20000] [--seeds 0 1 2] [--time-limit 60] [--json]
    python -m benchmarks.placement --maker MAKER --checker CHECKER --curve [--sizes 50x5000 50x10000 …] [--picture FILE.svg]

MAKER writes an instance (``MAKER DIR --sites S --regions S --files F --candidates 10 --seed N --parquet``), CHECKER recomputes a plan from its files; both are
programs that share nothing with the project. Every method runs in a process of its own, so that its memory is its own; of the decomposition, all
of ``fillplan place`` is measured, reading and writing included. ``highs-mip`` and ``cbc`` know nothing of the decomposition; a process that outlives its limit by a quarter is stopped.
``--warm`` adds a night after: other demand, the plan of the night before as the start. ``--curve`` measures instead what one pass over all files takes, in seconds and memory, size by size.
"""

import argparse
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import highspy
import numpy as np
import pandas as pd
import pulp

from cdn.cluster import into_appliances
from cdn.placement.branch import solve_files
from cdn.placement.build import build_problem
from cdn.placement.choices import Opening, build_choices
from cdn.placement.engines import engine
from cdn.placement.exact import build_model, read_copies
from cdn.placement.facility import improve
from cdn.placement.greedy import assemble, solve_greedy
from cdn.placement.groups import group_sites
from cdn.placement.lagrangian import solve_lagrangian
from cdn.placement.problem import Prices, Problem, evaluate
from cdn.placement.relaxation import program, solve_relaxation
from cdn.placement.serving import best_shares
from cdn.plan import make_plan, read_prices, write_plan
from cdn.settings import Settings
from demand.catalogue import read_catalogue
from demand.demand import read_demand
from topology.network import Network, read_network

METHODS = ("lagrangian", "greedy", "highs-lp", "highs-mip", "cbc")
CURVE = ("50x5000", "50x10000", "50x20000", "100x10000", "200x5000", "200x10000", "200x20000")
EPOCHS = 10
"""Of local search, before a pass is measured."""

BUILDING = 120.0
"""Seconds that a method gets for reading and for building its program."""

MONOLITHIC = 300_000
"""Shares above which the monolithic solvers are left out unless ``--all`` asks for them: they prove nothing there in an hour."""


def main() -> None:
    """Make the instances, run the methods, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maker", type=Path, required=True)
    parser.add_argument("--checker", type=Path, required=True)
    parser.add_argument(
        "--sizes", nargs="+", help="sites x files; default: 20x1000 50x20000 200x20000, of the curve more"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--gap", type=float, default=0.001, help="gap at which a method may stop")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--throughput", choices=["tight", "loose"], default="tight")
    parser.add_argument("--all", action="store_true", help="give the monolithic solvers every size")
    parser.add_argument("--warm", action="store_true", help="plan the next day from the plan of the first")
    parser.add_argument(
        "--curve", action="store_true", help="seconds and memory of a pass over all files, size by size"
    )
    parser.add_argument("--picture", type=Path, help="where the curve is drawn, as SVG")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        folder, method, plan = args.one
        found = (
            _pass(Path(folder))
            if method == "pass"
            else _alone(Path(folder), method, Path(plan), args.gap, args.time_limit)
        )
        print(json.dumps(found))
        return
    rows: list[dict[str, Any]] = []
    sizes = args.sizes or (CURVE if args.curve else ("20x1000", "50x20000", "200x20000"))
    for size in sizes:
        for seed in args.seeds[:1] if args.curve else args.seeds:
            with tempfile.TemporaryDirectory() as place:
                rows += (
                    _curve_point(Path(place), size, seed, args)
                    if args.curve
                    else _instance(Path(place), size, seed, args)
                )
    if args.picture:
        _draw(pd.DataFrame(rows), args.picture)
    if args.json:
        print(json.dumps(rows))
        return
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, float_format=lambda x: f"{x:,.6g}", na_rep="-"))


def _make(place: Path, size: str, seed: int, args: argparse.Namespace) -> Path:
    sites, files = size.split("x")
    network = place / "network"
    _run([sys.executable, args.maker, network, "--sites", sites, "--regions", sites, "--files", files, "--candidates", "10", "--seed", seed,
          "--throughput", args.throughput, "--parquet"])  # fmt: skip
    return network


def _one(network: Path, method: str, plan: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A method in a process of its own, and what the checker says of its plan; stopped where it goes on long after its limit."""
    call = [sys.executable, "-m", "benchmarks.placement", "--maker", args.maker, "--checker", args.checker, "--one", network, method, plan,
            "--gap", args.gap, "--time-limit", args.time_limit]  # fmt: skip
    most = 1.25 * args.time_limit + BUILDING
    try:
        found: dict[str, Any] = json.loads(_run(call, timeout=None if method == "pass" else most))
    except subprocess.TimeoutExpired:
        return {"seconds": most, "status": "stopped from outside"}
    if plan.exists():
        _check(found["cost"], network, network / "demand.parquet", plan, args)
        found["checked"] = True
    return found


def _instance(place: Path, size: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    sites, files = size.split("x")
    network = _make(place, size, seed, args)
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
            found = _one(network, method, place / method, args)
            if found.pop("optimal", False) and "lagrangian" in args.methods:
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
    _check(found["objective_cost"], network, demand, plan, args, *extra)
    return {
        "cost": found["objective_cost"], "bound": found["lower_bound"], "gap_percent": 100 * found["gap"], "seconds": found["seconds"],
        "process_seconds": seconds, "peak_gb": found["peak_memory_gb"], "status": found["status"], "checked": True,
    }  # fmt: skip


def _alone(folder: Path, method: str, plan: Path, gap: float, time_limit: float) -> dict[str, Any]:
    """One method, its plan written where there is one."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    demand = read_demand(folder / "demand.parquet", network.region_ids, catalogue.file_ids)
    problem = build_problem(network, catalogue, demand)
    if method == "highs-lp":
        return _relaxed(network, problem, time_limit)
    began = time.perf_counter()
    if method == "greedy":
        made = solve_greedy(problem)
        stored, bound, status = made.stored, made.lower_bound, made.status
    else:
        stored, bound, status = (_cbc_alone if method == "cbc" else _highs_alone)(problem, gap, time_limit)
    seconds = time.perf_counter() - began
    facts = {"bound": bound, "seconds": seconds, "peak_gb": _peak_gb(), "status": status}
    if stored is None:
        return facts
    shares = best_shares(problem, stored).shares
    costs, prices = (
        evaluate(problem, stored, shares),
        Prices(storage=np.zeros(problem.sites), throughput=np.zeros(problem.sites)),
    )
    solution = assemble(
        stored, shares, costs, prices, max(bound or 0.0, 0.0), method=method, status=status, reason="benchmark", seconds=seconds
    )  # fmt: skip
    placement, final = into_appliances(network, problem, solution, catalogue.file_ids)
    made_plan = make_plan(
        network, catalogue, demand, problem, placement, final, settings=Settings(), seconds=seconds, peak_memory_gb=_peak_gb()
    )  # fmt: skip
    write_plan(made_plan, network, catalogue, plan)
    return {"cost": final.objective_cost, **facts, "bound": final.lower_bound, "gap_percent": 100 * final.gap}


def _highs_alone(problem: Problem, gap: float, time_limit: float) -> tuple[np.ndarray | None, float | None, str]:
    """HiGHS on the mixed-integer program, started from nothing: what it stores, its bound, how it ended."""
    lp, _, copies = program(problem)
    first = lp.num_col_ - len(copies)
    lp.integrality_ = [highspy.HighsVarType.kContinuous] * first + [highspy.HighsVarType.kInteger] * len(copies)
    highs = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "mip_rel_gap": gap, "time_limit": time_limit}.items():
        highs.setOptionValue(name, value)
    highs.passModel(lp)
    highs.run()
    info, status = highs.getInfo(), highs.modelStatusToString(highs.getModelStatus()).lower()
    bound = float(info.mip_dual_bound)
    stored = None
    if info.primal_solution_status == 2:  # feasible
        stored = np.zeros((problem.sites, problem.files), bool)
        there = np.array(highs.getSolution().col_value)[first:] > 0.5
        stored[copies[there, 0], copies[there, 1]] = True
        stored[problem.is_origin] = True
    return stored, bound if np.isfinite(bound) else None, status


def _cbc_alone(problem: Problem, gap: float, time_limit: float) -> tuple[np.ndarray | None, float | None, str]:
    """CBC likewise; it tells its bound only by finishing."""
    model = build_model(problem)
    model.program.solve(engine("cbc", gap, time_limit, 1, warm=False))
    known = model.program.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible)
    return (read_copies(problem, model) if known else None), None, "solution" if known else "time limit, no solution"


def _curve_point(place: Path, size: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    sites, files = (int(part) for part in size.split("x"))
    found = _one(_make(place, size, seed, args), "pass", place / "none", args)
    ways = sites * files * 10
    row = {"size": size, "million_ways": ways / 1e6, **found, "us_per_1000_ways": 1e9 * found["exact_seconds"] / ways}
    print(row, file=sys.stderr)
    return [row]


def _pass(folder: Path) -> dict[str, Any]:
    """CPU seconds of a pass over all files, in one process: local search, files exactly, and a bound, each at the prices of a short run; and the memory at the peak."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    demand = read_demand(folder / "demand.parquet", network.region_ids, catalogue.file_ids)
    problem = build_problem(network, catalogue, demand)
    read = _peak_gb()
    asked = itertools.count()
    found = solve_lagrangian(problem, gap=0.0, time_limit=1e9, workers=1, stop=lambda: next(asked) >= EPOCHS)
    choices = build_choices(problem)
    toll = np.asarray(choices.rates.T @ found.prices.rate(problem)).reshape(choices.column.shape)
    opening = Opening(
        found.prices.storage, choices.fill, choices.room, choices.window, choices.size, choices.state
    )  # fmt: skip
    stored, files = np.ascontiguousarray(found.stored.T & ~problem.is_origin), np.arange(problem.files)
    common = (files, choices.entries, choices.candidates, toll, opening)
    used, filled, flow, bounds = (
        np.zeros(problem.sites),
        np.zeros(problem.sites),
        np.zeros(toll.shape),
        np.zeros(len(files)),
    )
    groups = group_sites(choices)

    def seconds(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    return {
        "search_seconds": min(seconds(lambda: improve(*common, stored.copy(), used, filled, flow, 1)) for _ in range(3)),
        "exact_seconds": min(seconds(lambda: solve_files(*common, stored.copy(), *groups, 1000, bounds)) for _ in range(3)),
        "read_gb": read, "peak_gb": _peak_gb(),
    }  # fmt: skip


def _draw(frame: pd.DataFrame, picture: Path) -> None:
    """Seconds of an exact pass, and memory beyond the libraries', against regions x K x files."""
    base = alt.Chart(frame).encode(
        x=alt.X("million_ways", title="regions × K × files, million", scale=alt.Scale(type="log"))
    )
    seconds = base.mark_point().encode(
        y=alt.Y("exact_seconds", title="CPU seconds of an exact pass", scale=alt.Scale(type="log")), tooltip="size"
    )
    memory = base.mark_point().encode(y=alt.Y("peak_gb", title="memory at the peak, GB"), tooltip="size")
    (seconds | memory).save(str(picture))


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
            100 * float(np.median(np.abs(mine[priced] / theirs[priced] - 1))) if priced.any() else 0.0
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


def _check(cost: float, network: Path, demand: Path, plan: Path, args: argparse.Namespace, *extra: Any) -> None:
    """Stop unless the checker finds the plan feasible and of this cost. In one thread: with more Arrow may abort as the process ends (apache/arrow#34314)."""
    call = [sys.executable, args.checker, network, "--demand", demand, plan, *extra]
    checked = json.loads(_run(call, OMP_NUM_THREADS="1"))
    assert checked["feasible"], checked
    assert abs(checked["objective_cost"] / cost - 1) < 1e-9, (checked, cost)


def _run(call: list[Any], timeout: float | None = None, **environment: str) -> str:
    """Run a command; its standard output."""
    process = subprocess.Popen(
        [str(part) for part in call], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, start_new_session=True
    )  # fmt: skip
    try:
        out, error = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with what it started itself
            process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(str(part) for part in call)}\n{error}")
    return out


if __name__ == "__main__":
    main()
