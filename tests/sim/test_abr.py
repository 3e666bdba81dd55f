"""The player by hand, against a twin that lives millisecond by millisecond, and by what must hold of any buffer-based chooser."""

import io
import json
import math
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.abr import Player, build_throughputs, play, read_sabre_traces
from topology.errors import InputError


def play_one(trace, ladder, segments, *, offset=0, **player):
    traces = build_throughputs([trace])
    return play(traces, [0], [offset], [segments], np.array(ladder), [[0, len(ladder)]], Player(**player))


def test_a_full_buffer_waits_for_room():
    """2 Mbit/s, one encode of 1 Mbit/s in segments of 2 s: a second to load each; the buffer holds two."""
    played = play_one([(500, 2000, 0)], [1000], 3, segment_ms=2000, buffer_ms=4000)
    assert played.begin_ms.tolist() == [0, 1000, 3000]  # at 2000 the buffer holds 3 s: a second until a segment fits
    assert (played.startup_ms[0], played.stall_ms[0], played.end_ms[0]) == (1000, 0, 7000)


def test_an_outage_stalls_for_what_the_buffer_did_not_hold():
    """A second of 2 Mbit/s, five of nothing, then 2 Mbit/s again; every request waits 100 ms for its first bit."""
    trace = [(1100, 2000, 100), (5000, 0, 100), (60_000, 2000, 100)]
    played = play_one(trace, [1000], 3, segment_ms=2000, buffer_ms=20_000)
    assert played.begin_ms.tolist() == [0, 1100, 7100]  # 100 ms of waiting fall into the outage
    assert (played.startup_ms[0], played.stall_ms[0]) == (1100, 6000 - 2000)
    assert played.end_ms[0] == 1100 + 4000 + 6000


def test_a_trace_repeats_and_may_begin_anywhere():
    trace = [(1000, 1000, 0), (1000, 3000, 0)]
    assert play_one(trace, [1000], 1, segment_ms=4000, buffer_ms=8000).startup_ms[0] == 2000  # 1 + 3 Mbit
    assert play_one(trace, [1000], 1, segment_ms=4000, buffer_ms=8000, offset=1000).startup_ms[0] == 2000  # 3 + 1
    late = play_one(trace, [1000], 1, segment_ms=4500, buffer_ms=9000, offset=3500)
    assert late.startup_ms[0] == 500 + 1000 + 667  # 1.5 Mbit, 1 Mbit, and 2 Mbit at 3 Mbit/s
    assert play_one(trace, [1000], 1, segment_ms=9000, buffer_ms=18_000).startup_ms[0] == 5000  # twice round and 1 Mbit


def living(trace, ladder, segments, offset, player):
    """The same player, one millisecond after the other."""
    timeline = [(rate, late) for ms, rate, late in trace for _ in range(ms)]
    moment, now, buffered, startup, stall, last, rate = offset, 0, 0, None, 0, 0, 0.0
    rungs, begins = [], []

    def tick():
        nonlocal moment, now, buffered, stall
        moment, now = moment + 1, now + 1
        if buffered:
            buffered -= 1
        elif startup is not None:
            stall += 1
        return timeline[(moment - 1) % len(timeline)][0]

    for _ in range(segments):
        while buffered + player.segment_ms > player.buffer_ms:
            tick()
        most, level = player.buffer_ms / player.segment_ms, buffered / player.segment_ms
        utility = [math.log(x / ladder[0]) + player.gamma_p for x in ladder]
        weight = (most - 1) / utility[-1]
        scores = [(weight * u - level) / x for u, x in zip(utility, ladder, strict=True)]
        chosen = scores.index(max(scores))
        if chosen > last:
            carried = max([m for m, x in enumerate(ladder) if x <= rate], default=0)
            chosen = max(last, min(chosen, carried))
        rungs.append(chosen)
        begins.append(now)
        began, bits = now, ladder[chosen] * player.segment_ms
        for _ in range(timeline[moment % len(timeline)][1]):
            tick()
        while bits > 0:
            bits -= tick()
        startup = now if startup is None else startup
        last, rate = chosen, ladder[chosen] * player.segment_ms / (now - began)
        buffered += player.segment_ms
    return rungs, begins, startup, stall, now + buffered


stretches = st.tuples(
    st.integers(1, 400), st.sampled_from([0, 1, 40, 100, 300, 900, 5000]), st.sampled_from([0, 0, 3, 50])
)


@settings(deadline=None, max_examples=150)
@given(
    trace=st.lists(stretches, min_size=1, max_size=6).filter(lambda t: sum(ms * rate for ms, rate, _ in t) > 3000),
    ladder=st.lists(st.integers(10, 800), min_size=1, max_size=5, unique=True).map(sorted),
    segments=st.integers(1, 12),
    offset=st.integers(0, 3000),
    segment_ms=st.integers(5, 60),
    most=st.integers(2, 6),
)
def test_the_kernel_lives_as_the_milliseconds_do(trace, ladder, segments, offset, segment_ms, most):
    player = Player(segment_ms=segment_ms, buffer_ms=segment_ms * most + 3)
    played = play_one(trace, ladder, segments, offset=offset, segment_ms=segment_ms, buffer_ms=player.buffer_ms)
    ours = (played.rung.tolist(), played.begin_ms.tolist(), played.startup_ms[0], played.stall_ms[0], played.end_ms[0])
    assert ours == living(trace, ladder, segments, offset, player)
    assert played.end_ms[0] == played.startup_ms[0] + played.stall_ms[0] + segments * segment_ms


@settings(deadline=None)
@given(
    st.integers(1, 9).flatmap(lambda n: st.lists(st.floats(1.15, 3), min_size=n, max_size=n)),
    st.integers(100, 40_000),
    st.integers(0, 50),
)
def test_a_constant_throughput_gets_the_encode_below_it_and_never_stalls(steps, throughput, latency):
    ladder = np.rint(100 * np.cumprod(steps)).astype(int)
    played = play_one([(1000, throughput, latency)], ladder, 400)
    settled = played.rung[-100:]
    assert len(set(settled.tolist())) == 1
    carried = [m for m, rate in enumerate(ladder) if rate * (1 + latency / 2000) <= throughput * 0.98]
    below = [m for m, rate in enumerate(ladder) if rate <= throughput]
    assert settled[0] in range(max(carried, default=0), max(below, default=0) + 1)
    if carried:
        assert played.stall_ms[0] == 0


def test_sessions_choose_from_their_own_ladders():
    traces = build_throughputs([[(1000, 2500, 0)], [(1000, 50_000, 0)]])
    ladder = np.array([300, 2000, 4000, 1000, 9000])
    played = play(traces, [0, 1, 1], [0, 0, 700], [200, 200, 200], ladder, [[0, 3], [0, 3], [3, 5]])
    assert played.rung[played.first[1:] - 1].tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"player": Player(segment_ms=0)}, "a player that cannot play"),
        ({"player": Player(buffer_ms=5999)}, "a player that cannot play"),
        ({"segments": [0]}, "without segments"),
        ({"trace": [1]}, "no such moment"),
        ({"offset_ms": [-1]}, "no such moment"),
        ({"ladder_first": [[2, 2]]}, "without encodes"),
        ({"ladder_kbps": [300, 200, 100]}, "out of order"),
        ({"ladder_kbps": [0, 200, 300]}, "out of order"),
    ],
)
def test_what_cannot_be_played_is_named(change, message):
    traces = build_throughputs([[(1000, 2500, 0)]])
    good = {"trace": [0], "offset_ms": [0], "segments": [3], "ladder_kbps": [100, 200, 300], "ladder_first": [[0, 3]]}
    play(traces, **good)
    with pytest.raises(InputError, match=message):
        play(traces, **(good | change))


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_sabres_archive_is_read_by_kind(tmp_path):
    step = {"duration_ms": 5000, "bandwidth_kbps": 320.4, "latency_ms": 20}
    files = {"README.md": "x", "a/3Glogs/b.json": json.dumps([step, step | {"duration_ms": 0}]), "a/3Glogs/a.json": json.dumps([step] * 2),
             "a/hd_fs/c.json": json.dumps([step]), "a/bbb.json": "{}"}  # fmt: skip
    found = read_sabre_traces(archive(tmp_path / "t.tar.gz", files))
    assert list(found) == ["3g", "fixed-hd"]
    assert found["3g"].start.tolist() == [0, 2, 3]  # by name, without the stretch of no length
    assert set(found["3g"].kbps.tolist()) == {320}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": "x"}, "no traces"),
        ({"a/4Glogs/b.json": "[{]"}, "cannot be read"),
        ({"a/4Glogs/b.json": '[{"duration_ms": 5}]'}, "cannot be read.*bandwidth"),
        (
            {"a/4Glogs/b.json": '[{"duration_ms": 5, "bandwidth_kbps": 0, "latency_ms": 1}]'},
            "4g, row 1: the trace never carries a bit",
        ),
        ({"a/4Glogs/b.json": '[{"duration_ms": 5, "bandwidth_kbps": -1, "latency_ms": 1}]'}, "negative"),
    ],
)
def test_what_is_no_archive_of_traces_is_named(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        read_sabre_traces(archive(tmp_path / "t.tar.gz", files))
    with pytest.raises(InputError, match="cannot be read"):
        read_sabre_traces(tmp_path / "gone.tar.gz")
