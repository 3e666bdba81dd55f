"""Run the two real nights end to end: ``python -m benchmarks.nights [germany50 | geant2009]… [--data DIR] [--keep DIR] [--json FILE]``.

Backbones from SNDlib and the Topology Zoo, a fleet grown on them, demand from Netflix's published lists and reports; then ``nightly``, ``verify`` and
``report``. Every step is the command that a user types, in a process of its own; nothing of the product is imported here.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "data"
DAY = "2022-07-31"
"""Last Sunday of the last week of the lists: planned from the twenty days before, rehearsed on its own sessions."""
COMMAND = [sys.executable, "-c", "from cdn.cli import main; main()"]
POLICIES = ("plan", "lru", "plan+lru", "oracle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A real night: which backbone, whose lists, how large a fleet."""

    name: str
    topology: tuple[str, str]
    country: str | None
    sites: int


NIGHTS = (
    Night(
        name="germany50", topology=("sndlib", "sndlib/sndlib-networks-xml.tar.xz:germany50"), country="DE", sites=15
    ),
    Night(
        name="geant2009", topology=("graphml", "topology_zoo/topology_zoo_graphml.tar.xz:Geant2009"), country=None, sites=12
    ),
)  # fmt: skip


def run_night(
    night: Night, data: Path, folder: Path, *, weeks: int, titles: int, sessions_per_day: int, seed: int = 0
) -> dict[str, Any]:
    """Import, plan, verify and report one night into a new folder; what the commands said, and the seconds each took."""
    kind, source = night.topology
    network = str(folder / night.name)
    seconds: dict[str, float] = {}

    def call(step: str, *arguments: str) -> dict[str, Any]:
        began = time.perf_counter()
        done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, check=False)
        seconds[step] = round(time.perf_counter() - began, 1)
        if done.returncode:
            raise SystemExit(f"fillplan {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    call("topology", "import", kind, str(data / source), network, "--sites", str(night.sites), "--seed", str(seed))
    demand = call(
        "demand", "import", "netflix", str(data), network, "--week", DAY, "--weeks", str(weeks), "--titles", str(titles),
        "--sessions-per-day", str(sessions_per_day), "--seed", str(seed), *(["--country", night.country] if night.country else []),
    )  # fmt: skip
    made = call("nightly", "nightly", network, "--for", DAY)
    plan = Path(made["folder"])
    verified = call(
        "verify",
        "verify",
        network,
        str(plan),
        "--demand",
        str(plan / "demand.parquet"),
        "--previous",
        str(plan / "before"),
    )
    call("report", "report", network, "-o", str(folder / f"{night.name}.html"))
    return {
        "night": night.name, "counts": demand["counts"], "metrics": made["metrics"], "stages": made["stages"], "verified": verified,
        "published": made["published"], "seconds": seconds,
    }  # fmt: skip


def lines(result: dict[str, Any]) -> list[str]:
    """A night as a table for people."""
    metrics, counts, seconds = result["metrics"], result["counts"], result["seconds"]
    plan, policies, fill = metrics["plan"], metrics["policies"], metrics["fill"]
    score = {row["model"]: row["wape"] for row in metrics["forecast"]["backtest"]}
    head = f"{'policy':10} {'request hit':>12} {'byte hit':>9} {'offload':>8} {'content':>8} {'unfilled':>9} {'health':>7} {'backbone GB':>12} {'cost':>10}"
    table = [
        f"{name:10} {p['request_hit_ratio']:12.2%} {p['byte_hit_ratio']:9.2%} {p['edge_offload']:8.2%} {p['misses']['content']:8,} "
        f"{p['misses']['not_yet_filled']:9,} {p['misses']['health']:7,} {p['backbone_gb']:12,.0f} {p['backbone_cost']:10,.1f}"
        for name, p in policies.items()
        if name in POLICIES
    ]
    verdict = "feasible" if result["verified"]["feasible"] else "NOT FEASIBLE"
    return [
        f"{result['night']}, {metrics['date']}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"plan ({plan['method']}): cost {plan['objective_cost']:,.2f}, bound {plan['lower_bound']:,.2f}, gap {plan['gap']:.2%}, {verdict}",
        f"without caches: cost {plan['origin_only_cost']:,.2f}",
        "forecast WAPE: " + ", ".join(f"{name} {wape:.3f}" for name, wape in score.items()),
        f"fill: {fill['transfers']:,} transfers, {fill['gb']:,.0f} GB, {fill['finished_share']:.1%} inside the windows",
        head,
        *table,
        "; ".join(f"{label} {value:,.1f}" for label, value, _ in metrics["decomposition"] if value is not None),
        "seconds: " + ", ".join(f"{step} {s}" for step, s in seconds.items()),
        f"peak memory of the placement: {plan['peak_memory_gb']:.2f} GB",
    ]


def main() -> None:
    """Print a table a night, and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nights", nargs="*", metavar="NIGHT", help="germany50, geant2009; default: both")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the published files")
    parser.add_argument("--keep", type=Path, help="keep networks and reports in this new folder")
    parser.add_argument("--json", type=Path, help="write everything the commands said to this file")
    parser.add_argument("--weeks", type=int, default=3)
    parser.add_argument("--titles", type=int, default=1500)
    parser.add_argument("--sessions-per-day", type=int, default=200_000)
    args = parser.parse_args()
    known = {night.name: night for night in NIGHTS}
    if unknown := set(args.nights) - set(known):
        parser.error(f"unknown night {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not args.data.is_dir():
        parser.error(f"{args.data} is not there: give the folder of the published files as --data")
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.nights or known:
            found = run_night(
                known[name], args.data, args.keep or Path(scratch),
                weeks=args.weeks, titles=args.titles, sessions_per_day=args.sessions_per_day,
            )  # fmt: skip
            results.append(found)
            print("\n".join(lines(found)) + "\n", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
