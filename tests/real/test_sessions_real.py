"""A day of real YouTube requests through the simulator, against stack distances."""

import datetime as dt
import gzip

import numpy as np
import pandas as pd
import pytest

from demand.catalogue import build_catalogue
from sim.fleet import build_fleet
from sim.log import HIT
from sim.reference import Scheme, simulate
from sim.sessions import DAY_MS, build_sessions
from topology.network import build_network
from topology.routing import region_paths, site_trees, steering_routes


@pytest.fixture(scope="module")
def requests(shared_data):
    """(seconds from the first request, video number) of every video asked for in the UMass trace, cleaned as its notes say."""
    path = shared_data / "umass_youtube" / "youtube.parsed.012908.S1.dat.gz"
    if not path.exists():
        pytest.skip("../shared/data/umass_youtube is not there")
    with gzip.open(path, "rt", errors="replace") as file:
        rows = [line.split() for line in file if line.endswith("\n")]
    kept = [
        (float(r[0]), r[4].split("&")[0])
        for r in rows
        if len(r) >= 5 and r[3] == "GETVIDEO" and not r[4].startswith("ash-v10")
    ]
    times = np.array([t for t, _ in kept])
    return times - times.min(), np.unique([v for _, v in kept], return_inverse=True)[1]


def one_site(files, storage_gb):
    """A region and a site at one node, the origin one link away; every file of 1 GB; throughput for anything."""
    table = {
        "nodes": pd.DataFrame({"node": ["a", "b"], "lat": 0.0, "lon": [0.0, 1.0]}),
        "links": pd.DataFrame(
            {
                "link": ["ab"],
                "source": ["a"],
                "target": ["b"],
                "capacity_gbps": 1.0,
                "length_km": 100.0,
                "cost_per_gb": 1.0,
            }
        ),
        "regions": pd.DataFrame({"region": ["r"], "node": ["a"], "timezone": ["UTC"], "subscribers": [1.0]}),
        "sites": pd.DataFrame({"site": ["s", "o"], "node": ["a", "b"], "kind": ["embedded", "origin"]}),
        "appliances": pd.DataFrame(
            {"appliance": ["x"], "site": ["s"], "storage_gb": [storage_gb], "throughput_gbps": [1e6]}
        ),
    }
    network = build_network(table)
    names = [f"v{i}" for i in range(files)]
    catalogue = build_catalogue(
        pd.DataFrame({"title": names}),
        pd.DataFrame({"file": names, "title": names, "profile": "p", "bitrate_kbps": 8000.0, "size_gb": 1.0}),
    )
    trees = site_trees(network)
    routes = steering_routes(network, trees)
    return build_fleet(network, catalogue, trees, routes, region_paths(network, trees, routes))


def stack_distances(wanted):
    """How many different videos were asked for since the last request of this one; None the first time."""
    stack, out = [], []
    for video in wanted:
        out.append(stack.index(video) if video in stack else None)
        if out[-1] is not None:
            del stack[out[-1]]
        stack.insert(0, video)
    return out


@pytest.mark.parametrize("room", [50, 1000, None])
def test_a_day_of_youtube_hits_an_lru_as_its_stack_distances_say(requests, room):
    seconds, video = requests
    today = seconds * 1000 < DAY_MS
    seconds, video = seconds[today][:20_000], video[today][:20_000]
    assert len(video) > 10_000
    files = int(video.max()) + 1
    same = np.zeros(len(video), np.int64)
    sessions = build_sessions((seconds * 1000).astype(np.int64), same, video, same + 200_000, same + 2 * 10**8)
    result = simulate(one_site(files, room or files), sessions, Scheme(label="lru", policy="lru", reactive_share=1.0))
    expected = [d is not None and (room is None or d < room) for d in stack_distances(sessions.file.tolist())]
    assert (result.log.outcome == HIT).tolist() == expected
    totals = result.totals()
    assert totals["fetched_gb"] == totals["backbone_gb"] == len(video) - sum(expected)
    assert totals["request_hit_ratio"] == totals["edge_offload"] == sum(expected) / len(video)
    assert dt.timedelta(seconds=float(seconds[-1])) > dt.timedelta(hours=6)
