"""Files to the appliances of a site: bounds against linear programs, limits and relabelling on random sites, balance and moves on sites of a real size."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from benchmarks.appliances import KINDS, integer_bound, measure_synthetic
from cdn.balance import ROOM, Site, fit, least_peak, spread_peak
from cdn.cluster import chances, hash_names

positive = st.floats(0.1, 50)


@st.composite
def sites(draw):
    """1 to 4 appliances, 1 to 8 files; storage and throughput from nothing to plenty."""
    A, F = draw(st.integers(1, 4)), draw(st.integers(1, 8))

    def some(of, n):
        return np.array(draw(st.lists(of, min_size=n, max_size=n)), float)

    limit = st.one_of(st.just(0.0), positive)
    return named(some(limit, A), some(limit, A), some(positive, F), some(limit, F))


def named(storage, throughput, size, peak, appliances=None, files=None):
    names = appliances or [f"a{i}" for i in range(len(storage))], files or [f"f{i}" for i in range(len(size))]
    chance = chances(*(hash_names(pd.Index(n)) for n in names))
    return Site(storage_gb=storage, throughput_gbps=throughput, size_gb=size, peak_gbps=peak, chance=chance)


def least_by_program(site: Site) -> float:
    """The least greatest load over throughput if files could be cut: a linear program over w, the part of each file stored, serving all that is asked of the part."""
    F, A = site.chance.shape
    cost = np.zeros(F * A + 1)
    cost[-1] = 1
    each = np.hstack([np.kron(np.eye(F), np.ones(A)), np.zeros((F, 1))])
    room = np.hstack([np.kron(site.size_gb, np.eye(A)), np.zeros((A, 1))])
    carry = np.hstack([np.kron(site.peak_gbps, np.eye(A)), -site.throughput_gbps[:, None]])
    found = linprog(cost, np.vstack([room, carry]), np.concatenate([site.storage_gb, np.zeros(A)]), each, np.ones(F))
    return found.fun if found.status == 0 else np.inf


@given(sites())
@settings(max_examples=100, deadline=None)
def test_the_bound_is_that_of_the_linear_program(site):
    bound, best = least_peak(site), least_by_program(site)
    if np.isfinite(best):
        assert bound == pytest.approx(best, rel=1e-6, abs=1e-9)


@given(sites(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_the_split_over_copies_is_that_of_the_linear_program(site, seed):
    F, A = site.chance.shape
    where = np.random.default_rng(seed).random((F, A)) < 0.6
    where[np.arange(F), np.arange(F) % A] = True
    throughput = np.maximum(site.throughput_gbps, 0.1)
    cost = np.append(np.zeros(F * A), 1.0)
    each = np.hstack([np.kron(np.eye(F), np.ones(A)), np.zeros((F, 1))])
    carry = np.hstack([np.kron(np.ones(F), np.eye(A)), -throughput[:, None]])
    limits = [(0, None if here else 0) for here in where.ravel()] + [(0, None)]
    best = linprog(cost, carry, np.zeros(A), each, site.peak_gbps, limits).fun
    load = spread_peak(where, site.peak_gbps, throughput)
    assert load.sum() == pytest.approx(site.peak_gbps.sum(), rel=1e-9, abs=1e-9)
    assert (load / throughput).max() == pytest.approx(best, rel=1e-4, abs=1e-9)


@given(sites(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_room_is_kept_and_only_what_finds_none_makes_way(site, random):
    worth = np.array([random.random() for _ in site.size_gb])
    where = fit(site, worth)
    used = where.T @ site.size_gb
    assert (used <= site.storage_gb * (1 + 1e-9)).all()
    out = ~where.any(axis=1)
    gap = (site.storage_gb - used).max() * (1 - 1e-9)
    pushed = site.size_gb[out & (site.size_gb <= gap)].sum()  # for the loads' sake
    assert pushed <= (ROOM * site.storage_gb.sum() if site.throughput_gbps.all() else 0)
    assert (where == fit(site, worth)).all()


@given(sites(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_with_room_to_spare_every_file_is_stored(site, random):
    roomy = dataclasses.replace(site, storage_gb=np.full(len(site.storage_gb), site.size_gb.sum()))
    where = fit(roomy, np.array([random.random() for _ in site.size_gb]))
    assert where.any(axis=1).all()


def test_the_files_least_worth_make_way():
    size, worth = np.ones(200), np.arange(200.0)
    site = named(np.array([60.0, 40.0]), np.array([1.0, 2.0]), size, np.full(200, 0.01))
    out = ~fit(site, worth).any(axis=1)
    assert out.sum() >= 100
    assert worth[out].max() < worth[~out].min()


def large_site(seed, appliances, files, full):
    rng = np.random.default_rng(seed)
    gb, gbps = rng.uniform(20, 200, appliances), rng.uniform(10, 100, appliances)
    size = rng.lognormal(0, 0.8, files)
    size *= full * gb.sum() / size.sum()
    peak = np.arange(1, files + 1) ** -0.9 * 0.8
    return named(gb, gbps, size, peak * gbps.sum() / peak.sum())


@pytest.mark.parametrize("full", [0.5, 0.98])
@pytest.mark.parametrize("appliances", [2, 5, 12])
def test_no_appliance_carries_three_percent_over_the_least_possible(appliances, full):
    site = large_site(appliances, appliances, 800 * appliances, full)
    where = fit(site, site.peak_gbps / site.size_gb)
    assert where.any(axis=1).all()
    load = spread_peak(where, site.peak_gbps, site.throughput_gbps)
    assert (load / site.throughput_gbps).max() <= 1.03 * least_peak(site)


def coarse_site(seed):
    """2 to 6 appliances of unlike kinds with room for 20 files each on the average, a flash one for three or four."""
    rng = np.random.default_rng(seed)
    appliances = int(rng.integers(2, 7))
    gb, gbps = np.array(KINDS)[rng.integers(0, len(KINDS), appliances)].T
    files = 20 * appliances
    size = rng.lognormal(0, 0.8, files)
    peak = np.arange(1, files + 1) ** -0.9 * rng.lognormal(0, 0.3, files)
    return named(gb, gbps, size * 0.95 * gb.sum() / size.sum(), peak * 0.8 * gbps.sum() / peak.sum())


@pytest.mark.parametrize("seed", range(8))
def test_where_appliances_hold_few_files_exchanges_come_near_the_best_that_whole_files_allow(seed):
    """Tests against HiGHS's bound of the mixed-integer program over the files that are stored."""
    site = coarse_site(seed)
    where = fit(site, site.peak_gbps / site.size_gb)
    stored = site.of(np.flatnonzero(where.any(axis=1)))
    assert len(stored.size_gb) >= 0.98 * len(site.size_gb)
    greatest = (spread_peak(where, site.peak_gbps, site.throughput_gbps) / site.throughput_gbps).max()
    best = least_peak(stored)
    assert greatest <= 1.03 * (best if greatest <= 1.03 * best else integer_bound(stored, 10.0))


@given(sites())
@settings(max_examples=60, deadline=None)
def test_the_bound_of_whole_files_lies_between_that_of_cut_files_and_what_is_reached(site):
    where = fit(site, np.ones(len(site.size_gb)))
    stored = site.of(np.flatnonzero(where.any(axis=1)))
    throughput = np.maximum(site.throughput_gbps, 1e-9 * max(site.throughput_gbps.max(), 1))
    if len(stored.size_gb) == 0 or not 0 < least_peak(stored) < np.inf or (site.throughput_gbps == 0).any():
        return
    bound = integer_bound(stored, 10.0)
    reached = (spread_peak(where, site.peak_gbps, throughput) / throughput).max()
    assert least_peak(stored) * (1 - 1e-6) <= bound <= reached * (1 + 2e-3) + 1e-6


@pytest.mark.parametrize(("appliances", "more"), [(2, 0.01), (5, 0.10), (10, 0.07), (20, 0.05)])
def test_few_copies_move_but_those_that_must_when_an_appliance_joins_or_leaves(appliances, more):
    rows = pd.DataFrame([measure_synthetic(appliances, 0.98, seed) for seed in range(3)]).mean()
    assert rows["join_moved"] <= rows["join_ideal"] + more
    assert rows["leave_moved"] <= rows["leave_ideal"] + more


@pytest.mark.parametrize("appliances", [2, 6])
def test_the_next_night_few_files_change_places_and_loads_are_as_even(appliances):
    """Tests a day on which every file's peak changes by a fifth or so and some files go for new ones: what spreads all anew moves many times as much."""
    site, rng = large_site(appliances, appliances, 500 * appliances, 0.97), np.random.default_rng(1)
    files = len(site.size_gb)
    first = site.of(np.arange(int(0.95 * files)))
    held = np.zeros((files, appliances), bool)
    held[: len(first.size_gb)] = fit(first, first.peak_gbps / first.size_gb)
    peak = site.peak_gbps * rng.lognormal(0.0, 0.2, files)
    stays = np.flatnonzero(rng.random(files) > 0.05)
    tonight = dataclasses.replace(site, peak_gbps=peak / peak.sum() * site.peak_gbps.sum(), held=held).of(stays)
    worth = tonight.peak_gbps / tonight.size_gb
    near, anew = fit(tonight, worth), fit(dataclasses.replace(tonight, held=None), worth)
    assert near.any(axis=1).all()
    assert (near.T @ tonight.size_gb <= tonight.storage_gb * (1 + 1e-9)).all()
    load = spread_peak(near, tonight.peak_gbps, tonight.throughput_gbps) / tonight.throughput_gbps
    assert load.max() <= 1.03 * least_peak(tonight)
    were = tonight.held.any(axis=1)
    moved, movable = ((where & ~tonight.held)[were].sum() for where in (near, anew))
    assert moved <= 0.3 * movable


@given(sites(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_same_night_again_moves_nothing_that_must_not(site, random):
    """Tests that limits are kept whatever lies there, and that what is held and even stays."""
    worth = np.array([random.random() for _ in site.size_gb])
    first = fit(site, worth)
    again = fit(dataclasses.replace(site, held=first), worth)
    assert (again.T @ site.size_gb <= site.storage_gb * (1 + 1e-9)).all()
    lost = [(worth * site.size_gb)[~where.any(axis=1)].sum() for where in (first, again)]
    assert lost[1] <= lost[0] + 1e-4 * (worth * site.size_gb).sum() + 1e-9
