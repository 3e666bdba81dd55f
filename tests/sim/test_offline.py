"""Caches that know the future: every choice tried, days by hand, and no cache of a simulation beats them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.batch import simulate
from sim.belady import belady_missed, next_requests
from sim.offline import fewest_misses
from sim.policies import ADMISSIONS, POLICIES
from sim.scheme import Scheme

GB = 10**9


def least(wanted, capacity, held=frozenset()):
    """Every choice of what to keep of the files held and the one that came, tried: files of one byte, none need be admitted."""
    states = {frozenset(kept): 0 for kept in subsets(held, capacity)}
    for file in wanted:
        after = {}
        for holds, missed in states.items():
            cost = missed + (file not in holds)
            for choice in {holds, *(kept | {file} for kept in subsets(holds, capacity - 1))} if capacity else {holds}:
                after[choice] = min(after.get(choice, cost), cost)
        states = after
    return min(states.values())


def subsets(files, most):
    """All sets of at most so many of the files."""
    found = [frozenset()]
    for file in files:
        found += [chosen | {file} for chosen in found if len(chosen) < most]
    return found


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=20), st.integers(0, 3))
def test_with_leave_to_keep_nothing_belady_misses_the_fewest(wanted, capacity):
    file = np.array(wanted, np.int32)
    missed = belady_missed(file, np.ones(len(file), np.int64), next_requests(file, 5), 5, capacity, True)
    assert missed.sum() == least(wanted, capacity)


def test_what_passes_once_does_not_push_out_what_comes_again():
    """Room for one: 0 is asked for between files that come once; a cache that admits all never hits."""
    file = np.array([0, 1, 0, 2, 0], np.int32)
    missed = [belady_missed(file, np.ones(5, np.int64), next_requests(file, 3), 3, 1, b).sum() for b in (False, True)]
    assert missed == [5, 3]


def test_each_site_is_asked_by_the_regions_that_rank_it_first(two_sites_and_origin, make):
    """Room for one file of 2 GB a site: s0 misses files 0 and 1, s1 file 1; the second request for 0 waits in s0."""
    fleet = two_sites_and_origin()
    rows = [(0, 0, 0, 10, 1.0), (1, 0, 1, 10, 0.5), (2, 1, 1, 10, 0.25), (3, 0, 0, 10, 2.0), (4, 1, 1, 10, 0.25)]
    found = fewest_misses(fleet, make.sessions(rows), np.array([2 * GB, 2 * GB, 0]))
    assert found.by_site["site"].tolist() == [0, 1]
    assert found.by_site["sessions"].tolist() == [3, 2]
    assert found.by_site["misses"].tolist() == [2, 1]
    assert found.by_site["gb"].tolist() == [3.5, 0.5]
    assert found.by_site["missed_gb"].tolist() == [1.5, 0.25]
    totals = found.totals()
    assert totals["misses"] == {"content": 3} and totals["bound"] is True
    assert totals["request_hit_ratio"] == pytest.approx(2 / 5)
    assert totals["byte_hit_ratio"] == pytest.approx(1 - 1.75 / 4)


def test_what_the_plan_holds_is_hit_and_takes_no_room_of_the_cache(two_sites_and_origin, make):
    fleet = two_sites_and_origin()
    rows = [(i, 0, file, 10, 1.0) for i, file in enumerate([0, 1, 0, 1])]
    found = fewest_misses(fleet, make.sessions(rows), np.array([2 * GB, 0, 0]), planned=make.placement((0, 1), (1, 0)))
    assert found.by_site["planned_sessions"].tolist() == [2, 0]
    assert found.by_site["misses"].tolist() == [1, 0]


def test_at_midnight_a_cache_holds_the_best_of_yesterday(two_sites_and_origin, make):
    """Room for one. Yesterday ended with file 1; today 0 comes twice, then 2, which nobody had asked for."""
    fleet = two_sites_and_origin()
    yesterday = make.sessions([(i, 0, file, 10, 1.0) for i, file in enumerate([0, 1, 1, 1])])
    today = make.sessions([(i, 0, file, 10, 1.0) for i, file in enumerate([0, 0, 2])])
    room = np.array([2 * GB, 0, 0])
    assert fewest_misses(fleet, today, room).totals()["misses"] == {"content": 2}
    assert fewest_misses(fleet, today, room, warm_up=yesterday).totals()["misses"] == {"content": 1}


def test_files_of_several_sizes_make_no_bound(make):
    network = make.network(
        nodes=2, links=[(0, 1, 10.0, 1.0)], regions=[0, 1], sites=[(0, "embedded"), (1, "origin")], appliances=[(0, 9.0, 1.0)],
    )  # fmt: skip
    fleet = make.fleet(network, make.catalogue([1.0, 2.0, 1.0]))
    room = np.array([2 * GB, 0])
    alike = fewest_misses(fleet, make.sessions([(0, 0, 0, 10, 0.5), (1, 0, 2, 10, 0.5)]), room)
    mixed = fewest_misses(fleet, make.sessions([(0, 0, 0, 10, 0.5), (1, 0, 1, 10, 0.5)]), room)
    assert (alike.totals()["bound"], mixed.totals()["bound"]) == (True, False)
    nobody = fewest_misses(fleet, make.sessions([]), room)
    assert nobody.totals()["request_hit_ratio"] == 0 and nobody.totals()["misses"] == {"content": 0}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), max_size=40),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), max_size=20),
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from(sorted(ADMISSIONS)),
    st.integers(0, 3),
)
def test_no_cache_of_a_simulation_misses_fewer(two_sites_and_origin, make, wanted, before, policy, rule, files):
    """With throughput for all, from cold and from warm caches."""
    fleet = two_sites_and_origin(slots=(1000, 1000), storage_gb=2.0 * files, files=6)
    today, yesterday = (
        make.sessions([(i, region, file, 5, 0.1) for i, (region, file) in enumerate(rows)]) for rows in (wanted, before)
    )
    scheme = Scheme(label=policy, policy=policy, reactive_share=1.0, admission=rule, largest_bytes=2 * GB)
    for warm in (None, yesterday):
        found = fewest_misses(fleet, today, scheme.cache_bytes(fleet), warm_up=warm).totals()
        ran = simulate(fleet, today, scheme, warm_up=warm).totals()
        assert found["misses"]["content"] <= sum(ran["misses"].values())
    by_region = [[file for region, file in wanted if region == r] for r in (0, 1)]
    held = [{file for region, file in before if region == r} for r in (0, 1)]
    assert found["misses"]["content"] == sum(map(least, by_region, [files] * 2, held))
