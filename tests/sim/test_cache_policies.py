"""Reactive caches against naive twins, worked examples, laws and Che's approximation."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from sim.policies import POLICIES, make_policy
from topology.errors import InputError

SIZES = [3, 1, 4, 1, 5, 9, 2, 6]
requests = st.lists(st.integers(0, len(SIZES) - 1), max_size=120)
capacities = st.integers(0, 20)


def replay(policy, wanted, sizes):
    """Hits and evictions, request by request."""
    out = []
    for file in wanted:
        hit = policy.access(file)
        out.append((hit, [] if hit else policy.admit(file, sizes[file])))
    return out


def naive_queue(wanted, sizes, capacity, *, move_on_hit):
    queue, out = [], []
    for file in wanted:
        hit, evicted = file in queue, []
        if hit and move_on_hit:
            queue.remove(file)
            queue.append(file)
        if not hit and sizes[file] <= capacity:
            while sum(sizes[f] for f in queue) + sizes[file] > capacity:
                evicted.append(queue.pop(0))
            queue.append(file)
        out.append((hit, evicted))
    return out


def naive_lfu(wanted, sizes, capacity):
    held, out = {}, []  # file -> (count, time of last request)
    for now, file in enumerate(wanted):
        hit, evicted = file in held, []
        if hit:
            held[file] = (held[file][0] + 1, now)
        elif sizes[file] <= capacity:
            while sum(sizes[f] for f in held) + sizes[file] > capacity:
                evicted.append(min(held, key=held.__getitem__))
                del held[evicted[-1]]
            held[file] = (1, now)
        out.append((hit, evicted))
    return out


def naive_s3fifo(wanted, sizes, capacity):
    """The rules over plain lists; small queue a tenth of the bytes, ghost as many bytes of names as the main queue's share."""
    small, main, ghost, count, out, was_full = [], [], [], {}, [], False
    small_room = capacity // 10
    main_room = capacity - small_room

    def bytes_of(queue):
        return sum(sizes[f] for f in queue)

    def evict_from_main(gone):
        while count[main[0]] > 0:
            count[main[0]] -= 1
            main.append(main.pop(0))
        gone.append(main.pop(0))

    def evict_from_small(gone):
        while small:
            file = small.pop(0)
            if count[file] < 2:
                gone.append(file)
                ghost.append(file)
                while bytes_of(ghost) > main_room:
                    ghost.pop(0)
                return
            main.append(file)
            count[file] = 0

    for file in wanted:
        hit, gone = file in small + main, []
        if hit:
            count[file] = min(count[file] + 1, 3)
        elif sizes[file] <= capacity:
            known = file in ghost
            if known:
                ghost.remove(file)
            while bytes_of(small + main) + sizes[file] > capacity:
                was_full = True
                (evict_from_small if small and bytes_of(main) <= main_room else evict_from_main)(gone)
            straight = known or (not was_full and bytes_of(small) >= small_room)
            (main if straight else small).append(file)
            count[file] = 0
        out.append((hit, gone))
    return out


def naive_sieve(wanted, sizes, capacity):
    """The paper's algorithm over a plain list, oldest first; the hand is a place in it."""
    queue, asked, hand, out = [], set(), 0, []
    for file in wanted:
        hit, gone = file in queue, []
        if hit:
            asked.add(file)
        elif sizes[file] <= capacity:
            while sum(sizes[f] for f in queue) + sizes[file] > capacity:
                hand %= len(queue)
                if queue[hand] in asked:
                    asked.remove(queue[hand])
                    hand += 1
                else:
                    gone.append(queue.pop(hand))
                    if hand == len(queue):
                        hand = 0
            queue.append(file)
        out.append((hit, gone))
    return out


@given(st.lists(st.integers(0, 5).flatmap(lambda top: st.integers(0, top + 2)), max_size=200), st.integers(0, 25))
def test_sieve_is_a_queue_with_a_hand(wanted, capacity):
    assert replay(make_policy("sieve", capacity), wanted, SIZES) == naive_sieve(wanted, SIZES, capacity)


def test_sieve_worked_by_hand():
    """Three files of one byte: the hand spares 0, evicts 1, and goes on from 2."""
    cache = make_policy("sieve", 3)
    for file in (0, 1, 2):
        cache.admit(file, 1)
    cache.access(0)
    assert cache.admit(3, 1) == [1]
    cache.access(2)
    assert cache.admit(4, 1) == [3]  # 2 is spared, 3 was never asked for
    assert cache.admit(5, 1) == [0]  # 3 was the newest, so the hand begins again at the oldest, which it spared before
    assert [f for f in range(6) if f in cache] == [2, 4, 5]


@given(st.lists(st.integers(0, 5).flatmap(lambda top: st.integers(0, top + 2)), max_size=200), st.integers(0, 25))
def test_s3fifo_is_three_queues(wanted, capacity):
    assert replay(make_policy("s3fifo", capacity), wanted, SIZES) == naive_s3fifo(wanted, SIZES, capacity)


def test_s3fifo_is_three_queues_over_a_long_run():
    rng = np.random.default_rng(9)
    sizes = rng.integers(1, 9, 300).tolist()
    wanted = (rng.zipf(1.2, 6000) % 300).tolist()
    assert replay(make_policy("s3fifo", 150), wanted, sizes) == naive_s3fifo(wanted, sizes, 150)


@given(requests, capacities)
def test_lru_is_a_queue_that_requests_renew(wanted, capacity):
    assert replay(make_policy("lru", capacity), wanted, SIZES) == naive_queue(wanted, SIZES, capacity, move_on_hit=True)


@given(requests, capacities)
def test_fifo_is_a_queue(wanted, capacity):
    assert replay(make_policy("fifo", capacity), wanted, SIZES) == naive_queue(
        wanted, SIZES, capacity, move_on_hit=False
    )


@given(requests, capacities)
def test_lfu_evicts_the_least_counted_then_the_oldest(wanted, capacity):
    assert replay(make_policy("lfu", capacity), wanted, SIZES) == naive_lfu(wanted, SIZES, capacity)


@pytest.mark.parametrize("name", POLICIES)
@given(requests, capacities)
def test_what_is_held_is_what_was_admitted_and_not_evicted_within_the_capacity(name, wanted, capacity):
    policy, held = make_policy(name, capacity), set()
    for file in wanted:
        hit = policy.access(file)
        assert hit == (file in held)
        if not hit:
            evicted = policy.admit(file, SIZES[file])
            assert len(evicted) == len(set(evicted))
            assert held.issuperset(evicted)
            held -= set(evicted)
            if SIZES[file] <= capacity:
                held.add(file)
        assert policy.used_bytes == sum(SIZES[f] for f in held) <= capacity
        assert {f for f in range(len(SIZES)) if f in policy} == held
        assert len(policy) == len(held)


@pytest.mark.parametrize("name", POLICIES)
@given(requests)
def test_a_cache_for_everything_misses_each_file_once(name, wanted):
    hits = sum(hit for hit, _ in replay(make_policy(name, sum(SIZES)), wanted, SIZES))
    assert hits == len(wanted) - len(set(wanted))


def belady_hits(wanted, capacity):
    held, hits = set(), 0
    for now, file in enumerate(wanted):
        if file in held:
            hits += 1
            continue
        ahead = wanted[now + 1 :]
        if len(held) == capacity:
            held.remove(max(held, key=lambda f: ahead.index(f) if f in ahead else len(wanted)))
        held.add(file)
    return hits


@pytest.mark.parametrize("name", POLICIES)
@given(wanted=st.lists(st.integers(0, 9), max_size=60), capacity=st.integers(1, 8))
def test_no_policy_beats_perfect_foresight(name, wanted, capacity):
    hits = sum(hit for hit, _ in replay(make_policy(name, capacity), wanted, [1] * 10))
    assert hits <= belady_hits(wanted, capacity)


@given(wanted=st.lists(st.integers(0, 9), max_size=100), capacity=st.integers(1, 8))
def test_a_larger_lru_hits_whenever_a_smaller_one_does(wanted, capacity):
    small, large = (replay(make_policy("lru", c), wanted, [1] * 10) for c in (capacity, capacity + 1))
    assert all(b for (a, _), (b, _) in zip(small, large, strict=True) if a)


def test_s3fifo_worked_by_hand():
    """Ten files of one byte: one byte is the small queue's share, nine the main queue's."""
    cache = make_policy("s3fifo", 10)
    for file in range(10):
        assert cache.admit(file, 1) == []  # small: 0, its share; main, while the cache fills: 1 .. 9
    assert cache.admit(10, 1) == [0]  # main holds no more than its share, so small gives: 0's name goes to the ghost
    assert cache.admit(0, 1) == [10]  # remembered: straight to main, which now holds ten
    assert cache.admit(11, 1) == [1]  # main holds more than its share: its first goes; small: 11
    cache.access(11)
    cache.access(11)
    assert cache.admit(12, 1) == [2]  # 11 was asked for twice and moves to main, small is empty: main gives; small: 12
    assert cache.admit(13, 1) == [12]
    cache.access(13)
    assert cache.admit(14, 1) == [13]  # asked for only once
    assert [f for f in range(20) if f in cache] == [0, 3, 4, 5, 6, 7, 8, 9, 11, 14]


def test_s3fifo_gives_a_main_file_as_many_rounds_as_it_was_asked_for():
    cache = make_policy("s3fifo", 3)  # small's share is under one byte, so while the cache fills all go to main
    for file in (0, 1, 2):
        cache.admit(file, 1)
    cache.access(0)
    cache.access(0)
    cache.access(1)
    assert cache.admit(3, 1) == [2]  # 0 and 1 go round; small: 3
    assert cache.admit(4, 1) == [3]
    assert cache.admit(3, 1) == [4]  # remembered: main: 0 (one round left), 1, 3
    assert cache.admit(5, 1) == [1]  # 0 goes round once more
    assert cache.admit(6, 1) == [5]
    assert cache.admit(5, 1) == [6]
    assert cache.admit(7, 1) == [
        3
    ]  # small is empty, so main gives its first that nobody asked for; 0 has no round left
    assert [f for f in range(8) if f in cache] == [0, 5, 7]


def test_s3fifo_forgets_names_beyond_the_main_queues_bytes():
    cache = make_policy("s3fifo", 10)
    for file in range(40):
        cache.admit(file, 1)
    assert [f for f in range(40) if f in cache] == [*range(1, 10), 39]
    assert [f for f in range(40) if f in cache._ghost] == list(range(30, 39))  # nine names of one byte


@pytest.mark.parametrize("name", ["lru", "lfu", "s3fifo"])
def test_a_file_asked_for_all_the_time_stays(name):
    cache, rng = make_policy(name, 20), np.random.default_rng(5)
    hits = 0
    for now in range(3000):
        hits += replay(cache, [0], [1])[0][0]
        replay(cache, [int(rng.integers(1, 1000)) + now], dict.fromkeys(range(5000), 1))
    assert hits == 2999


def test_scans_hurt_s3fifo_less_than_lru():
    rng = np.random.default_rng(2)
    hot = rng.zipf(1.3, 30_000) % 200
    scan = np.arange(30_000) + 1000
    wanted = np.column_stack([hot, scan, scan + 100_000]).ravel().tolist()
    sizes = dict.fromkeys(wanted, 1)
    hits = {name: sum(h for h, _ in replay(make_policy(name, 60), wanted, sizes)) for name in ("lru", "s3fifo", "fifo")}
    assert hits["s3fifo"] > hits["lru"] > hits["fifo"]


@pytest.mark.parametrize("room", [0.02, 0.1, 0.3])
def test_lru_keeps_to_ches_approximation(room):
    """H. Che, Y. Tung, Z. Wang, JSAC 2002: file f is held with probability 1 - exp(-p_f t), t such that the expected bytes fill the cache."""
    rng = np.random.default_rng(1)
    files = 2000
    share = 1 / np.arange(1, files + 1) ** 0.8
    share /= share.sum()
    sizes = rng.integers(50, 150, files)
    capacity = int(room * sizes.sum())
    t = brentq(lambda t: (sizes * -np.expm1(-share * t)).sum() - capacity, 1, 1e8)
    expected = (share * -np.expm1(-share * t)).sum()
    wanted = rng.choice(files, 150_000, p=share).tolist()
    hits = [hit for hit, _ in replay(make_policy("lru", capacity), wanted, sizes.tolist())][50_000:]
    assert np.mean(hits) == pytest.approx(expected, abs=0.006)


def test_lfu_comes_to_hold_the_most_popular_files():
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, 501) ** 1.0
    share /= share.sum()
    wanted = rng.choice(500, 100_000, p=share).tolist()
    lfu, lru = (
        np.mean([hit for hit, _ in replay(make_policy(name, 50), wanted, [1] * 500)][50_000:])
        for name in ("lfu", "lru")
    )
    best = share[:50].sum()  # what holding the fifty most popular for ever would hit
    assert lru + 0.05 < lfu < best + 0.01
    assert lfu > best - 0.05


@pytest.mark.parametrize("name", POLICIES)
def test_a_file_larger_than_the_cache_changes_nothing(name):
    cache = make_policy(name, 10)
    cache.admit(0, 6)
    assert cache.admit(1, 11) == []
    assert (0 in cache, 1 in cache, cache.used_bytes) == (True, False, 6)


@pytest.mark.parametrize("name", POLICIES)
def test_admitting_what_is_held_changes_nothing(name):
    cache = make_policy(name, 10)
    cache.admit(0, 6)
    assert cache.admit(0, 6) == []
    assert cache.used_bytes == 6


def test_an_unknown_policy_names_the_known():
    with pytest.raises(InputError, match="lru, fifo, lfu, s3fifo, sieve"):
        make_policy("mru", 10)


def test_more_room_never_costs_lru_hits_over_a_long_run():
    rng = np.random.default_rng(4)
    wanted = (rng.zipf(1.2, 20_000) % 500).tolist()
    hits = [sum(h for h, _ in replay(make_policy("lru", c), wanted, [1] * 500)) for c in (10, 20, 50, 100, 500)]
    assert all(a < b for a, b in pairwise(hits))
