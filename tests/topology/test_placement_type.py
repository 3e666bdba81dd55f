"""The placement: sorted, each copy once, origins hold everything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import networks
from topology.placement import Placement


@given(networks(), st.data())
@settings(max_examples=60, deadline=None)
def test_copies_are_sorted_and_single_and_stored_where_they_are(network, data):
    files, appliances = 6, len(network.appliances)
    pair = st.tuples(st.integers(0, max(appliances - 1, 0)), st.integers(0, files - 1))
    copies = data.draw(st.lists(pair)) if appliances else []
    appliance, file = (np.array([c[i] for c in copies], int) for i in (0, 1))
    placement = Placement.of(appliance, file)
    assert list(zip(placement.appliance.tolist(), placement.file.tolist(), strict=True)) == sorted(set(copies))
    assert len(placement) == len(set(copies))
    stored = placement.stored(network, files)
    for s in range(len(network.sites)):
        held = {f for a, f in copies if network.appliance_site[a] == s}
        expected = range(files) if network.is_origin[s] else sorted(held)
        assert np.flatnonzero(stored[s]).tolist() == list(expected)


def test_a_fingerprint_tells_placements_apart_and_knows_no_order():
    one, same, other = (Placement.of(np.array(a), np.array(f)) for a, f in (([0, 1], [2, 3]), ([1, 0], [3, 2]), ([0, 1], [3, 2])))  # fmt: skip
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
