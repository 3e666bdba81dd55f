"""Reconciliation on a tree, held to the matrix formula of MinT and to sums."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

from demand.forecast import Reconciled, build_known
from demand.forecast.hierarchy import merged_regions, reconcile
from tests.drawn_logs import START, dense, draw, regions_frame

PARENT = np.array([-1, 0, 0, 0, 1, 1, 2, 2, 2, 3])


def by_matrices(base, variance):
    """b = (S' W^-1 S)^-1 S' W^-1 y, with the summing matrix S of the tree."""
    leaves = [i for i in range(len(PARENT)) if i not in PARENT]
    S = np.zeros((len(PARENT), len(leaves)))
    for column, leaf in enumerate(leaves):
        node = leaf
        while node >= 0:
            S[node, column] = 1
            node = PARENT[node]
    W = np.diag(1 / variance)
    return S @ np.linalg.solve(S.T @ W @ S, S.T @ W @ base)


@pytest.mark.parametrize("seed", range(5))
def test_the_tree_walk_is_the_matrix_formula(seed):
    rng = np.random.default_rng(seed)
    base = rng.uniform(50, 100, (10, 7))
    base[0], base[1:4] = base[0] * 6, base[1:4] * 2
    variance = rng.uniform(0.5, 20, (10, 7))
    made = reconcile(PARENT, base, variance)
    for t in range(7):
        assert made[:, t] == pytest.approx(by_matrices(base[:, t], variance[:, t]), rel=1e-9)


def test_sums_hold_and_nothing_is_negative_even_where_the_levels_disagree_wildly():
    rng = np.random.default_rng(0)
    base = rng.exponential(10, (10, 50)) * (rng.random((10, 50)) < 0.7)
    made = reconcile(PARENT, base, rng.uniform(0.01, 50, (10, 50)))
    assert (made >= 0).all()
    for node in range(4):
        assert made[node == PARENT].sum(axis=0) == pytest.approx(made[node], abs=1e-9)


def test_forecasts_of_world_countries_regions_and_files_add_up():
    drawn = draw(days=28)
    frame = regions_frame(6).assign(country=["x", "x", "y", "y", "y", "z"])
    forecaster = Reconciled(known=build_known(drawn.catalogue, frame)).fit(drawn.history)
    date = START + dt.timedelta(days=28)
    world, countries, regions = forecaster.levels(date)
    assert countries.sum(axis=0) == pytest.approx(world)
    assert regions[:2].sum(axis=0) == pytest.approx(countries[0])
    assert regions[5] == pytest.approx(countries[2])
    files = dense(forecaster.predict(date), 6, 120)
    assert files.reshape(6, 40, 3).sum(axis=2) == pytest.approx(regions, rel=1e-4, abs=1e-4)


def test_merged_regions_keep_every_byte():
    history = draw(days=10).history
    merged = merged_regions(history, np.array([0, 0, 1, 1, 1, 0]))
    assert merged.regions == 2
    assert merged.gb.sum() == pytest.approx(history.gb.sum())
    assert merged.hourly_gb.sum(axis=2)[:, 0] == pytest.approx(history.hourly_gb.sum(axis=2)[:, [0, 1, 5]].sum(axis=1))
    assert dataclasses.replace(merged).dates == history.dates
