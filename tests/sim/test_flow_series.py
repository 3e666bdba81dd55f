"""Flows over time against plain loops in whole numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import batch, reference
from sim.scheme import Scheme
from sim.series import SLOT_MS, SLOTS, arc_bytes, arc_slot_loads, peak_bps, slot_loads
from topology.errors import InputError
from topology.routing import Paths

DAY_MS = SLOT_MS * SLOTS
flows = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(-2_000_000, DAY_MS + 10_000), st.integers(1, 4_000_000), st.integers(0, 10**11)
    ),
    min_size=1,
    max_size=12,
)
PATHS = Paths(start=np.array([0, 2, 2, 5]), arcs=np.array([0, 3, 1, 3, 2], np.int32))


def columns(rows):
    return (np.array(column, np.int64) for column in zip(*rows, strict=True))


@given(flows)
def test_the_load_of_every_five_minutes_is_the_flows_overlap(rows):
    group, start, duration, rate = columns(rows)
    got = slot_loads(group, 3, start, start + duration, rate)
    exact = [[0] * SLOTS for _ in range(3)]
    for g, s, d, r in rows:
        for slot in range(max(s // SLOT_MS, 0), min((s + d) // SLOT_MS + 1, SLOTS)):
            overlap = min(s + d, (slot + 1) * SLOT_MS) - max(s, slot * SLOT_MS)
            exact[g][slot] += r * max(overlap, 0)
    assert got.tolist() == exact


@given(flows)
def test_a_flow_loads_every_arc_of_its_path_and_no_other(rows):
    path, start, duration, rate = columns(rows)
    by_path = slot_loads(path, 3, start, start + duration, rate)
    expected = np.zeros((5, SLOTS), np.int64)
    whole = np.zeros(5, np.int64)
    for p in range(3):
        for arc in PATHS.of(p):
            expected[arc] += by_path[p]
            whole[arc] += rate[path == p].sum()
    assert arc_slot_loads(PATHS, path, 5, start, start + duration, rate).tolist() == expected.tolist()
    assert arc_bytes(PATHS, path, rate, 5).tolist() == whole.tolist()


def test_no_flow_is_no_load():
    none = np.zeros(0, np.int64)
    assert arc_slot_loads(PATHS, none, 5, none, none, none).shape == (5, SLOTS)
    assert arc_bytes(PATHS, none, none, 5).tolist() == [0] * 5
    assert peak_bps(none, 2, none, none, none).tolist() == [0, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 10), st.integers(0, 9)), min_size=1, max_size=20
    )
)
def test_the_peak_is_the_highest_sum_at_any_moment(rows):
    site, start, duration, rate = columns(rows)
    expected = [max(sum(r for s, b, d, r in rows if s == k and b <= t < b + d) for t in range(45)) for k in range(3)]
    assert peak_bps(site, 3, start, start + duration, rate).tolist() == expected


def test_whole_bytes_stay_whole_beyond_what_a_float_can_hold():
    size = np.array([2**53 + 1, 2**53 + 1])
    assert arc_bytes(PATHS, np.array([0, 0]), size, 5)[0] == 2**54 + 2


def test_an_even_flow_is_level():
    series = slot_loads(np.array([0]), 1, np.array([0]), np.array([2 * DAY_MS]), np.array([7]), 2 * SLOTS)
    assert series[0].tolist() == [7 * SLOT_MS] * (2 * SLOTS)


@pytest.mark.parametrize("engine", [reference, batch])
def test_a_load_too_large_to_count_is_refused(make, two_sites_and_origin, engine):
    day = make.sessions([(0, 0, 0, 600, 75_000.0)] * 40)  # a Tbit/s each, from the origin
    with pytest.raises(InputError, match="40 Tbit/s"):
        engine.simulate(two_sites_and_origin(), day, Scheme(label="none"))
    within = make.sessions([(5, 0, 0, 290, 725_000.0)] * 2)  # 20 Tbit/s each
    with pytest.raises(InputError, match="39 Tbit/s"):
        engine.simulate(two_sites_and_origin(), within, Scheme(label="none"))
    across = make.sessions([(299.999, 0, 0, 0.002, 5.0), (299.999, 1, 0, 0.002, 5.0)])  # from two regions
    with pytest.raises(InputError, match="40 Tbit/s"):
        engine.simulate(two_sites_and_origin(), across, Scheme(label="none"))
    day = make.sessions([(0, 0, 0, 600, 75_000.0)] * 30)
    assert engine.simulate(two_sites_and_origin(), day, Scheme(label="none")).figures["peak_link_gbps"] == 30_000
