"""Published request traces through the readers and the cache kernels."""

import numpy as np

from sim.replay import replay
from sim.sessions import check_sessions
from sim.traces import read_umass_youtube, sessions_from_requests


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
