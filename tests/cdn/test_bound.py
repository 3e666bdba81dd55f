"""The verifier's own bound: every file's least cost against enumeration, with every rule; the whole against the decomposition's."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.placement.proof import Asked, Prices, Ruled, Ways, least_costs


def random_files(seed, *, sites, regions, files, ruled):
    """Sites 0 to n - 1 and an origin; prices, rules and floors drawn so that all matter."""
    rng = np.random.default_rng(seed)
    S = sites + 1
    origin = np.arange(S) == sites
    K = min(4, sites)
    near = np.array([rng.permutation(sites)[:K] for _ in range(regions)])
    site = np.column_stack([near, np.full(regions, sites)])
    site[rng.random(site.shape) < 0.1] = -1
    site[:, -1] = sites
    cost = np.where(site >= 0, rng.uniform(0.1, 1, site.shape), np.inf)
    cost[:, -1] = rng.uniform(1, 2, regions)
    entries = [np.sort(rng.permutation(regions)[: rng.integers(0, regions + 1)]) for _ in range(files)]
    start = np.cumsum([0, *(len(e) for e in entries)])
    region = np.concatenate([*entries, np.zeros(0)]).astype(np.int64)
    gb, size = rng.lognormal(0, 1, len(region)), rng.uniform(0.5, 3, files)
    asked = Asked(start, region, gb, gb * (rng.random(len(region)) < 0.9), size)
    room = np.where(origin, np.inf, rng.uniform(0.4, 10, S))
    window = np.where(origin, np.inf, rng.uniform(0.4, 10, S)) if ruled else np.full(S, np.inf)
    ways = Ways(site, cost, origin, room, window, np.where(rng.random(S) < 0.9, 1.0, 0.0))
    prices = Prices(rng.uniform(0, 0.3, site.shape), rng.uniform(0, 1, S), rng.uniform(0, 0.5, S))
    edge = ~origin[:, None]
    draw = rng.random((S, files))
    pinned, forbidden = (draw < 0.1 * ruled) & edge, (draw > 1 - 0.1 * ruled) & edge
    half = np.arange(S) < S // 2
    member = np.array([edge[:, 0], edge[:, 0] & half, edge[:, 0] & ~half])
    which = np.sort(rng.choice(3 * files, files if ruled else 0, replace=False))
    rules = Ruled(
        rng.random((S, files)) < 0.3, pinned, forbidden, np.searchsorted(which // 3, np.arange(files + 1)).astype(np.int64),
        rng.integers(1, 3, len(which)), which % 3, member,
    )  # fmt: skip
    return asked, ways, prices, rules


def by_enumeration(f, asked, ways, prices, ruled):
    """The least cost over every set of sites that rules allow; infinite if there is none."""
    S, best = len(ways.origin), np.inf
    for chosen in itertools.product([False, True], repeat=S - 1):
        open_ = np.append(chosen, False)
        allowed = (ways.room >= asked.size[f]) & ((ways.window >= asked.size[f]) | ruled.before[:, f])
        allowed = (allowed & ~ruled.forbidden[:, f]) | ruled.pinned[:, f]
        if (open_ & ~allowed).any() or (ruled.pinned[:, f] & ~open_).any():
            continue
        if any((open_ & ruled.member[ruled.group[q]]).sum() < ruled.least[q] for q in range(*ruled.start[f : f + 2])):
            continue
        total = sum(
            asked.size[f] * (prices.storage[s] + prices.fresh[s] * (not ruled.before[s, f]))
            for s in np.flatnonzero(open_)
        )
        for n in range(*asked.start[f : f + 2]):
            r, gb, peak = asked.region[n], asked.gb[n], asked.peak[n]
            total += min(
                gb * ways.cost[r, k] + peak * prices.toll[r, k]
                for k, s in enumerate(ways.site[r])
                if s >= 0 and (ways.origin[s] or (open_[s] and (peak == 0 or ways.carry[s] > 0)))
            )
        best = min(best, total)
    return best


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_files_cost_what_the_best_set_of_sites_costs(seed, ruled):
    given_ = random_files(seed, sites=6, regions=7, files=4, ruled=ruled)
    least = np.zeros(4)
    assert least_costs(np.arange(4), *given_, 10**6, least) == 0
    for f in range(4):
        best = by_enumeration(f, *given_)
        if np.isfinite(best):
            assert least[f] == pytest.approx(best, rel=1e-9, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_a_tree_cut_short_still_bounds(seed, nodes):
    given_ = random_files(seed, sites=10, regions=14, files=6, ruled=True)
    whole, part = np.zeros(6), np.zeros(6)
    least_costs(np.arange(6), *given_, 10**6, whole)
    least_costs(np.arange(6), *given_, nodes, part)
    assert (part <= whole + 1e-9 * np.abs(whole)).all()
