"""Quantiles of a demand, and days drawn from its band: the mean stays, the band is met, titles move together."""

import numpy as np
import pytest

from demand.demand import build_demand
from demand.scenarios import demand_quantile, draw_scenarios, mean_demand
from topology.errors import InputError


def demand(n=40, regions=5):
    rng = np.random.default_rng(0)
    region, file = (part.ravel() for part in np.meshgrid(np.arange(regions), np.arange(n), indexing="ij"))
    gb = rng.uniform(1, 50, len(region))
    return build_demand(region, file, gb, gb / 1000, gb * 0.5, gb * 1.6)


TITLES = np.arange(40) // 2


def test_quantiles_lie_on_the_lines_through_the_band():
    d = build_demand(
        np.zeros(2, int),
        np.arange(2),
        np.array([10.0, 4.0]),
        np.array([1.0, 2.0]),
        np.array([6.0, 0.0]),
        np.array([20.0, 4.0]),
    )
    for quantile, gb in ((0.1, [6, 0]), (0.3, [8, 2]), (0.5, [10, 4]), (0.7, [15, 4]), (0.9, [20, 4])):
        made = demand_quantile(d, quantile)
        assert made.gb == pytest.approx(gb)
        assert made.peak_gbps == pytest.approx(np.array([1.0, 2.0]) * gb / d.gb)


def test_drawn_days_have_the_demand_as_their_mean_and_its_band_as_theirs():
    d = demand()
    days = list(draw_scenarios(d, TITLES, 3000, np.random.default_rng(1)))
    gb = np.array([day.gb for day in days])
    assert (gb >= 0).all()
    assert gb.mean(axis=0) == pytest.approx(d.gb, rel=0.05)
    assert mean_demand(days).gb == pytest.approx(gb.mean(axis=0))
    inside = ((d.gb_p10 <= gb) & (gb <= d.gb_p90)).mean()
    assert inside == pytest.approx(0.8, abs=0.03)
    assert [day.peak_gbps for day in days[:2]] == [pytest.approx(day.gb / 1000) for day in days[:2]]


def test_entries_of_a_title_move_together_and_others_do_not():
    d = demand()
    gb = np.array([day.gb for day in draw_scenarios(d, TITLES, 3000, np.random.default_rng(2))])
    entry = {(r, f): i for i, (r, f) in enumerate(zip(d.region.tolist(), d.file.tolist(), strict=True))}
    together = np.corrcoef(gb[:, entry[0, 0]], gb[:, entry[3, 1]])[0, 1]
    apart = np.corrcoef(gb[:, entry[0, 0]], gb[:, entry[0, 2]])[0, 1]
    assert together == pytest.approx(0.5, abs=0.07)
    assert apart == pytest.approx(0.0, abs=0.07)


def test_the_same_seed_draws_the_same_days_and_certain_entries_stay():
    d = demand()
    flat = build_demand(d.region, d.file, d.gb, d.peak_gbps, d.gb, d.gb)
    (same,) = draw_scenarios(flat, TITLES, 1, np.random.default_rng(0))
    assert same.gb == pytest.approx(flat.gb)
    (a,), (b,) = (list(draw_scenarios(d, TITLES, 1, np.random.default_rng(3))) for _ in range(2))
    assert np.array_equal(a.gb, b.gb)


def test_a_demand_without_a_band_and_an_odd_quantile_are_refused():
    bare = build_demand(np.zeros(1, int), np.zeros(1, int), np.ones(1))
    with pytest.raises(InputError, match="no band"):
        demand_quantile(bare, 0.9)
    with pytest.raises(InputError, match="no band"):
        next(draw_scenarios(bare, np.zeros(1, int), 3, np.random.default_rng(0)))
    with pytest.raises(InputError, match=r"0\.1 to 0\.9"):
        demand_quantile(demand(), 0.95)
    with pytest.raises(InputError, match="one or more"):
        next(draw_scenarios(demand(), TITLES, 0, np.random.default_rng(0)))
