"""Single caches beside libCacheSim: ``python -m benchmarks.caches [--requests N] [--files F] [--alpha A] [--repeats K] [--json]``.

One Zipf trace with lognormal sizes is written in libCacheSim's own format; each policy of both runs over it in turn, K times, in one process. Given are the
misses of both and medians of processor time: our kernel over requests in memory, our kernel with the reading of the file and the numbering of its objects,
and libCacheSim's own loop over its reader (``cache.process_trace(reader)``).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libcachesim
import numpy as np

from sim.belady import next_requests
from sim.replay import replay
from sim.traces import ORACLE_GENERAL, read_oracle_general

THEIRS = {
    "lru": libcachesim.LRU,
    "fifo": libcachesim.FIFO,
    "lfu": libcachesim.LFU,
    "s3fifo": libcachesim.S3FIFO,
    "sieve": libcachesim.Sieve,
    "belady": libcachesim.Belady,
}


def write_trace(path: Path, requests: int, files: int, alpha: float, seed: int) -> int:
    """A Zipf trace, sizes lognormal with a median of 50 kB between 1 kB and 20 MB; returns the bytes of all files asked for."""
    rng = np.random.default_rng(seed)
    share = np.cumsum(1 / np.arange(1, files + 1) ** alpha)
    file = rng.permutation(files)[np.searchsorted(share / share[-1], rng.random(requests))]
    sizes = np.clip(rng.lognormal(np.log(50e3), 1.2, files), 1e3, 20e6).astype(np.int64)
    records = np.zeros(requests, ORACLE_GENERAL)
    records["time"], records["id"], records["size"] = np.arange(requests) // 1000, file + 1, sizes[file]
    records["next"] = next_requests(file, files)
    records.tofile(path)
    return int(sizes[np.unique(file)].sum())


def timed(job: Callable[[], Any]) -> tuple[Any, float]:
    """The result and its processor seconds."""
    began = time.process_time()
    result = job()
    return result, time.process_time() - began


def measure(path: Path, policy: str, capacity: int, repeats: int) -> dict[str, Any]:
    """Both sides in turn, so that a busy moment hits both."""
    kernel, whole, theirs = [], [], []
    trace = read_oracle_general(path)
    replay(trace.file[:100], trace.size_bytes[:100], policy, capacity)  # compiles
    for _ in range(repeats):
        ours, seconds = timed(lambda: replay(trace.file, trace.size_bytes, policy, capacity))
        kernel.append(seconds)
        cache = THEIRS[policy](capacity)
        reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
        (their_requests, their_bytes), seconds = timed(lambda c=cache, r=reader: c.process_trace(r))
        theirs.append(seconds)
        _, seconds = timed(lambda: read_oracle_general(path))
        whole.append(kernel[-1] + seconds)
    count, loop = len(trace), statistics.median(theirs)
    return {
        "policy": policy,
        "request_miss_ratio": ours.request_miss_ratio,
        "their_request_miss_ratio": their_requests,
        "byte_miss_ratio": ours.byte_miss_ratio,
        "their_byte_miss_ratio": their_bytes,
        "difference_points": 100 * abs(ours.request_miss_ratio - their_requests),
        "kernel_requests_per_second": count / statistics.median(kernel),
        "with_reading_requests_per_second": count / statistics.median(whole),
        "their_requests_per_second": count / loop,
        "kernel_times_theirs": loop / statistics.median(kernel),
        "with_reading_times_theirs": loop / statistics.median(whole),
    }


def main() -> None:
    """Print a row a policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5_000_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--alpha", type=float, default=0.8)
    parser.add_argument(
        "--share", type=float, default=0.01, help="of the bytes of all files asked for, the cache's room"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--policies", nargs="+", choices=tuple(THEIRS), default=list(THEIRS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "zipf.oracleGeneral.bin"
        capacity = int(write_trace(path, args.requests, args.files, args.alpha, args.seed) * args.share)
        rows = [measure(path, policy, capacity, args.repeats) for policy in args.policies]
    if args.json:
        setting = {"requests": args.requests, "files": args.files, "alpha": args.alpha, "capacity_bytes": capacity}
        print(json.dumps(setting | {"policies": rows}))
        return
    print(
        f"{args.requests:,} requests, {args.files:,} files, alpha {args.alpha}, cache {capacity / 1e6:,.0f} MB; M requests/s of processor time"
    )
    print(
        f"{'policy':8}{'miss':>10}{'theirs':>10}{'bytes':>10}{'theirs':>10}{'kernel':>9}{'+ read':>9}{'theirs':>9}{'ratio':>7}{'+ read':>8}"
    )
    for row in rows:
        ratios = "".join(f"{row[k]:>10.6f}" for k in list(row)[1:5])
        speeds = "".join(f"{row[k] / 1e6:>9.2f}" for k in list(row)[6:9])
        print(
            f"{row['policy']:8}{ratios}{speeds}{row['kernel_times_theirs']:>7.1f}{row['with_reading_times_theirs']:>8.1f}"
        )


if __name__ == "__main__":
    main()
