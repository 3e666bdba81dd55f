"""Encode mixes, and sessions split where they switch."""

import numpy as np
import pandas as pd
import pytest

from demand.catalogue import build_catalogue
from demand.laws import load_laws
from sim.abr import KINDS, Player, build_throughputs
from sim.encode_mix import expected_rebuffering, load_mix, measure_mix, region_mix, switch_by_access, switch_encodes
from sim.sessions import DAY_MS, build_sessions, check_sessions
from topology.errors import InputError

STEADY = build_throughputs([[(1000, 3000, 0)]])
UNSTEADY = build_throughputs(
    [[(60_000, 12_000, 20), (45_000, 700, 20)], [(30_000, 2500, 60), (90_000, 0, 60), (30_000, 4000, 60)]]
)


def test_a_steady_line_gets_one_encode_after_the_start():
    mix = measure_mix(
        {"steady": STEADY}, np.array([500.0, 2000, 8000]), minutes=60, each=3, rng=np.random.default_rng(1)
    )
    assert mix.share[0, 2] == 0
    assert mix.share[0, 1] > 0.98
    assert mix.mean_kbps[0] == pytest.approx(mix.share[0] @ [500, 2000, 8000])
    assert (mix.rebuffer_ratio[0], mix.sessions[0]) == (0, 3)
    assert mix.switches_per_minute[0] == pytest.approx(1 / 60)
    assert mix.startup_ms[0] == 500  # three seconds of 500 kbit/s at 3 Mbit/s


def test_the_mix_that_comes_with_the_project_is_one():
    mix = load_mix()
    assert mix.kinds == KINDS == tuple(load_laws().throughput.kinds)
    assert mix.share.shape == (len(KINDS), len(mix.bitrate_kbps))
    assert mix.share.sum(axis=1) == pytest.approx(1)
    assert mix.mean_kbps == pytest.approx(mix.share @ mix.bitrate_kbps, rel=1e-3)
    slow, fast = mix.kinds.index("3g"), mix.kinds.index("4g")
    assert mix.mean_kbps[slow] < mix.mean_kbps[fast]
    assert mix.rebuffer_ratio[slow] > mix.rebuffer_ratio[fast]


def test_a_region_mixes_its_kinds_of_access():
    mix = load_mix()
    regions = region_mix(mix, np.array([[1, 0, 0, 0], [2, 2, 0, 0], [1, 1, 1, 1]]))
    assert regions[0] == pytest.approx(mix.share[0])
    assert regions[1] == pytest.approx((mix.share[0] + mix.share[1]) / 2)
    assert regions.sum(axis=1) == pytest.approx(1)
    for wrong in (np.ones((2, 3)), -np.ones((2, 4)), np.zeros((1, 4))):
        with pytest.raises(InputError, match="access"):
            region_mix(mix, wrong)


@pytest.fixture
def catalogue():
    """Title a at 500, 2000 and 8000 kbit/s, title b at 1000 alone; files are not in the order of their rates."""
    rows = [("a.2000", "a", 2000.0), ("b.1000", "b", 1000.0), ("a.8000", "a", 8000.0), ("a.500", "a", 500.0)]
    files = pd.DataFrame(rows, columns=["file", "title", "bitrate_kbps"]).assign(size_gb=1.0)
    return build_catalogue(pd.DataFrame({"title": ["a", "b"]}), files.assign(profile=files["file"]))


def test_a_session_on_a_steady_line_switches_once(catalogue):
    whole = build_sessions(
        np.array([5000, 7000]), np.array([1, 0]), np.array([2, 1]), np.array([61_000, 10_000]), np.array([9, 9])
    )
    pieces = switch_encodes(whole, catalogue, STEADY, np.random.default_rng(0))
    assert pieces.file.tolist() == [3, 1, 0]  # a begins at 500, b has one encode only, a goes on at 2000
    first = int(pieces.duration_ms[0])
    assert first % 3000 == 0
    assert pieces.start_ms.tolist() == [5000, 7000, 5000 + first]
    assert pieces.duration_ms.tolist() == [first, 10_000, 61_000 - first]
    assert pieces.bytes.tolist() == [500 * first // 8, 1_250_000, 2000 * (61_000 - first) // 8]
    assert pieces.region.tolist() == [1, 0, 1]


def test_pieces_last_as_long_as_their_sessions_and_stay_within_the_day(catalogue):
    rng = np.random.default_rng(4)
    count = 400
    whole = build_sessions(
        rng.integers(DAY_MS - 3_600_000, DAY_MS, count), rng.integers(0, 3, count), rng.integers(0, 4, count),
        rng.integers(1, 1_800_000, count), np.ones(count, int),
    )  # fmt: skip
    pieces = switch_encodes(whole, catalogue, UNSTEADY, rng, Player(segment_ms=2000))
    check_sessions(pieces, 3, 4)
    assert len(pieces) > 2 * count
    assert pieces.duration_ms.sum() == whole.duration_ms.sum()
    rate = catalogue.bitrate_kbps[pieces.file]
    assert pieces.bytes == pytest.approx(rate * pieces.duration_ms / 8, abs=0.51)
    for region in range(3):
        for title in range(2):
            a, b = whole.region == region, pieces.region == region
            a, b = a & (catalogue.title_of[whole.file] == title), b & (catalogue.title_of[pieces.file] == title)
            assert whole.duration_ms[a].sum() == pieces.duration_ms[b].sum()


def test_the_same_seed_gives_the_same_pieces(catalogue):
    whole = build_sessions(
        np.zeros(50, int), np.zeros(50, int), np.zeros(50, int), np.full(50, 600_000), np.ones(50, int)
    )
    a, b, c = (switch_encodes(whole, catalogue, UNSTEADY, np.random.default_rng(s)) for s in (1, 1, 2))
    assert a.bytes.tolist() == b.bytes.tolist() != c.bytes.tolist()


@pytest.mark.parametrize("at_once", [1000, 64])
def test_sessions_switch_by_kinds_of_access(catalogue, monkeypatch, at_once):
    monkeypatch.setattr("sim.encode_mix.AT_ONCE", at_once)
    stalling = build_throughputs([[(10_000, 1000, 0), (20_000, 0, 0)]])
    whole = build_sessions(
        np.arange(400), np.zeros(400, int), np.zeros(400, int), np.full(400, 600_000), np.ones(400, int)
    )
    throughputs = {"steady": STEADY, "stalling": stalling}
    pieces, stall_ms = switch_by_access(whole, catalogue, throughputs, ["steady", "stalling"], np.random.default_rng(2))
    assert pieces.duration_ms.sum() == whole.duration_ms.sum()
    low, high = (
        switch_by_access(whole, catalogue, throughputs, [kind], np.random.default_rng(2))[1].sum()
        for kind in ("steady", "stalling")
    )
    assert low == 0 < high
    assert stall_ms.sum() == pytest.approx(high / 2, rel=0.15)
    assert len(stall_ms) == len(pieces)
    assert not stall_ms[
        pieces.start_ms >= 600
    ].any()  # all sessions start before: what stood still stands at first pieces
    with pytest.raises(InputError, match="steady, stalling"):
        switch_by_access(whole, catalogue, throughputs, ["3g"], np.random.default_rng(2))


def test_what_access_stalls_is_the_mean_of_its_kinds():
    mix = load_mix()
    assert expected_rebuffering(mix.kinds) == pytest.approx(mix.rebuffer_ratio.mean())
    with pytest.raises(InputError, match="no such kind"):
        expected_rebuffering(["satellite"])
