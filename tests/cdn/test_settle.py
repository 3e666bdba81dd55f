"""A plan cut down to what its night can bring."""

import datetime as dt

import numpy as np
import pytest

from cdn.placement.build import build_problem
from cdn.placement.greedy import solve_greedy
from cdn.plan import make_plan
from cdn.settings import Settings
from cdn.settle import settle
from demand.demand import build_demand
from tests.fill_nights import make_catalogue, make_network, placed

NIGHT = dt.date(2026, 1, 6)
FILLS = 1.0
"""Gbit/s with which an appliance can take in everything of these tests in its window; 1e-6 is too little for any file."""


def settled(appliances, sizes, before, plan):
    """What becomes of a plan, as pairs of appliance and file, and its transfers: one site with (GB, Gbit/s of fill) appliances, one region that asks for every file alike."""
    network = make_network(["UTC"], [(0, gb, gbps, "02:00", 12.0) for gb, gbps in appliances], region="n1")
    catalogue, files = make_catalogue(sizes), len(sizes)
    demand = build_demand(np.zeros(files, np.int32), np.arange(files, dtype=np.int32), np.full(files, 50.0))
    before, plan = placed(*before), placed(*plan)
    problem = build_problem(network, catalogue, demand, previous=before.stored(network, files))
    made = make_plan(
        network, catalogue, demand, problem, plan, solve_greedy(problem), settings=Settings(), seconds=0.0, peak_memory_gb=0.0
    )  # fmt: skip
    made, filled = settle(network, catalogue, made, before, Settings(), NIGHT)
    pairs = zip(made.placement.appliance.tolist(), made.placement.file.tolist(), strict=True)
    return set(pairs), len(filled.schedule)


def test_an_exchange_that_cannot_be_brought_whole_does_not_take_place():
    """Tests two files that were to change places: one cannot come, so the other does not take the room it keeps."""
    before, plan = [(0, 0), (1, 1)], [(1, 0), (0, 1)]
    assert settled([(4.0, FILLS), (4.0, FILLS)], [3.0, 2.0], before, plan) == ({(0, 1), (1, 0)}, 2)
    assert settled([(4.0, FILLS), (4.0, 1e-6)], [3.0, 2.0], before, plan) == ({(0, 0), (1, 1)}, 0)


def test_a_ring_of_exchanges_stays_as_a_whole():
    before, plan = [(0, 0), (1, 1), (2, 2)], [(1, 0), (2, 1), (0, 2)]
    appliances = [(4.0, FILLS), (4.0, FILLS), (4.0, 1e-6)]
    assert settled(appliances, [3.0, 3.0, 3.0], before, plan) == (set(before), 0)


@pytest.mark.parametrize("other", [(2, 3), (3, 3)])
def test_what_is_new_or_moves_elsewhere_is_brought_all_the_same(other):
    """Tests that a new file, and a move in which no late file is concerned, come although an exchange beside them does not."""
    before = [(0, 0), (1, 1), *([(2, 3)] if other == (3, 3) else [])]
    appliances = [(4.0, FILLS), (4.0, 1e-6), (4.0, FILLS), (4.0, FILLS)]
    copies, transfers = settled(appliances, [3.0, 2.0, 1.0, 3.0], before, [(1, 0), (0, 1), other])
    assert copies >= {(0, 0), (1, 1), other} and transfers == 1
