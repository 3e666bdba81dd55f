"""Google Hash Code 2017, "Streaming videos", as networks: the one public benchmark of cache placement.

Caches become sites with their storage (one MB counts as one GB: only the ratio matters), endpoints become regions that list their caches by latency
and the data centre last. ``cost_per_gb`` is the latency in ms and ``gb`` the number of requests, so cost is latency paid.
"""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from topology.errors import InputError, Problem
from topology.tables import write_table

UNLIMITED_GBPS = 1e9
"""Throughput and link capacity that never bind: the benchmark has neither limit."""
SETTINGS = """# A Hash Code instance: serving latency alone counts.
[placement]
fill_weight = 0.0

[steering]
candidates = 1000
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """A parsed instance.

    Parameters
    ----------
    size_mb
        (V,) video sizes.
    caches, cache_mb
        Number of caches and the capacity of each.
    centre_ms
        (E,) latency of each endpoint to the data centre.
    endpoint, cache, cache_ms
        (J,) connections.
    video, asker, requests
        (Q,) request descriptions, added up per (video, endpoint).
    """

    size_mb: np.ndarray
    caches: int
    cache_mb: int
    centre_ms: np.ndarray
    endpoint: np.ndarray
    cache: np.ndarray
    cache_ms: np.ndarray
    video: np.ndarray
    asker: np.ndarray
    requests: np.ndarray


def read_instance(path: Path) -> Instance:
    """Parse a ``.in`` or ``.in.gz`` file.

    Raises
    ------
    InputError
        With the line that breaks the format.
    """
    if not path.is_file():
        raise InputError(Problem(table=path.name, message="no such file", mend="check the path"))
    try:
        with (
            gzip.open(path, "rt", encoding="ascii")
            if path.name.endswith(".gz")
            else path.open(encoding="ascii") as file
        ):
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(
            Problem(table=path.name, message=f"cannot be read: {error}", mend="give the text file of the contest")
        ) from error
    rows = _Rows(path.name, lines)
    videos, endpoints, described, caches, capacity = rows.take("V E R C X", 5)
    if min(videos, endpoints, described) == 0:
        raise rows.wrong("at least one video, endpoint and request is needed", "give the text file of the contest")
    sizes = rows.take("a size for each video", videos)
    if min(sizes) == 0:
        raise rows.wrong("a video of size 0", "sizes begin at 1 MB")
    centre, joined = [], []
    for e in range(endpoints):
        latency, count = rows.take("latency and number of caches", 2)
        centre.append(latency)
        joined += [(e, *rows.take("cache and latency", 2, cache=caches)) for _ in range(count)]
    asked = [rows.take("video, endpoint and count", 3, video=videos, endpoint=endpoints) for _ in range(described)]
    rows.end()
    connections = np.array(joined, np.int64).reshape(-1, 3)
    requests = pd.DataFrame(np.array(asked, np.int64).reshape(-1, 3), columns=["video", "endpoint", "count"])
    summed = requests.groupby(["video", "endpoint"], as_index=False)["count"].sum()
    return Instance(
        size_mb=np.array(sizes, float), caches=caches, cache_mb=capacity, centre_ms=np.array(centre, float),
        endpoint=connections[:, 0], cache=connections[:, 1], cache_ms=connections[:, 2].astype(float),
        video=summed["video"].to_numpy(), asker=summed["endpoint"].to_numpy(), requests=summed["count"].to_numpy(float),
    )  # fmt: skip


def import_hashcode(path: Path, folder: Path) -> dict[str, int]:
    """Write an instance as a network folder with ``demand.parquet`` and ``fillplan.toml``.

    Returns
    -------
    Counts of what was written.

    Raises
    ------
    InputError
        If the file is no instance.
    """
    instance = read_instance(path)
    endpoints, videos, caches = len(instance.centre_ms), len(instance.size_mb), instance.caches
    region, site, file = _names("e", endpoints), _names("c", caches), _names("v", videos)
    useful = instance.cache_ms < instance.centre_ms[instance.endpoint]
    steering = pd.DataFrame(
        {
            "region": np.concatenate([region[instance.endpoint[useful]], region]),
            "site": np.concatenate([site[instance.cache[useful]], np.full(endpoints, "centre", object)]),
            "cost_per_gb": np.concatenate([instance.cache_ms[useful], instance.centre_ms]),
            "edge": np.concatenate([np.zeros(useful.sum(), int), np.ones(endpoints, int)]),
        }
    ).sort_values(["region", "edge", "cost_per_gb", "site"], kind="stable", ignore_index=True)
    steering["rank"] = steering.groupby("region").cumcount() + 1
    nodes = np.concatenate([["hub"], np.char.add("n-", site.astype(str)), np.char.add("n-", region.astype(str))])
    tables = {
        "nodes": pd.DataFrame({"node": nodes, "lat": 0.0, "lon": np.linspace(0, 90, len(nodes))}),
        "links": pd.DataFrame(
            {"link": np.char.add("l-", nodes[1:].astype(str)), "source": "hub", "target": nodes[1:], "capacity_gbps": UNLIMITED_GBPS, "length_km": 1.0, "cost_per_gb": 0.0}
        ),
        "regions": pd.DataFrame({"region": region, "node": np.char.add("n-", region.astype(str)), "timezone": "UTC", "subscribers": 1}),
        "sites": pd.DataFrame(
            {"site": [*site, "centre"], "node": [*np.char.add("n-", site.astype(str)), "hub"], "kind": ["embedded"] * caches + ["origin"]}
        ),
        "appliances": pd.DataFrame(
            {"appliance": np.char.add("a-", site.astype(str)), "site": site, "model": "cache", "storage_gb": float(instance.cache_mb),
             "throughput_gbps": UNLIMITED_GBPS, "fill_gbps": 1.0, "fill_start": "02:00", "fill_hours": 12.0}
        ),
        "steering": steering[["region", "site", "rank", "cost_per_gb"]],
        "titles": pd.DataFrame({"title": np.char.add("t-", file.astype(str))}),
        "files": pd.DataFrame(
            {"file": file, "title": np.char.add("t-", file.astype(str)), "profile": "video", "bitrate_kbps": 1000.0, "size_gb": instance.size_mb}
        ),
    }  # fmt: skip
    for name, frame in tables.items():
        write_table(frame, folder / f"{name}.csv")
    demand = pd.DataFrame(
        {"region": region[instance.asker], "file": file[instance.video], "gb": instance.requests, "peak_gbps": 0.0}
    )
    write_table(demand, folder / "demand.parquet")
    (folder / "fillplan.toml").write_text(SETTINGS, "utf-8")
    return {"videos": videos, "endpoints": endpoints, "caches": caches, "requests": int(instance.requests.sum())}


def score(origin_only_cost: float, serving_cost: float, requests: float) -> int:
    """The contest's score: a thousand times the mean latency saved per request, rounded down."""
    return math.floor(1000 * (origin_only_cost - serving_cost) / requests + 1e-9) if requests > 0 else 0


def _names(prefix: str, count: int) -> np.ndarray:
    width = len(str(max(count - 1, 0)))
    return np.array([f"{prefix}{i:0{width}d}" for i in range(count)], dtype=object)


class _Rows:
    """The lines of an instance as whole numbers, one after the other; complains with the line's number."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        self.number, self.line = 0, ""

    def take(self, what: str, count: int, **limits: int) -> list[int]:
        """The next line's ``count`` numbers >= 0; the first of them must be below ``limits``, one a number, in order."""
        try:
            self.number, self.line = next(self.lines)
        except StopIteration:
            mend = "the file is truncated: fetch it again"
            raise InputError(
                Problem(table=self.name, message=f"the file ends where {what} should be", mend=mend)
            ) from None
        try:
            values = [int(part) for part in self.line.split()]
        except ValueError as error:
            raise self.wrong("not whole numbers") from error
        if len(values) != count or min(values, default=0) < 0:
            raise self.wrong(f"expected {what}: {count} numbers >= 0")
        for value, (noun, limit) in zip(values, limits.items(), strict=False):
            if value >= limit:
                raise self.wrong(f"no such {noun}: {value} of {limit}, counted from 0")
        return values

    def end(self) -> None:
        """Refuse lines after the last."""
        left = next(self.lines, None)
        if left is not None:
            self.number, self.line = left
            raise self.wrong("a line after the last request", "remove it, or correct the counts in line 1")

    def wrong(self, message: str, mend: str = "correct the line") -> InputError:
        return InputError(Problem(table=self.name, row=self.number, value=self.line[:40], message=message, mend=mend))
