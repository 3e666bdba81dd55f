"""Flows over time against exact fractions and plain loops."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.series import SLOT_MS, SLOTS, arc_bytes, arc_slot_bytes, peak_bps, slot_bytes
from topology.routing import Paths

DAY_MS = SLOT_MS * SLOTS
flows = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(-2_000_000, DAY_MS + 10_000), st.integers(1, 4_000_000), st.integers(0, 10**12)
    ),
    min_size=1,
    max_size=12,
)
PATHS = Paths(start=np.array([0, 2, 2, 5]), arcs=np.array([0, 3, 1, 3, 2], np.int32))


def columns(rows):
    return (np.array(column, np.int64) for column in zip(*rows, strict=True))


@given(flows)
def test_bytes_of_every_five_minutes_are_the_flows_overlap(rows):
    group, start, duration, size = columns(rows)
    got = slot_bytes(group, 3, start, duration, size)
    exact = [[Fraction(0)] * SLOTS for _ in range(3)]
    for g, s, d, b in rows:
        for slot in range(max(s // SLOT_MS, 0), min((s + d) // SLOT_MS + 1, SLOTS)):
            overlap = min(s + d, (slot + 1) * SLOT_MS) - max(s, slot * SLOT_MS)
            exact[g][slot] += Fraction(b * max(overlap, 0), d)
    assert np.allclose(got, np.array(exact, float), rtol=1e-12, atol=1e-6)


@given(flows)
def test_a_flow_loads_every_arc_of_its_path_and_no_other(rows):
    path, start, duration, size = columns(rows)
    by_path = slot_bytes(path, 3, start, duration, size)
    expected = np.zeros((5, SLOTS))
    whole = np.zeros(5, np.int64)
    for p in range(3):
        for arc in PATHS.of(p):
            expected[arc] += by_path[p]
            whole[arc] += size[path == p].sum()
    assert np.allclose(arc_slot_bytes(PATHS, path, 5, start, duration, size), expected)
    assert arc_bytes(PATHS, path, size, 5).tolist() == whole.tolist()


def test_no_flow_is_no_load():
    none = np.zeros(0, np.int64)
    assert arc_slot_bytes(PATHS, none, 5, none, none, none).shape == (5, SLOTS)
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
    series = slot_bytes(np.array([0]), 1, np.array([0]), np.array([DAY_MS]), np.array([288 * 7]))
    assert series[0] == pytest.approx(np.full(SLOTS, 7.0))
