"""On-path caching beside Icarus: ``python -m benchmarks.icarus FOLDER [-o out.csv] [--json]``.

FOLDER holds what Icarus gave (``reference.csv``, and for each topology its nodes, edges, paths, cache order and request streams; optionally traces
``*small_trace.csv.gz`` with the serving node of every request). Each row is replayed from the same requests through the simulator's own kernel. ``equal``
means the same hits and the same mean latency to 1e-4 ms; for a strategy that draws, within 3 standard deviations of our own redraws. Speed is by processor time, set-up included. Exit status 1 if a row or a
serving node differs or could not be replayed; its note says why.
"""

import argparse
import gzip
import json
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sim.onpath import HASH_STRATEGIES, RANDOM_STRATEGIES, STRATEGIES, Answers, Walks, build_walks, replay_on_path

POLICIES = {"LRU": "lru", "FIFO": "fifo"}
ICARUS_REQUESTS_PER_SECOND = 62_000
"""Recorded beside the reference: GEANT, leave copy everywhere, its four collectors, one core of the same kind."""
REDRAWS = 20
LATENCY_TOLERANCE_MS = 1e-4
COLUMNS = ("topology", "alpha", "network_cache", "strategy", "policy", "cache_size_each", "hits", "mean_latency_ms")


class MissingError(Exception):
    """A file or rule that a row needs is not there."""


def unreadable(error: Exception) -> str:
    """What was wrong with what the folder holds, in one line."""
    if isinstance(error, MissingError):
        return str(error)
    return f"cannot be read: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


UNFIT = (MissingError, KeyError, ValueError, TypeError, IndexError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading files of another form than the folder's ends in."""


@dataclass
class Topology:
    """One network of the folder: its nodes by role, its paths, and the walks of each strategy, traced once."""

    folder: Path
    name: str
    walks: dict[str, Walks] = field(default_factory=dict)

    def file(self, suffix: str) -> Path:
        """A file of this topology."""
        path = self.folder / f"{self.name}_{suffix}"
        if not path.is_file():
            raise MissingError(f"{path.name} is not there")
        return path

    def requests(self, alpha: str) -> Path:
        """The request stream of a skew, however its number is written."""
        for path in sorted(self.folder.glob(f"{self.name}_a*_requests.npz")):
            written = path.name.removeprefix(f"{self.name}_a").removesuffix("_requests.npz")
            if written.replace(".", "", 1).isdigit() and float(written) == float(alpha):
                return path
        return self.file(f"a{alpha}_requests.npz")

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """The table of nodes."""
        return pd.read_csv(self.file("nodes.csv"))

    @cached_property
    def receivers(self) -> list[int]:
        """Receivers, in the table's order."""
        return self.nodes.loc[self.nodes["role"] == "receiver", "node"].tolist()

    @cached_property
    def sources(self) -> list[int]:
        """Sources, in the table's order."""
        return self.nodes.loc[self.nodes["role"] == "source", "node"].tolist()

    @cached_property
    def caches(self) -> pd.DataFrame:
        """Nodes with a cache."""
        return self.nodes[self.nodes["is_cache_candidate"] == 1]

    @cached_property
    def paths(self) -> dict[int, dict[int, list[int]]]:
        """The path of every pair."""
        with gzip.open(self.file("paths.json.gz"), "rt") as stream:
            return {int(u): {int(v): nodes for v, nodes in ways.items()} for u, ways in json.load(stream).items()}

    @cached_property
    def delays(self) -> dict[tuple[int, int], float]:
        """Delay of each link, both ways."""
        edges = pd.read_csv(self.file("edges.csv"))
        one_way = {(int(u), int(v)): float(d) for u, v, d in edges[["u", "v", "delay_ms"]].itertuples(index=False)}
        return one_way | {(v, u): d for (u, v), d in one_way.items()}

    def path(self, u: int, v: int) -> list[int]:
        """The path of a pair."""
        if v not in self.paths.get(u, {}):
            raise MissingError(f"{self.name}_paths.json.gz has no path from {u} to {v}")
        return self.paths[u][v]

    def delay(self, u: int, v: int) -> float:
        """The delay of the link between neighbours."""
        if (u, v) not in self.delays:
            raise MissingError(f"{self.name}_edges.csv has no link between {u} and {v}")
        return self.delays[u, v]

    @cached_property
    def cache_order(self) -> list[int]:
        """The node of content c is ``order[c % n]``."""
        return [int(node) for node in json.loads(self.file("cache_order.json").read_text())]

    def walks_of(self, strategy: str) -> Walks:
        """The ways of a strategy: those by hash have their own, all others share one."""
        key = strategy if strategy in HASH_STRATEGIES else "LCE"
        if key not in self.walks:
            self.walks[key] = build_walks(
                self.path, self.delay, self.receivers,
                self.caches["node"].tolist(), self.sources, strategy=key,
            )  # fmt: skip
        return self.walks[key]

    def replay(
        self, strategy: str, policy: str, capacity: np.ndarray, receiver: np.ndarray, source: np.ndarray,
        content: np.ndarray, seed: int,
    ) -> Answers:  # fmt: skip
        """Requests by the folder's names through the kernel; every content is one byte, so caches count items."""
        caches = self.caches["node"].to_numpy()
        own = None
        if strategy in HASH_STRATEGIES:
            order = number_of(np.array(self.cache_order), caches, "cache_order.json names a node without a cache")
            own = order[np.arange(content.max() + 1) % len(order)]
        return replay_on_path(
            self.walks_of(strategy),
            number_of(receiver, np.array(self.receivers), "a request from a node that is no receiver"),
            number_of(source, np.array(self.sources), "a request for a source that is none"),
            content,
            strategy=strategy,
            policy=policy,
            capacity_bytes=capacity,
            size_bytes=np.ones(content.max() + 1, np.int64),
            weight=self.caches["betweenness"].to_numpy(),
            own_cache=own,
            rng=np.random.default_rng(seed),
        )


def number_of(nodes: np.ndarray, known: np.ndarray, otherwise: str) -> np.ndarray:
    """The place of each node among those known."""
    place = pd.Index(known).get_indexer(nodes)
    if (place < 0).any():
        raise MissingError(f"{otherwise}: {nodes[place < 0][0]}")
    return place


def replay_row(row: pd.Series, topology: Topology, redraws: int) -> dict[str, object]:
    """One row of the reference, replayed: ours beside theirs."""
    strategy, policy = row["strategy"], row["policy"]
    if strategy not in STRATEGIES:
        raise MissingError(f"no rule for strategy {strategy}")
    if policy not in POLICIES:
        raise MissingError(f"no rule for policy {policy}")
    requests = np.load(topology.requests(row["alpha"]))
    content = requests["content"].astype(np.int64)
    source = requests["source_of_content"][content - 1]
    measured = requests["log"].astype(bool)
    capacity = np.full(len(topology.caches), int(row["cache_size_each"]))
    runs = redraws if strategy in RANDOM_STRATEGIES else 1
    hits, latency, seconds = [], [], []
    for seed in range(runs):
        began = time.process_time()
        answers = topology.replay(strategy, POLICIES[policy], capacity, requests["receiver"], source, content, seed)
        seconds.append(time.process_time() - began)
        hits.append(int((answers.server[measured] < len(capacity)).sum()))
        latency.append(float(answers.latency_ms[measured].mean()))
    ours, ours_ms = float(np.mean(hits)), float(np.mean(latency))
    if runs == 1:
        hits_room, ms_room = 0.0, LATENCY_TOLERANCE_MS
    else:  # theirs is one draw more
        hits_room, ms_room = (3 * float(np.std(x, ddof=1)) * (1 + 1 / runs) ** 0.5 for x in (hits, latency))
    equal = abs(ours - int(row["hits"])) <= hits_room and abs(ours_ms - float(row["mean_latency_ms"])) <= ms_room
    return {
        "our_hits": ours,
        "our_hit_ratio": ours / int(measured.sum()),
        "our_mean_latency_ms": round(ours_ms, 6),
        "hits_allowance": round(hits_room, 1),
        "redraws": runs if runs > 1 else 0,
        "equal": equal,
        "requests_per_second": round(len(content) / max(float(np.median(seconds)), 1e-9)),
        "note": "",
    }


def replay_small_trace(path: Path) -> list[dict[str, object]]:
    """A trace with the serving node of every request: how many of them are the same, by strategy."""
    about = path.with_name(path.name.replace(".csv.gz", ".meta.json"))
    if not about.is_file():
        raise MissingError(f"{about.name} is not there")
    meta = json.loads(about.read_text())
    topology, trace = Topology(path.parent, meta["topology"]), pd.read_csv(path)
    if meta["policy"] not in POLICIES:
        raise MissingError(f"no rule for policy {meta['policy']}")
    sizes, policy = {int(node): size for node, size in meta["cache_sizes"].items()}, POLICIES[meta["policy"]]
    caches = topology.caches["node"].to_numpy()
    capacity = np.array([sizes.get(node, 0) for node in caches.tolist()])
    servers = np.concatenate([caches, topology.sources])
    receiver, source, content = (trace[name].to_numpy() for name in ("receiver", "source", "content"))
    rows: list[dict[str, object]] = []
    for column in trace.columns[trace.columns.str.startswith("hit_")]:
        strategy = column.removeprefix("hit_")
        if strategy not in STRATEGIES or strategy in RANDOM_STRATEGIES:
            continue
        answers = topology.replay(strategy, policy, capacity, receiver, source, content, 0)
        same = int((servers[answers.server] == trace[column].to_numpy()).sum())
        rows.append({"trace": path.name, "strategy": strategy, "requests": len(trace), "same_server": same})
    return rows


def read_reference(path: Path) -> pd.DataFrame:
    """The table of what Icarus gave; :class:`MissingError` if it is none."""
    try:
        table = pd.read_csv(path, dtype={"alpha": str, "network_cache": str})
    except (OSError, ValueError) as error:
        raise MissingError(f"{path} {unreadable(error)}") from error
    absent = [name for name in COLUMNS if name not in table]
    if absent or table.empty:
        raise MissingError(f"{path} has " + (f"no column {absent[0]}" if absent else "no rows"))
    return table


def run(folder: Path, redraws: int = REDRAWS) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """The reference with our columns beside it, and the small traces."""
    reference = read_reference(folder / "reference.csv")
    topologies: dict[str, Topology] = {}
    ours: list[dict[str, object]] = []
    warm = False
    for _, row in reference.iterrows():
        topology = topologies.setdefault(row["topology"], Topology(folder, row["topology"]))
        try:
            if not warm:
                warm_up(topology)
                warm = True
            ours.append(replay_row(row, topology, redraws))
        except UNFIT as error:
            ours.append({"equal": None, "note": unreadable(error)})
    table = pd.concat([reference, pd.DataFrame(ours, index=reference.index)], axis=1)
    small: list[dict[str, object]] = []
    for path in sorted(folder.glob("*small_trace.csv.gz")):
        try:
            small += replay_small_trace(path)
        except UNFIT as error:
            small.append({"trace": path.name, "note": unreadable(error)})
    return table, small


def warm_up(topology: Topology) -> None:
    """Compile the kernel before anything is timed."""
    one = np.ones(1, np.int64)
    topology.replay(
        "LCE", "lru", np.ones(len(topology.caches), np.int64), one * topology.receivers[0], one * topology.sources[0], one, 0
    )  # fmt: skip


def main() -> None:
    """Print a line a row and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="write the table as CSV")
    parser.add_argument("--redraws", type=int, default=REDRAWS, help="runs of each strategy that draws")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    args = parser.parse_args()
    try:
        table, small = run(args.folder, max(args.redraws, 2))
        if args.output is not None:
            table.to_csv(args.output, index=False)
    except (MissingError, OSError) as error:
        parser.error(str(error))
    replayed = table["equal"].notna()
    everywhere = table[replayed & (table["strategy"] == "LCE")]
    median = float(everywhere["requests_per_second"].median()) if len(everywhere) else None
    summary = {
        "rows": len(table),
        "replayed": int(replayed.sum()),
        "equal": int(table["equal"].eq(True).sum()),
        "lce_requests_per_second": median,
        "times_icarus": None if median is None else round(median / ICARUS_REQUESTS_PER_SECOND, 1),
        "small_traces": small,
    }
    if args.json:
        print(json.dumps(summary | {"table": json.loads(table.to_json(orient="records"))}))
    else:
        print_table(table, small, summary)
    same = all("note" not in line and line["same_server"] == line["requests"] for line in small)
    sys.exit(0 if summary["equal"] == len(table) and same else 1)


def print_table(table: pd.DataFrame, small: list[dict[str, object]], summary: dict[str, object]) -> None:
    """Lines for people."""
    print(
        f"{'topology':10}{'alpha':>6}{'cache':>7} {'strategy':15}{'theirs':>9}{'ours':>11}{'ms':>11}{'ours':>11}{'equal':>7}{'M req/s':>9}"
    )
    for row in table.to_dict("records"):
        head = f"{row['topology']:10}{row['alpha']:>6}{row['network_cache']:>7} {row['strategy']:15}{row['hits']:>9}"
        if row["note"]:
            print(f"{head}  {row['note']}")
            continue
        allowance = f" ±{row['hits_allowance']:.0f}" if row["redraws"] else ""
        print(
            f"{head}{row['our_hits']:>11.1f}{row['mean_latency_ms']:>11.4f}{row['our_mean_latency_ms']:>11.4f}"
            f"{'yes' if row['equal'] else 'NO':>7}{row['requests_per_second'] / 1e6:>9.2f}{allowance}"
        )
    for line in small:
        if "note" in line:
            print(f"{line['trace']}: {line['note']}")
            continue
        print(
            f"{line['trace']} {line['strategy']}: {line['same_server']} of {line['requests']} served by the same node"
        )
    speed = summary["lce_requests_per_second"]
    if isinstance(speed, float):
        print(f"leave copy everywhere: {speed / 1e6:.1f} M requests/s, {summary['times_icarus']} x Icarus as recorded")
    print(f"{summary['equal']} of {summary['replayed']} rows equal, {len(table)} in the table")


if __name__ == "__main__":
    main()
