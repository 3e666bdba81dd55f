"""Score Hash Code 2017 "Streaming videos" instances: ``python -m benchmarks.hashcode FILE… [--json]``.

Each file is imported, placed and costed through the library. The upper bound on the score follows from the proven lower bound on the cost.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

from cdn.hashcode import import_hashcode, score
from cdn.placement.build import build_problem
from cdn.placement.solve import METHODS, solve
from demand.catalogue import read_catalogue
from demand.demand import read_demand
from topology.network import read_network


def run(path: Path, method: str, time_limit: float) -> dict[str, object]:
    """Import, place and score one file."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        requests = import_hashcode(path, folder)["requests"]
        network, catalogue = read_network(folder), read_catalogue(folder)
        demand = read_demand(folder / "demand.parquet", network.region_ids, catalogue.file_ids)
        began = time.perf_counter()
        problem = build_problem(network, catalogue, demand, candidates=1000, fill_weight=0.0)
        solution = solve(problem, method=method, gap=0.0, time_limit=time_limit)
        seconds = time.perf_counter() - began
    upper = math.floor(1000 * (solution.origin_only_cost - solution.lower_bound) / requests)
    reached = score(solution.origin_only_cost, solution.serving_cost, requests)
    return {
        "file": path.name,
        "score": reached,
        "upper_bound": upper,
        "seconds": round(seconds, 2),
        "method": solution.method,
    }


def main() -> None:
    """Print a row a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--method", choices=METHODS, default="auto")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="print a list of rows instead of a table")
    args = parser.parse_args()
    rows = [run(path, args.method, args.time_limit) for path in args.files]
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'file':40} {'score':>10} {'upper bound':>12} {'seconds':>8}  method")
    for row in rows:
        print(f"{row['file']:40} {row['score']:>10,} {row['upper_bound']:>12,} {row['seconds']:>8}  {row['method']}")


if __name__ == "__main__":
    main()
