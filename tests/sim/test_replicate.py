"""Replications and key sampling: intervals that cover, and draws that do not depend on the number of workers."""

import datetime as dt

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from demand.demand import build_demand
from sim.batch import simulate
from sim.draw import draw_sessions
from sim.replicate import interval, intervals, replicate
from sim.sampling import (
    degrees_of_freedom,
    estimate,
    halves,
    sample_titles,
    sampled,
    sampled_ratios,
    slowed,
)
from sim.scheme import Fills, Rules, Scheme
from topology.errors import InputError

FILES = 400


@pytest.fixture(scope="module")
def week(make):
    """A line of two sites and an origin, full at times; a few hundred titles with a steep popularity."""
    network = make.network(
        nodes=3,
        links=[(0, 1, 100.0, 1.0), (1, 2, 200.0, 2.0)],
        regions=[0, 1],
        sites=[(0, "embedded"), (1, "embedded"), (2, "origin")],
        appliances=[(0, 100.0, 0.5), (1, 100.0, 0.5)],
    )
    catalogue = make.catalogue([2.0] * FILES)
    rng = np.random.default_rng(3)
    gb = rng.permutation(np.arange(1, FILES + 1) ** -0.6)
    demand = build_demand(np.repeat([0, 1], FILES), np.tile(np.arange(FILES), 2), np.tile(gb / gb.sum() * 4000, 2))
    return network, catalogue, demand, make.fleet(network, catalogue)


def schemes(make):
    rng = np.random.default_rng(4)
    copies = {(int(a), int(f)) for a, f in rng.integers(0, [[2, FILES]], (120, 2))}
    yield Scheme(label="plan", placement=make.placement(*copies))
    yield Scheme(label="lru", policy="lru", reactive_share=1.0)


def test_replications_are_paired_and_do_not_depend_on_the_workers(make, week):
    network, catalogue, demand, fleet = week
    kept = []

    def run(rng):
        day = draw_sessions(demand, network, catalogue, rng, date=dt.date(2026, 1, 5))
        figures = {scheme.label: simulate(fleet, day, scheme).totals() for scheme in schemes(make)}
        kept.append(figures)
        return figures

    one, two = (replicate(run, 4, seed=11, workers=workers) for workers in (1, 2))
    assert one.equals(two)
    one = intervals(one)
    offload = {name: [figures[name]["edge_offload"] for figures in kept[:4]] for name in ("plan", "lru")}
    row = one[(one["scheme"] == "lru") & (one["metric"] == "edge_offload")].iloc[0]
    alone, pair = ttest_1samp(offload["lru"], 0), ttest_rel(offload["lru"], offload["plan"])
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(alone.confidence_interval()))
    assert (row["delta_low"], row["delta_high"]) == pytest.approx(tuple(pair.confidence_interval()))
    assert "misses.content" in set(one["metric"])
    assert (one.loc[one["scheme"] == "plan", ["delta", "delta_low", "delta_high"]] == 0).all(axis=None)


def test_an_interval_covers_its_mean_95_times_in_a_hundred():
    rng = np.random.default_rng(0)
    ends = np.array([interval(rng.normal(5, 2, 6))[1:] for _ in range(2000)])
    covered = ((ends[:, 0] < 5) & (ends[:, 1] > 5)).mean()
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_replication_has_no_interval():
    with pytest.raises(InputError, match="no interval"):
        replicate(lambda _: {}, 1)


def test_all_titles_are_the_whole_simulation_without_error(make, week):
    network, catalogue, demand, fleet = week
    day = draw_sessions(demand, network, catalogue, np.random.default_rng(1), date=dt.date(2026, 1, 5))
    kept = sample_titles(FILES, 1.0, np.random.default_rng(2))
    for scheme in schemes(make):
        whole, part = simulate(fleet, day, scheme), sampled(fleet, day, catalogue.title_of, kept)
        result = simulate(*part, scheme, keep_log=True)
        assert result.totals() == whole.totals()
        ratios = sampled_ratios(*part, result.log, catalogue.title_of, kept, day).set_index("metric")
        assert (ratios["standard_error"] == 0).all()
        for metric in ratios.index:
            assert ratios.loc[metric, "value"] == pytest.approx(whole.totals()[metric])


def test_fills_of_a_sample_take_the_share_of_throughput_that_all_take_of_the_whole(make):
    network = make.network(
        nodes=2,
        links=[(0, 1, 100.0, 1.0)],
        regions=[0],
        sites=[(0, "embedded"), (1, "origin")],
        appliances=[(0, 1000.0, 1.0)],
    )
    catalogue = make.catalogue([1.0] * 100)
    fleet, hour = make.fleet(network, catalogue), 3600
    rows = [
        (i, 0, i % 100, 600.0, 0.05) for i in range(0, 3 * hour, 2)
    ]  # 0.2 Gbit/s in the mean: it fits beside the fill
    whole = make.sessions(rows)
    fills = Fills(
        appliance=np.array([0]), file=np.array([99]), source=np.array([-2]), start_ms=np.array([0]),
        end_ms=np.array([3 * hour * 1000]), bytes=np.array([int(0.6e9 / 8 * 3 * hour)]),
    )  # fmt: skip
    scheme = Scheme(label="plan", placement=make.placement(*((0, file) for file in range(100))))
    kept = np.arange(100) % 10 == 0
    less, part = sampled(fleet, whole, catalogue.title_of, kept)
    rules = Rules(fill_writes=1.0)
    everything = simulate(fleet, whole, scheme, fills, rules=rules).figures["request_hit_ratio"]
    assert everything == 1
    assert simulate(less, part, scheme, fills, rules=rules).figures["request_hit_ratio"] == 0
    assert simulate(less, part, scheme, slowed(fills, part, whole), rules=rules).figures["request_hit_ratio"] == 1


def estimated(fleet, day, catalogue, demand, scheme, kept):
    weight = np.bincount(catalogue.title_of[demand.file], demand.gb, len(catalogue.title_ids))

    def run(fleet, part, _):
        return simulate(fleet, part, scheme, keep_log=True)

    caches = scheme.policy is not None
    return estimate(fleet, day, catalogue.title_of, kept, run, weight=weight, caches=caches)[1]


def drawn(week, share, *seed):
    _, catalogue, demand, _ = week
    titles = len(catalogue.title_ids)
    weight = np.bincount(catalogue.title_of[demand.file], demand.gb, titles)
    return sample_titles(titles, share, np.random.default_rng(seed), weight)


def most_asked(demand, titles):
    """What planning does: the same titles that are asked for most, on every appliance."""
    gb = np.bincount(demand.file, demand.gb, FILES)
    return [(appliance, int(title)) for appliance in (0, 1) for title in np.argsort(-gb)[:titles]]


@pytest.mark.parametrize(
    ("share", "widest"),
    [(0.1, (0.58, 0.7, 0.7)), (0.25, (0.31, 0.1, 0.3)), (0.5, (0.18, 0.04, 0.19)), (0.8, (0.08, 0.02, 0.06))],
)
def test_intervals_cover_and_narrow_with_the_share(make, week, share, widest):
    """They hold the truth as often as they say, and the more titles there are, the narrower they are."""
    network, catalogue, demand, fleet = week
    some = [*schemes(make), Scheme(label="most asked", placement=make.placement(*most_asked(demand, 50)))]
    plan, lru, best = some
    days = [
        draw_sessions(demand, network, catalogue, np.random.default_rng(d), date=dt.date(2026, 1, 5)) for d in (5, 6, 7)
    ]
    for scheme, limit in zip((plan, best, lru), widest, strict=True):
        within, widths, off = [], [], []
        for number, day in enumerate(days):
            truth = simulate(fleet, day, scheme).totals()
            for seed in range(30):
                found = estimated(fleet, day, catalogue, demand, scheme, drawn(week, share, seed, number))
                assert ((found["ci_low"] >= 0) & (found["ci_high"] <= 1)).all()
                within += [row.ci_low <= truth[row.metric] <= row.ci_high for row in found.itertuples()]
                off += [row.value - truth[row.metric] for row in found.itertuples()]
                widths.append((found["ci_high"] - found["ci_low"]).to_numpy())
        assert np.mean(within) >= 0.94, scheme.label
        assert np.mean(widths, axis=0).max() < limit, scheme.label
        assert abs(np.mean(off)) < (0.1 if share < 0.2 else 0.03), scheme.label


def few_popular_titles(make, gbps, planned, seed=1):
    """Eighty titles, of which sixteen make most of the demand; a site with room for few sessions at a time."""
    network = make.network(
        nodes=2,
        links=[(0, 1, 100.0, 1.0)],
        regions=[0],
        sites=[(0, "embedded"), (1, "origin")],
        appliances=[(0, 200.0, gbps)],
    )
    catalogue = make.catalogue([2.0] * 80)
    gb = np.where(np.arange(80) < 16, 20.0, 1.0)
    demand = build_demand(np.zeros(80, int), np.arange(80), gb)
    scheme = Scheme(label="plan", placement=make.placement(*((0, file) for file in planned)))
    day = draw_sessions(demand, network, catalogue, np.random.default_rng(seed), date=dt.date(2026, 1, 5))
    return (network, catalogue, demand, make.fleet(network, catalogue)), day, scheme


@pytest.mark.parametrize(("gbps", "least"), [(0.024, 0.95), (0.032, 0.88), (0.048, 0.9)])
def test_intervals_cover_where_appliances_take_few_sessions(make, gbps, least):
    """Half the room for half the sessions refuses more of them: every sample had too few hits, and said it was sure of it.

    With room for three to six sessions at a time, of which a sample has half, intervals of 95 % hold on nine days of ten and more, no better.
    """
    within = []
    for number in range(6):
        week, day, scheme = few_popular_titles(make, gbps, range(60), number)
        _, catalogue, demand, fleet = week
        truth = simulate(fleet, day, scheme).totals()
        assert truth["misses"]["health"] > 0
        for seed in range(25):
            found = estimated(fleet, day, catalogue, demand, scheme, drawn(week, 0.5, seed))
            within += [row.ci_low <= truth[row.metric] <= row.ci_high for row in found.itertuples()]
    assert np.mean(within) >= least


def test_what_all_titles_of_a_sample_agree_on_is_not_certain(make):
    """Two titles in eighty are not planned: half the samples of forty have neither."""
    week, day, scheme = few_popular_titles(make, 10.0, range(1, 79))
    _, catalogue, demand, fleet = week
    truth = simulate(fleet, day, scheme).totals()["request_hit_ratio"]
    agreed = 0
    for seed in range(40):
        kept = drawn(week, 0.5, seed)
        found = estimated(fleet, day, catalogue, demand, scheme, kept).set_index("metric").loc["request_hit_ratio"]
        agreed += found["value"] == 1
        assert found["ci_low"] <= truth <= found["ci_high"]
        assert found["ci_high"] - found["ci_low"] < (0.2 if found["value"] == 1 else 0.6)
    assert agreed > 4


def test_one_title_that_weighs_most_leaves_few_degrees_of_freedom():
    even, steep = np.ones(2000), np.where(np.arange(2000) < 2, 1e6, 1.0)
    assert degrees_of_freedom(even) == pytest.approx(1999)
    assert degrees_of_freedom(steep) < 5
    assert degrees_of_freedom(np.zeros(7)) == 6
    assert degrees_of_freedom(np.ones(1)) == 2


def test_every_sample_has_its_share_of_what_is_asked_for_most():
    weight = np.arange(400.0)
    for seed in range(20):
        kept = sample_titles(400, 0.1, np.random.default_rng(seed), weight)
        assert kept.reshape(40, 10).sum(axis=1).tolist() == [1] * 40
        most = sample_titles(400, 0.8, np.random.default_rng(seed), weight)
        assert most.reshape(80, 5).sum(axis=1).tolist() == [4] * 80
        one, two = halves(kept, weight)
        assert one.sum() == two.sum() == 20
        assert ((one | two) == kept).all()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="no share"):
        sample_titles(10, share, np.random.default_rng(0))


@pytest.mark.parametrize(("titles", "share", "least"), [(2, 0.5, "1"), (60, 0.5, "0.667"), (1000, 0.002, "0.04")])
def test_a_sample_of_too_few_titles_is_refused(titles, share, least):
    with pytest.raises(InputError, match=f"too few to tell .* give at least {least},"):
        sample_titles(titles, share, np.random.default_rng(0))
    assert sample_titles(titles, float(least), np.random.default_rng(0)).sum() == min(titles, 40)
