"""Published request traces through the readers and the cache kernels."""

import numpy as np
import pandas as pd

from sim.replay import replay
from sim.sessions import check_sessions
from sim.traces import read_umass_youtube, sessions_from_requests
from tests.command import fillplan
from topology.tables import write_table


def test_umass_youtube(shared_data):
    """37,500 lines: 89 are not GETVIDEO, 2,375 name a host instead of a video, the last of which was cut off."""
    trace = read_umass_youtube(shared_data / "umass_youtube" / "youtube.parsed.012908.S1.dat.gz")
    assert len(trace) == 37_500 - 89 - 2_375
    assert trace.time_s[-1] - trace.time_s[0] < 86_400.0
    assert not any("&" in video or video.startswith("ash-") for video in trace.file_ids)
    missed = {p: replay(trace.file, trace.size_bytes, p, 1000).request_miss_ratio for p in ("fifo", "lru", "belady")}
    assert missed["belady"] < missed["lru"] < missed["fifo"]
    everything = replay(trace.file, trace.size_bytes, "lru", trace.files)
    assert everything.missed_requests == trace.files == len(np.unique(trace.file))
    sessions = sessions_from_requests(trace, regions=20, bitrate_kbps=320.0)
    check_sessions(sessions, 20, trace.files)
    assert len(sessions) == len(trace)


def test_umass_youtube_on_the_command_line(shared_data, tmp_path):
    """Imported into a network of one edge site, LRU hits as often as in one cache by itself, and caches that know the future the more."""
    path = shared_data / "umass_youtube" / "youtube.parsed.012908.S1.dat.gz"
    for name, row in {
        "nodes": {"node": "n", "lat": 42.4, "lon": -72.5},
        "regions": {"region": "campus", "node": "n", "timezone": "America/New_York", "subscribers": 1},
        "appliances": {"appliance": "a", "site": "edge", "model": "m", "storage_gb": 10.0, "throughput_gbps": 1e3, "fill_gbps": 1.0,
                       "fill_start": "02:00", "fill_hours": 12.0},
    }.items():  # fmt: skip
        write_table(pd.DataFrame([row]), tmp_path / f"net/{name}.csv")
    links = "link,source,target,capacity_gbps,length_km,cost_per_gb\n"
    (tmp_path / "net/links.csv").write_text(links)
    sites = {"site": ["edge", "home"], "node": "n", "kind": ["embedded", "origin"]}
    write_table(pd.DataFrame(sites), tmp_path / "net/sites.csv")
    steering = {"region": "campus", "site": ["edge", "home"], "rank": [1, 2], "cost_per_gb": [0.0, 1.0]}
    write_table(pd.DataFrame(steering), tmp_path / "net/steering.csv")
    trace = read_umass_youtube(path)
    video = trace.file_ids[0]
    write_table(pd.DataFrame([{"region": "campus", "file": video, "gb": 1.0}]), tmp_path / "demand.csv")
    for line in (
        f"import trace {path} net --start 2008-01-29 --object-mb 10 --bitrate-kbps 320",
        "place net --demand demand.csv --method greedy -o plan",
        "simulate net --plan plan --playback 2008-01-29 --policy lru --policy belady --json",
    ):
        ran = fillplan(line, cwd=tmp_path)
        assert ran.status == 0, (line, ran.err)
    missed = {p: replay(trace.file, trace.size_bytes, p, 1000).missed_requests for p in ("lru", "belady")}
    document = ran.document
    assert document["sessions"] == len(trace)
    assert document["policies"]["lru"]["misses"] == {"content": missed["lru"], "not_yet_filled": 0, "health": 0}
    least = document["offline"]["belady"]["misses"]["content"]
    assert trace.files <= least < missed["belady"] < missed["lru"]
