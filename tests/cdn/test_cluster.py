"""Files to appliances: rendezvous hashing moves only what must move, in proportion to room, and never overfills."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdn.cluster import hash_names, into_appliances, rendezvous_scores
from cdn.errors import InfeasiblePlanError
from cdn.placement.build import build_problem
from cdn.placement.greedy import solve_greedy
from cdn.placement.problem import evaluate, split
from demand.demand import build_demand
from tests.fill_nights import make_catalogue, make_network
from tests.strategies_placement import cases
from topology.placement import Placement

FILES = hash_names(pd.Index([f"file-{i}" for i in range(30_000)]))


def owners(names, weights):
    """The name of the best-scored appliance of each of FILES."""
    scores = rendezvous_scores(hash_names(pd.Index(names)), FILES, np.array(weights, float))
    return np.array(names)[scores.argmax(axis=1)]


def test_files_go_in_proportion_to_room():
    owner = owners(["a", "b", "c", "none"], [1, 2, 5, 0])
    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8), ("none", 0)):
        spread = np.sqrt(share * (1 - share) / len(FILES))
        assert abs((owner == name).mean() - share) <= 4.5 * spread


def test_an_appliance_that_joins_or_leaves_moves_only_its_own_files():
    three, four = owners(["a", "b", "c"], [1, 2, 3]), owners(["a", "b", "c", "d"], [1, 2, 3, 2])
    moved = three != four
    assert set(four[moved]) == {"d"}
    assert abs(moved.mean() - 2 / 8) < 0.02


def test_more_room_only_attracts():
    before, after = owners(["a", "b", "c"], [1, 1, 1]), owners(["a", "b", "c"], [1, 3, 1])
    assert set(after[before != after]) == {"b"}


def test_the_order_of_the_appliances_does_not_matter():
    assert (owners(["a", "b", "c"], [1, 2, 3]) == owners(["c", "a", "b"], [3, 1, 2])).all()


def test_names_hash_as_published():
    """BLAKE2b of 'a' with eight bytes, little-endian, worked out with the reference tool b2sum -l 64."""
    assert hash_names(pd.Index(["a"])).tolist() == [int.from_bytes(bytes.fromhex(B2SUM_A), "little")]


B2SUM_A = "40f89e395b66422f"


def one_site(storage, throughput, sizes, peaks):
    """A site of several appliances, one region that asks for every file, and a plan that stores them all."""
    network = make_network(["UTC"], [(0, gb, 1.0, "02:00", 12.0) for gb in storage])
    network = dataclasses.replace(
        network,
        appliances=network.appliances.assign(throughput_gbps=throughput),
        site_throughput_gbps=np.where(network.is_origin, np.inf, float(np.sum(throughput))),
    )
    catalogue = make_catalogue(sizes)
    files = len(sizes)
    demand = build_demand(
        np.zeros(files, np.int32), np.arange(files, dtype=np.int32), np.array(peaks) * 100.0 + 1, np.array(peaks, float)
    )
    problem = build_problem(network, catalogue, demand, fill_weight=0.0)
    problem = dataclasses.replace(problem, cost_per_gb=np.where(problem.is_origin[problem.site], 10.0, 1.0))
    return network, catalogue, problem, solve_greedy(problem)


def test_a_file_too_hot_for_one_appliance_gets_copies():
    network, catalogue, problem, solution = one_site([10, 10, 10], [1.0, 1.0, 1.0], [1.0, 1.0], [2.5, 0.04])
    placement, final = into_appliances(network, problem, solution, catalogue.file_ids)
    assert np.bincount(placement.file, minlength=2).tolist() == [3, 1]
    assert final is solution


def test_what_lies_there_already_is_not_costed_anew():
    network, catalogue, problem, solution = one_site([10, 10], [1.0, 1.0], [1.0, 1.0], [0.4, 0.4])
    held = Placement.of(np.array([0, 1]), np.array([0, 1]))
    placement, final = into_appliances(network, problem, solution, catalogue.file_ids, held)
    assert (placement.appliance.tolist(), placement.file.tolist()) == ([0, 1], [0, 1])
    assert final is solution


def test_copies_that_carry_the_peak_push_out_the_file_least_worth():
    network, catalogue, problem, solution = one_site([1, 1, 1], [1.0, 1.0, 1.0], [1.0, 1.0], [2.5, 0.4])
    placement, final = into_appliances(network, problem, solution, catalogue.file_ids)
    assert np.bincount(placement.file, minlength=2).tolist() == [3, 0]
    assert final.serving_cost == pytest.approx(251 * 1 + 41 * 10)


def test_a_file_that_fits_on_no_appliance_is_dropped_and_paid_for():
    """Storage comes in pieces: 6 GB fit into 4 + 4 GB only on paper."""
    network, catalogue, problem, solution = one_site([4, 4], [1.0, 1.0], [6.0, 1.0], [0.5, 0.1])
    assert solution.stored[1].all()
    placement, final = into_appliances(network, problem, solution, catalogue.file_ids)
    assert set(placement.file.tolist()) == {1}
    assert final.stored[1].tolist() == [False, True]
    assert final.serving_cost == pytest.approx(51 * 10 + 11 * 1)
    assert final.lower_bound == solution.lower_bound
    assert final.gap == pytest.approx((final.objective_cost - final.lower_bound) / final.objective_cost)


@given(cases())
@settings(max_examples=150, deadline=None)
def test_into_appliances_keeps_every_limit(case):
    """Tests that copies lie at their site, none twice, none over an appliance's room, and that the cost is that of what is stored."""
    network, problem = case.network, case.problem()
    placement, final = into_appliances(network, problem, solve_greedy(problem), case.catalogue.file_ids)
    assert len(set(zip(placement.appliance.tolist(), placement.file.tolist(), strict=True))) == len(placement)
    there = placement.stored(network, problem.files)
    assert (there[~problem.is_origin] == final.stored[~problem.is_origin]).all()
    room = network.appliances["storage_gb"].to_numpy(float) * (1 - case.rules["reactive_share"])
    used = np.bincount(placement.appliance, problem.size_gb[placement.file], len(network.appliances))
    assert (used <= room * (1 + 1e-9)).all()
    costs = evaluate(problem, final.stored, final.shares)
    assert costs.objective == pytest.approx(final.objective_cost, rel=1e-12, abs=1e-12)
    assert (costs.site_load_gbps <= problem.throughput_gbps * (1 + 1e-6) + 1e-9).all()
    row, candidate, _ = split(problem, final.stored, final.shares)
    site = problem.site[problem.region[row], candidate]
    assert (final.stored[site, problem.file[row]] | problem.is_origin[site]).all()


@given(cases(ruled=True))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_appliance_takes_in_more_than_its_own_window(case):
    """Tests that what an appliance does not hold yet fits into its window, that rules are kept, and that cost and gap are of what is stored."""
    network = case.network
    try:
        problem = case.problem()
        solution = solve_greedy(problem)
        placement, final = into_appliances(network, problem, solution, case.catalogue.file_ids, case.held)
    except InfeasiblePlanError as error:
        assert error.limits
        return
    new = set(zip(placement.appliance.tolist(), placement.file.tolist(), strict=True))
    new -= set(zip(case.held.appliance.tolist(), case.held.file.tolist(), strict=True))
    for a, window in enumerate(network.appliances["fill_gbps"] * network.appliances["fill_hours"] * 450):
        taken = sum(problem.size_gb[f] for appliance, f in new if appliance == a)
        assert problem.fill_limit_gb is None or taken <= window * (1 + 1e-9)
    room = network.appliances["storage_gb"].to_numpy(float) * (1 - case.rules["reactive_share"])
    assert (np.bincount(placement.appliance, problem.size_gb[placement.file], len(room)) <= room * (1 + 1e-9)).all()
    edge = ~problem.is_origin
    assert (placement.stored(network, problem.files)[edge] == final.stored[edge]).all()
    assert problem.pinned is None or final.stored[problem.pinned].all()
    assert problem.forbidden is None or not final.stored[problem.forbidden].any()
    if problem.floors is not None:
        for f, g, k in zip(problem.floors.file, problem.floors.group, problem.floors.at_least, strict=True):
            assert final.stored[problem.floors.member[g], f].sum() >= k
    costs = evaluate(problem, final.stored, final.shares)
    assert costs.objective == pytest.approx(final.objective_cost, rel=1e-12, abs=1e-12)
    assert final.gap == pytest.approx(
        (costs.objective - final.lower_bound) / costs.objective if costs.objective else 0.0
    )


def windows_site(windows, held, sizes, peaks, pinned=()):
    """Two or more appliances of 4 GB whose windows bring so many GB; ``held`` pairs of appliance and file lie there already."""
    network, catalogue, problem, _ = one_site([4.0] * len(windows), [1.0] * len(windows), sizes, peaks)
    network = dataclasses.replace(
        network, appliances=network.appliances.assign(fill_gbps=np.array(windows) * 1.001 / 450, fill_hours=1.0)
    )
    held = Placement.of(*np.array(held, int).reshape(-1, 2).T)
    limit = np.where(problem.is_origin, np.inf, float(np.sum(windows)))
    ruled = np.zeros((problem.sites, problem.files), bool)
    ruled[1, list(pinned)] = True
    problem = dataclasses.replace(
        problem,
        fill_limit_gb=limit,
        previous=held.stored(network, len(sizes)) & ~problem.is_origin[:, None],
        pinned=ruled,
    )
    placement, final = into_appliances(network, problem, solve_greedy(problem), catalogue.file_ids, held)
    return {tuple(pair) for pair in np.column_stack([placement.appliance, placement.file]).tolist()}, final


def test_new_files_go_where_there_is_time_to_bring_them():
    copies, _ = windows_site([0.0, 2.0], [(0, 0), (1, 1)], [1.0, 1.0, 1.0, 1.0], [0.1, 0.1, 0.1, 0.1])
    assert copies == {(0, 0), (1, 1), (1, 2), (1, 3)}


def test_the_new_file_least_worth_is_left_out():
    """A site's windows bring 3 GB, but no appliance brings 2 GB beside another: the larger loses to the two that are worth more per GB."""
    copies, final = windows_site([1.5, 1.5], [], [1.0, 2.0, 1.0], [0.2, 0.1, 0.2])
    assert {f for _, f in copies} == {0, 2}
    assert not final.stored[1, 1]


def test_a_pinned_file_takes_the_window_of_what_is_worth_more():
    copies, _ = windows_site([1.0], [], [1.0, 1.0], [0.2, 0.01], pinned=[1])
    assert copies == {(0, 1)}


def test_what_was_to_go_stays_where_the_new_cannot_come():
    copies, final = windows_site([2.0, 2.0], [(0, 1), (1, 2)], [4.0, 3.0, 3.0], [0.9, 0.1, 0.1])
    assert copies == {(0, 1), (1, 2)}
    assert final.fill_cost == 0


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_appliances_and_files_changes_nothing_but_names(case, random):
    """Tests that shuffled tables give the same copies by name."""
    network, problem = case.network, case.problem()
    solution = solve_greedy(problem)
    appliances, files = list(range(len(network.appliances))), list(range(problem.files))
    random.shuffle(appliances)
    random.shuffle(files)
    a, f = np.array(appliances, int), np.array(files)
    shuffled = dataclasses.replace(
        network, appliances=network.appliances.iloc[a].reset_index(drop=True), appliance_site=network.appliance_site[a],
        appliance_ids=network.appliance_ids[a],
    )  # fmt: skip
    new_file = np.argsort(f)[problem.file]
    entries = np.lexsort((problem.region, new_file))
    other = dataclasses.replace(
        problem, size_gb=problem.size_gb[f], previous=problem.previous[:, f], region=problem.region[entries], file=new_file[entries].astype(np.int32),
        gb=problem.gb[entries], peak_gbps=problem.peak_gbps[entries],
        file_start=np.searchsorted(new_file[entries], np.arange(problem.files + 1)).astype(np.int64),
    )  # fmt: skip
    shares = dataclasses.replace(solution.shares, row=np.argsort(entries)[solution.shares.row])
    ids = case.catalogue.file_ids
    first, _ = into_appliances(network, problem, solution, ids)
    second, _ = into_appliances(
        shuffled, other, dataclasses.replace(solution, stored=solution.stored[:, f], shares=shares), ids[f]
    )
    names = [
        set(zip(net.appliance_ids[p.appliance], known[p.file], strict=True))
        for net, p, known in ((network, first, ids), (shuffled, second, ids[f]))
    ]
    assert names[0] == names[1]
