"""Replay of one cache: by hand, against perfect foresight, and against libCacheSim on the same trace."""

import contextlib
import itertools
import os

import libcachesim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.belady import NEVER, next_requests
from sim.policies import ADMISSIONS, make_policy
from sim.replay import REPLAYED, replay
from sim.traces import ORACLE_GENERAL
from topology.errors import InputError

THEIRS = {
    "lru": libcachesim.LRU,
    "fifo": libcachesim.FIFO,
    "lfu": libcachesim.LFU,
    "sieve": libcachesim.Sieve,
    "s3fifo": libcachesim.S3FIFO,
    "belady": libcachesim.Belady,
}


def make_trace(path, *, requests=60_000, files=6_000, alpha=0.8, seed=3, changing=False):
    """A Zipf trace with lognormal sizes of 1 kB to 20 MB, written for libCacheSim; (file, size) of each request."""
    rng = np.random.default_rng(seed)
    share = np.cumsum(1 / np.arange(1, files + 1) ** alpha)
    file = np.searchsorted(share / share[-1], rng.random(requests))
    size = np.clip(rng.lognormal(np.log(50e3), 1.2, files), 1e3, 20e6).astype(np.int64)[file]
    if changing:
        size += rng.integers(0, 20_000, requests)
    records = np.zeros(requests, ORACLE_GENERAL)
    records["time"], records["id"], records["size"] = np.arange(requests) // 50, file * 7 + 3, size
    records["next"] = next_requests(file, files)
    records.tofile(path)
    return file, size


def theirs(path, policy, capacity, admissioner=None):
    """Missed requests and bytes of libCacheSim, which gives ratios."""
    records = np.fromfile(path, ORACLE_GENERAL)
    cache = THEIRS[policy](capacity, admissioner=admissioner)
    reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    requests, size = cache.process_trace(reader)
    return round(requests * len(records)), round(size * int(records["size"].sum()))


@contextlib.contextmanager
def silence():
    """libCacheSim's C code talks to standard error."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


@pytest.fixture(scope="module", params=[(0.6, False), (0.8, True), (1.1, False)], ids=str)
def trace(request, tmp_path_factory):
    alpha, changing = request.param
    path = tmp_path_factory.mktemp("traces") / "zipf.oracleGeneral.bin"
    return path, *make_trace(path, alpha=alpha, changing=changing)


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("policy", ["lru", "fifo", "lfu", "sieve", "belady"])
def test_misses_are_libcachesims_to_the_byte(trace, policy, share):
    path, file, size = trace
    capacity = int(size[np.unique(file, return_index=True)[1]].sum() * share)
    ours = replay(file, size, policy, capacity)
    assert (ours.missed_requests, ours.missed_bytes) == theirs(path, policy, capacity)
    assert 0.05 < ours.request_miss_ratio < 0.97


@pytest.mark.parametrize("policy", ["lru", "sieve"])
@pytest.mark.parametrize(("rule", "largest"), [("second_hit", 0), ("size", 60_000)])
def test_admission_is_libcachesims_to_the_byte(tmp_path, policy, rule, largest):
    path = tmp_path / "zipf.oracleGeneral.bin"
    file, size = make_trace(path)
    with silence():
        rival = (
            libcachesim.BloomFilterAdmissioner() if rule == "second_hit" else libcachesim.SizeAdmissioner(largest + 1)
        )
        expected = theirs(path, policy, 20_000_000, rival)
    ours = replay(file, size, policy, 20_000_000, admission=rule, largest_bytes=largest)
    assert (ours.missed_requests, ours.missed_bytes) == expected


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_s3fifo_misses_are_libcachesims_but_for_files_that_would_fill_its_small_queue(trace, share):
    """Those it never stores; with the same rule of admission ours misses the same, to the byte."""
    path, file, size = trace
    capacity = int(size[np.unique(file, return_index=True)[1]].sum() * share)
    ours = replay(file, size, "s3fifo", capacity, admission="size", largest_bytes=capacity // 10 - 1)
    assert (ours.missed_requests, ours.missed_bytes) == theirs(path, "s3fifo", capacity)
    if size.max() < capacity // 10:
        assert replay(file, size, "s3fifo", capacity) == ours


def test_belady_knows_what_comes():
    """Room for two: at the third request 0 comes back sooner than 1, so 1 goes."""
    missed = {p: replay(np.array([0, 1, 2, 0, 1, 2]), np.ones(6), p, 2).missed_requests for p in ("lru", "belady")}
    assert missed == {"lru": 6, "belady": 4}


def fewest_misses(wanted, capacity):
    """Every choice of what to evict, tried: files of one byte, each admitted."""
    states = {frozenset(): 0}
    for file in wanted:
        after = {}
        for held, missed in states.items():
            if file in held:
                choices, cost = [held], missed
            else:
                rest = [held - {gone} for gone in held] if len(held) == capacity else [held]
                choices, cost = [kept | {file} for kept in rest], missed + 1
            for choice in choices:
                after[choice] = min(after.get(choice, cost), cost)
        states = after
    return min(states.values())


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_belady_misses_the_fewest_of_equal_files(wanted, capacity):
    ours = replay(np.array(wanted, int), np.ones(len(wanted)), "belady", capacity)
    assert ours.missed_requests == fewest_misses(wanted, capacity)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60))
def test_next_requests_are_the_next(wanted):
    ahead = next_requests(np.array(wanted, int), 7).tolist()
    assert ahead == [
        next((j for j in range(i + 1, len(wanted)) if wanted[j] == f), NEVER) for i, f in enumerate(wanted)
    ]


@pytest.mark.parametrize("rule", ADMISSIONS)
@pytest.mark.parametrize("policy", [p for p in REPLAYED if p != "belady"])
@settings(deadline=None, max_examples=50)
@given(wanted=st.lists(st.integers(0, 7), max_size=80), capacity=st.integers(0, 25), largest=st.integers(0, 9))
def test_replay_is_the_class_behind_its_rule(policy, rule, wanted, capacity, largest):
    sizes = [3, 1, 4, 1, 5, 9, 2, 6]
    cache, admission, missed = make_policy(policy, capacity), ADMISSIONS[rule](largest), 0
    for f in wanted:
        if not cache.access(f):
            missed += 1
            if admission.admits(f, sizes[f]):
                cache.admit(f, sizes[f])
    size = np.array(sizes)[np.array(wanted, int)]
    ours = replay(np.array(wanted, int), size, policy, capacity, admission=rule, largest_bytes=largest)
    assert ours.missed_requests == missed
    assert (ours.requests, ours.bytes) == (len(wanted), size.sum())


def test_a_file_keeps_the_size_it_came_with():
    sizes = [6, 9, 6, 9, 4]  # 0 is stored with 6 bytes and asked for as 9; 1 does not fit beside it
    ours = replay(np.array([0, 0, 1, 0, 1]), np.array(sizes), "lru", 10)
    assert (ours.missed_requests, ours.missed_bytes) == (4, 6 + 6 + 9 + 4)


def test_an_empty_trace_misses_nothing():
    for policy in REPLAYED:
        ours = replay(np.zeros(0, int), np.zeros(0, int), policy, 5)
        assert (ours.request_miss_ratio, ours.byte_miss_ratio) == (0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "mru"}, "unknown policy.*belady"),
        ({"admission": "never"}, "unknown admission.*second_hit"),
        ({"policy": "belady", "admission": "size"}, "belady admits every file"),
        ({"capacity_bytes": -1}, "capacity.*negative"),
        ({"capacity_bytes": np.nan}, "capacity.*no number.*nan"),
        ({"admission": "size", "largest_bytes": np.nan}, "largest.*no number.*nan"),
        ({"size_bytes": np.array([1])}, "sizes for 2 requests"),
        ({"size_bytes": np.array([[1], [1]])}, "not one-dimensional"),
    ],
)
def test_what_cannot_be_replayed_is_named(change, message):
    good = {"file": np.array([0, 1]), "size_bytes": np.array([1, 1]), "policy": "lru", "capacity_bytes": 5}
    with pytest.raises(InputError, match=message):
        replay(**(good | change))


@pytest.mark.parametrize("policy", ["lru", "sieve", "belady"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1, -1]), "row 2, column size: negative bytes.*-1"),
        (np.array([1, np.nan]), "row 2, column size: no number.*nan"),
        (np.array([np.inf, 1]), "row 1, column size: no whole number.*inf"),
        (np.array([1, 10.7]), r"row 2, column size: no whole number.*10\.7"),
        (np.array([1, 2.0**54]), "row 2, column size: larger than floats are exact"),
        (
            np.array([1, np.float32(2**25)], np.float32),
            "row 2, column size: larger than floats are exact",
        ),
        (np.array(["1", "2"]), "row 1, column size: no number.*'1'"),
        (np.array([1, None]), "row 2, column size: no number.*None"),
        (np.array([1, 2], "m8[s]"), "row 1, column size: no number"),
        (np.array([1j, 2]), "row 1, column size: no number"),
        (
            np.array([2**62, 2**62]),
            "row 1, column size: more than 922 PB up to here.*4611686018427387904",
        ),
        (np.array([2**59, 2**59]), "row 2, column size: more than 922 PB"),
        (np.array([1, 2**64 - 1], np.uint64), "row 2, column size: more than 922 PB"),
        (np.array([1, 2**70]), "row 2, column size: larger"),
        (np.array([1, 10**400]), "row 2, column size: larger"),
        (np.array([0, -1]), "row 2, column file: negative file number"),
        (np.array([0, 0.5]), "row 2, column file: no whole number"),
        (np.array([0, 1e300]), "row 2, column file: larger than floats are exact"),
        (np.array(["a", "b"]), "row 1, column file: no number.*'a'"),
        (np.array([0, "b"], object), "row 2, column file: no number.*'b'"),
    ],
)
def test_a_row_that_is_no_request_is_named(policy, values, message):
    file, size = (values, np.ones(2)) if "column file" in message else (np.arange(2), values)
    with pytest.raises(InputError, match=message):
        replay(file, size, policy, 5)


@pytest.mark.parametrize("policy", REPLAYED)
def test_files_may_have_any_numbers(policy):
    """As they stand in oracleGeneral, 64 bits without a sign: they miss as the same files numbered from 0 do."""
    rng = np.random.default_rng(6)
    file = (rng.zipf(1.2, 3000) - 1) % 300
    size = rng.integers(1, 100, 300)[file]
    expected = replay(file, size, policy, 1500)
    names = rng.integers(0, 2**63, 300) * 2 + 1  # above 2**63, too
    assert replay(names.astype(np.uint64)[file], size, policy, 1500) == expected
    assert replay(names.astype(np.uint64)[file].astype(object), size, policy, 1500) == expected
    assert replay(file * 2**33, size.astype(float), policy, 1500) == expected
    assert replay(np.array([2**31, 1]), np.array([10, 10]), policy, 100).missed_requests == 2


def test_more_files_than_the_policies_number_are_refused(monkeypatch):
    monkeypatch.setattr("sim.replay.MOST_FILES", 2)
    assert replay(np.array([5, 9, 5]), np.ones(3), "lru", 1).missed_requests == 3
    for file in ([5, 9, 7], [0, 1, 2]):
        with pytest.raises(InputError, match="column file: more than 2 files"):
            replay(np.array(file), np.ones(3), "lru", 1)


@pytest.mark.parametrize("room", [2**63 - 1, 2**70, np.inf])
@pytest.mark.parametrize("policy", REPLAYED)
def test_room_without_end_misses_each_file_once(policy, room):
    size = np.array([3, 2, 3]) * 10**17
    ours = replay(np.array([0, 1, 0]), size, policy, room)
    assert (ours.missed_requests, ours.missed_bytes, ours.bytes) == (2, 5 * 10**17, 8 * 10**17)
    if policy != "belady":
        assert replay(np.array([0, 1, 0]), size, policy, room, admission="size", largest_bytes=room) == ours


def test_more_room_never_costs_belady_or_lru_hits():
    rng = np.random.default_rng(8)
    file = (rng.zipf(1.2, 20_000) - 1) % 400
    for policy in ("lru", "belady"):
        missed = [replay(file, np.ones(len(file)), policy, c).missed_requests for c in (1, 10, 50, 200, 400)]
        assert all(a > b for a, b in itertools.pairwise(missed))
