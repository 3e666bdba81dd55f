"""The arrays of the problem: nothing copied that need not be, sums as NumPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.placement.greedy import solve_greedy
from cdn.placement.problem import add_up, served_peak, split
from tests.strategies_placement import cases


@given(cases())
@settings(max_examples=80, deadline=None)
def test_the_served_peak_is_that_of_the_shares_written_out(case):
    problem = case.problem()
    solution = solve_greedy(problem)
    expected = np.zeros((problem.sites, problem.files))
    for n, k, share in zip(*split(problem, solution.stored, solution.shares), strict=True):
        expected[problem.site[problem.region[n], k], problem.file[n]] += problem.peak_gbps[n] * share
    peak = served_peak(problem, solution.stored, solution.shares)
    assert peak == pytest.approx(expected[solution.stored], rel=1e-12, abs=1e-15)
    assert expected.sum() == pytest.approx(peak.sum())  # nothing is served by who does not hold it


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1e6)), max_size=40))
def test_sums_by_key_are_those_of_bincount(pairs):
    key = np.array([k for k, _ in pairs], np.int32)
    value = np.array([v for _, v in pairs], float)
    assert (add_up(key, value, 7) == np.bincount(key, value, 7)).all()


@given(cases())
@settings(max_examples=40, deadline=None)
def test_a_demand_without_empty_entries_is_not_copied(case):
    wanted = (case.demand.gb > 0) | (case.demand.peak_gbps > 0)
    problem = case.problem()
    for name in ("region", "file", "gb", "peak_gbps"):
        mine, given_ = getattr(problem, name), getattr(case.demand, name)
        assert (mine == given_[wanted]).all()
        assert not wanted.all() or not len(wanted) or np.shares_memory(mine, given_), name
