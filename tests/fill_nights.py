"""Small networks to fill, and an auditor of schedules that shares no code with the scheduler."""

import datetime as dt
import itertools
import zoneinfo
from collections import defaultdict

import numpy as np
import pandas as pd

from demand.catalogue import build_catalogue
from topology.network import build_network
from topology.placement import Placement

HOUR = 3_600_000


def make_catalogue(sizes_gb):
    names = [f"f{i}" for i in range(len(sizes_gb))]
    files = pd.DataFrame({"file": names, "title": names, "profile": "p", "bitrate_kbps": 8000.0, "size_gb": sizes_gb})
    return build_catalogue(pd.DataFrame({"title": names}), files)


def make_network(sites, appliances, *, origin_cost=10.0, links=None, region="n0"):
    """A star: the origin's node in the middle, or ``links`` (node, node, cost) with node 0 the origin's and node i + 1 that of site i.

    ``sites``: time zones. ``appliances``: (site, storage_gb, fill_gbps, fill_start, fill_hours).
    """
    n = len(sites) + 1
    links = links or [(0, i + 1, origin_cost) for i in range(len(sites))]
    return build_network(
        {
            "nodes": pd.DataFrame({"node": [f"n{i}" for i in range(n)], "lat": 0.0, "lon": np.arange(n) * 1.0}),
            "links": pd.DataFrame(
                [(f"l{i}", f"n{a}", f"n{b}", 100.0, 100.0, cost) for i, (a, b, cost) in enumerate(links)],
                columns=["link", "source", "target", "capacity_gbps", "length_km", "cost_per_gb"],
            ),
            "regions": pd.DataFrame({"region": ["r"], "node": [region], "timezone": "UTC", "subscribers": 1.0}),
            "sites": pd.DataFrame(
                {
                    "site": ["origin", *(f"s{i}" for i in range(len(sites)))],
                    "node": [f"n{i}" for i in range(n)],
                    "kind": ["origin"] + ["embedded"] * len(sites),
                    "timezone": ["UTC", *sites],
                }
            ),
            "appliances": pd.DataFrame(
                [(f"a{i}", f"s{s}", "m", gb, 10.0, gbps, clock, hours) for i, (s, gb, gbps, clock, hours) in enumerate(appliances)],
                columns=["appliance", "site", "model", "storage_gb", "throughput_gbps", "fill_gbps", "fill_start", "fill_hours"],
            ),
        }
    )  # fmt: skip


def placed(*copies):
    """A placement of (appliance, file) pairs."""
    pairs = np.array(copies, int).reshape(-1, 2)
    return Placement.of(pairs[:, 0], pairs[:, 1])


def window_of(network, a, date):
    """The appliance's window in ms from 00:00 UTC, by the calendar."""
    row = network.appliances.iloc[a]
    zone = zoneinfo.ZoneInfo(network.sites["timezone"].iloc[network.appliance_site[a]])
    start = dt.datetime.combine(date, dt.time.fromisoformat(row["fill_start"]), zone).timestamp()
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()
    begin = round((start - midnight) * 1000)
    return begin, begin + round(float(row["fill_hours"]) * HOUR)


def audit(network, catalogue, before, now, schedule, *, factor=1.0):
    """Replay a schedule and complain about every law it breaks."""
    site = network.appliance_site
    size = np.rint(catalogue.size_gb * 1e9).astype(int)
    fill = np.rint(network.appliances["fill_gbps"].to_numpy(float) * 1e9)
    old, new = ({*zip(p.appliance.tolist(), p.file.tolist(), strict=True)} for p in (before, now))
    rows = list(zip(*(getattr(schedule, name).tolist() for name in ("appliance", "file", "source", "kind", "start_ms", "end_ms")), strict=True))  # fmt: skip
    brought = [(a, f) for a, f, *_ in rows]
    late = list(zip(schedule.unfinished.appliance.tolist(), schedule.unfinished.file.tolist(), strict=True))
    assert sorted(brought + late) == sorted(new - old), "every added copy once"
    drop = dict(zip(zip(schedule.dropped.appliance.tolist(), schedule.dropped.file.tolist(), strict=True), schedule.dropped_ms.tolist(), strict=True))  # fmt: skip
    assert set(drop) == old - new, "every dropped copy once"
    there = {(a, f): end for a, f, _, _, _, end in rows}

    inbound, streams, moves = defaultdict(list), defaultdict(list), defaultdict(list)
    for a, f, source, kind, start, end in rows:
        low, high = window_of(network, a, schedule.date)
        assert low <= start < end <= high, "inside the window"
        assert size[f] * 8000 <= fill[a] * (end - start), "at no more than the fill rate"
        inbound[a].append((start, end))
        moves[a].append((start, 1, int(size[f])))
        if kind == 2:
            assert source < 0 and network.is_origin[-1 - source]
            continue
        assert source >= 0 and source != a
        assert (site[source] == site[a]) == (kind == 0), "a peer is of the same site, a tier source of another"
        assert not network.is_origin[site[source]]
        if (source, f) in old:
            assert drop.get((source, f), end) >= end, "the source holds the file until the end"
        else:
            assert kind == 0 and there[source, f] <= start, "the source has the file from the start"
        streams[source].append((start, end, size[f] * 8000 / (end - start)))
    for spans in inbound.values():
        spans.sort()
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans)), "one at a time"
    for source, spans in streams.items():
        for moment, _, _ in spans:
            load = sum(rate for start, end, rate in spans if start <= moment < end)
            assert load <= fill[source] * factor * (1 + 1e-9), "no source feeds more than it may"
    for (a, f), at in drop.items():
        assert at >= window_of(network, a, schedule.date)[0], "nothing is dropped before the window"
        moves[a].append((at, 0, -int(size[f])))
    storage = np.rint(network.appliances["storage_gb"].to_numpy(float) * 1e9)
    for a, steps in moves.items():
        held = sum(int(size[f]) for b, f in old if b == a)
        fits = held <= storage[a] + len(old)
        for _, _, change in sorted(steps):
            held += change
            assert not fits or held <= storage[a] + len(old) + len(new), "the storage is never exceeded"
            fits = fits or held <= storage[a]
