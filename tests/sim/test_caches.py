"""The cache kernels against the readable classes: every request, every eviction, many caches at once."""

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches import (
    KERNEL_ADMISSIONS,
    KERNEL_POLICIES,
    USED,
    access,
    admit,
    admits,
    contains,
    empty_caches,
    empty_memory,
)
from sim.policies import ADMISSIONS, make_policy

CAPACITIES = [0, 1, 7, 20, 31]
SALT = np.random.default_rng(0).integers(1, 2**64 - 1, 600, np.uint64)
sizes = st.lists(st.integers(0, 9), min_size=8, max_size=8)
requests = st.lists(
    st.tuples(st.integers(0, len(CAPACITIES) - 1), st.integers(0, 7).flatmap(lambda top: st.integers(0, top))),
    max_size=250,
)


@nb.njit
def replay(policy, meta, node, ring, sizes, cache, file):
    """Hits, and a hash of what caches hold after each request, a bit a cache."""
    hits, holds, flags = np.zeros(len(file), np.bool_), np.zeros(len(file), np.uint64), np.zeros(len(sizes), np.uint64)
    for i in range(len(file)):
        hits[i] = access(policy, meta[cache[i]], node[cache[i]], ring[cache[i]], file[i])
        if not hits[i]:
            admit(policy, meta[cache[i]], node[cache[i]], ring[cache[i]], sizes, file[i], flags, 1 << cache[i])
        holds[i] = np.sum(flags * SALT[: len(sizes)])
    return hits, holds


def replay_classes(policy, capacities, size, cache, file):
    caches = [make_policy(policy, c) for c in capacities]
    hits, holds, flags = [], [], np.zeros(len(size), np.uint64)
    for c, f in zip(cache, file, strict=True):
        hits.append(caches[c].access(f))
        went = [] if hits[-1] else caches[c].admit(f, size[f])
        flags[went] &= ~np.uint64(1 << c)
        flags[f] |= np.uint64((f in caches[c]) << c)
        holds.append(np.sum(flags * SALT[: len(size)]))
    return caches, hits, holds


def compare(policy, capacities, size, cache, file):
    code = KERNEL_POLICIES[policy]
    caches, hits, holds = replay_classes(policy, capacities, size, cache, file)
    for by_file in (False, True):
        meta, node, ring = empty_caches(code, np.array(capacities), len(size), by_file=by_file)
        ours = replay(code, meta, node, ring, np.array(size), np.array(cache, np.int64), np.array(file, np.int64))
        assert ours[0].tolist() == hits
        assert (ours[1] == np.array(holds, np.uint64)).all()
        for c, twin in enumerate(caches):
            assert [f for f in range(len(size)) if contains(node[c], f)] == [f for f in range(len(size)) if f in twin]
            assert meta[c, USED] == twin.used_bytes
    return hits


@pytest.mark.parametrize("policy", KERNEL_POLICIES)
@settings(deadline=None)  # the first call compiles
@given(size=sizes, asked=requests)
def test_kernels_do_what_the_classes_do(policy, size, asked):
    compare(policy, CAPACITIES, size, [c for c, _ in asked], [f for _, f in asked])


@pytest.mark.parametrize("policy", KERNEL_POLICIES)
def test_kernels_do_what_the_classes_do_over_a_long_run(policy):
    rng = np.random.default_rng(11)
    size = rng.integers(1, 40, 600)
    file = (rng.zipf(1.15, 30_000) - 1) % 600
    cache = rng.integers(0, 3, 30_000)
    hits = compare(policy, [300, 1500, 6000], size.tolist(), cache.tolist(), file.tolist())
    assert 0.1 < np.mean(hits) < 0.9


@pytest.mark.parametrize("policy", KERNEL_POLICIES)
def test_a_file_that_fills_the_cache_pushes_all_others_out(policy):
    compare(policy, [10], [2, 2, 2, 2, 2, 10], [0] * 10, [0, 1, 2, 3, 4, 5, 0, 5, 5, 0])


@pytest.mark.parametrize("rule", KERNEL_ADMISSIONS)
@settings(deadline=None)
@given(asked=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 7)), max_size=80), largest=st.integers(0, 9))
def test_rules_of_admission_do_what_the_classes_do(rule, asked, largest):
    sizes, code = np.array([1, 9, 4, 5, 6, 0, 3, 8]), KERNEL_ADMISSIONS[rule]
    memory, twins = empty_memory(code, 2, 8), [ADMISSIONS[rule](largest) for _ in range(2)]
    admitted = [admits(code, largest, memory[c], sizes, f) for c, f in asked]
    assert admitted == [twins[c].admits(f, int(sizes[f])) for c, f in asked]


@given(st.lists(st.integers(0, 7), max_size=80))
def test_second_hit_lets_in_what_was_asked_for_before(wanted):
    rule = ADMISSIONS["second_hit"](0)
    assert [rule.admits(f, 1) for f in wanted] == [f in wanted[:i] for i, f in enumerate(wanted)]


def test_the_rule_by_size_lets_in_up_to_its_threshold():
    rule = ADMISSIONS["size"](5)
    assert [rule.admits(f, size) for f, size in enumerate([4, 5, 6])] == [True, True, False]
