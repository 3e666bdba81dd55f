"""The kernels' caches do request for request what the policies of sim.policies do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches import CAPACITY, KERNEL_POLICIES, USED, access, admit, contains, empty_caches
from sim.policies import make_policy

SIZES = np.array([1, 2, 3, 5, 8, 13, 2, 1], np.int64)


@pytest.mark.parametrize("name", KERNEL_POLICIES)
@settings(deadline=None)  # the first call compiles
@given(capacity=st.integers(0, 20), requests=st.lists(st.integers(0, len(SIZES) - 1), max_size=120))
def test_the_same_hits_and_the_same_victims(name, capacity, requests):
    policy, twin = KERNEL_POLICIES[name], make_policy(name, capacity)
    metas, nodes = empty_caches(np.array([3, capacity]), len(SIZES))
    meta, node = metas[1], nodes[1]
    evicted = np.zeros(len(SIZES), np.int32)
    for file in requests:
        hit = access(policy, meta, node, file)
        assert hit == twin.access(file)
        if not hit:
            count = admit(policy, meta, node, SIZES, file, evicted)
            assert evicted[:count].tolist() == twin.admit(file, int(SIZES[file]))
        assert [contains(node, f) for f in range(len(SIZES))] == [f in twin for f in range(len(SIZES))]
        assert (meta[CAPACITY], meta[USED]) == (capacity, twin.used_bytes)
    assert not nodes[0].any(), "another site's cache was touched"
