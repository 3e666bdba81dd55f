"""Titles new to the world or to a region, in the default model: held to counts by hand, to closed forms, and to the rates a log was drawn from."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from demand.forecast import Pooled, build_known
from demand.forecast.known import launch_facts
from demand.forecast.launch import Belief, LaunchCurve
from demand.forecast.premieres import (
    SLIP_DAYS,
    TRACK_DAYS,
    fit_track,
    lateness,
    launch_band,
    law_belief,
    session_sizes,
    slip_hazards,
    track,
)
from demand.forecast.taste import common_taste
from demand.laws import load_laws
from tests.drawn_logs import START, dense, history_of, make_catalogue, regions_frame


def test_slips_are_counted_as_by_hand():
    """Announced for the days 5, 6 and 7 of a log of 0 to 9: one came on its day, one a day late, one not yet; a fourth lies ahead."""
    hazards = slip_hazards(np.array([5, 6, 7, 12]), np.array([5, 7, 99, 99]), np.ones(4), 0, 9)
    # on the day: 1 of 3, beside the one that is believed to keep it; a day later: 1 of 2, beside half of one; two days: 0 of 1, beside a quarter
    assert hazards[:4] == pytest.approx([2 / 4, 1.5 / 3, 0.25 / 2, 0.125])
    assert len(hazards) == SLIP_DAYS + 1


def test_what_has_not_come_yet_comes_later_or_never():
    hazards = 0.5 ** np.arange(4.0)
    assert lateness(hazards, 0) == pytest.approx([1, 0, 0, 0])
    assert lateness(hazards, 1) == pytest.approx([0, 0.5, 0.5 * 0.25, 0.5 * 0.75 * 0.125])
    late = lateness(np.array([0.6, 0.5, 0.25]), 0)
    assert late == pytest.approx([0.6, 0.4 * 0.5, 0.4 * 0.5 * 0.25])
    assert 1 - late.sum() == pytest.approx(0.4 * 0.5 * 0.75)


def test_the_band_of_a_sure_launch_is_that_of_its_level():
    gb = np.full(400, 50.0)
    low, high = launch_band(
        gb, np.array([1.0]), np.array([3.0]), 0.49, 0.0, np.full(400, 1e-4), 0.0, np.random.default_rng(1)
    )
    ends = 50 * np.exp(0.7 * norm.ppf([0.1, 0.9]) - 0.245)
    assert [low.mean(), high.mean()] == pytest.approx(ends, rel=0.12)


@pytest.mark.parametrize("slip", [0.05, 0.3])
def test_a_launch_that_may_slip_has_nothing_at_its_lower_end(slip):
    """With a chance of slipping above a tenth the 10 % quantile is 0, or as much as just above for the entries that the 80 % ask for."""
    gb = np.full(2000, 50.0)
    chance, out = np.array([1 - slip, slip]), np.array([3.0, 0.0])
    low, high = launch_band(gb, chance, out, 0.09, 0.0, np.full(2000, 1e-4), 0.0, np.random.default_rng(2))
    assert (low < 0.1).all() == (slip > 0.1)
    assert high.mean() > 50.0
    if slip > 0.1:
        # drawn days: nothing with the chance of the slip, inside above 0 with 0.9 less that; lifted so often that 80 % are inside
        assert (low > 0).mean() == pytest.approx((0.9 - 0.8) / slip, abs=0.08)


def test_rare_entries_have_bands_that_count_sessions():
    """Poisson with a mean of two sessions: the quantiles are those of the distribution, 0 and 4."""
    sure, worth = np.array([1.0]), np.full(500, 1.3)
    low, high = launch_band(np.full(500, 2.6), sure, sure, 1e-9, 0.0, worth, 0.0, np.random.default_rng(3))
    assert np.median(high) == pytest.approx(4 * 1.3)
    assert (low < 0.01).mean() > 0.6


def test_sessions_that_differ_in_size_widen_the_band_as_their_sum_does():
    """A mean of 200 sessions of a size that deviates by its mean: the sum deviates by ``sqrt(200 * 2)`` sessions."""
    sure, worth = np.array([1.0]), np.full(400, 1.3)
    low, high = launch_band(np.full(400, 260.0), sure, sure, 1e-9, 0.0, worth, 1.0, np.random.default_rng(3))
    ends = 260 + 1.3 * np.sqrt(400) * norm.ppf([0.1, 0.9])
    assert [low.mean(), high.mean()] == pytest.approx(ends, rel=0.03)


def test_sessions_are_measured_where_they_come_one_by_one():
    """Two encodes whose sessions are of 1 and 3 GB on average, each with a Gamma of shape 4; a file that is asked for daily does not count."""
    rng = np.random.default_rng(5)
    gb = np.zeros((40, 20, 41))
    at = rng.random((40, 20, 40)) < 0.02
    gb[:, :, :40][at] = rng.gamma(4, np.where(np.arange(40) % 2, 0.75, 0.25) + np.zeros(at.shape))[at]
    gb[:, :, 40] = 500.0
    profile = np.append(np.arange(40) % 2, 0)
    sizes = session_sizes(history_of(gb), profile, 9.0)
    assert sizes.gb == pytest.approx([1.0, 3.0], rel=0.1)
    assert sizes.variation == pytest.approx(1 / 4, rel=0.2)
    heavy = session_sizes(history_of(np.full((40, 2, 3), 7.0)), np.zeros(3, np.int64), 9.0)
    assert (heavy.gb[0], heavy.variation) == (9.0, 0.0)


def test_the_law_of_launches_is_what_its_ranks_say():
    laws, works = load_laws(), 400
    rank = (np.arange(works) + 0.5) / works
    weight, chance = laws.popularity.weight(rank), laws.launches.chance(rank)
    who = np.random.default_rng(4).choice(works, 200_000, p=chance / chance.sum())
    first = laws.ageing.rate(np.zeros(1))[0] * 182 / np.mean(np.cumsum(laws.ageing.rate(np.arange(182))))
    drawn = first * weight[who] / weight.sum()
    belief = law_belief(works, 4.0, 1.0)
    assert belief.log_mean[0] + np.log(4.0) == pytest.approx(np.log(drawn / (1 + drawn)).mean(), abs=0.02)
    assert belief.log_variance[0] == pytest.approx(np.log(drawn / (1 + drawn)).var(), rel=0.02)
    assert law_belief(works, 4.0, 0.001).mean[0] == pytest.approx(0.001 / 4.0)


def test_the_first_days_draw_a_level_away_from_its_prior_as_counts_and_curve_allow():
    """Prior N(log 1, 1). Curve variance 0.25 and 4 entries: the data weigh 1 / 0.5 = 2, so two thirds; without entries to speak of, hardly anything."""
    curve = LaunchCurve(log_share=np.zeros(TRACK_DAYS), variance=np.full(TRACK_DAYS, 0.25))
    belief = Belief(log_mean=np.zeros(2), log_variance=np.ones(2))
    mean = track(belief, curve, np.array([1, 3]), np.array([8.0, 8.0]), np.array([4, 10**9]))
    assert mean[0] == pytest.approx(np.exp(np.log(8) * 2 / 3 + 1 / 3 / 2))
    assert mean[1] == pytest.approx(np.exp(np.log(8) * 4 / 5 + 1 / 5 / 2))


def test_first_days_that_always_overstate_are_discounted():
    """Every next day at 0.8 of the mean of those before, give or take a tenth: the mean of the logs is -log 0.8, their variance 0.01."""
    rng = np.random.default_rng(5)
    first = np.zeros((400, TRACK_DAYS + 1))
    first[:, 0] = rng.lognormal(0, 1, 400)
    for day in range(1, TRACK_DAYS + 1):
        first[:, day] = first[:, :day].mean(axis=1) * 0.8 * np.exp(rng.normal(0, 0.1, 400))
    curve = fit_track(first, np.full(400, 10**6))
    assert curve.log_share == pytest.approx(np.full(TRACK_DAYS, -np.log(0.8)), abs=0.02)
    assert curve.variance == pytest.approx(np.full(TRACK_DAYS, 0.01), rel=0.25)


def two_camps(rng: np.random.Generator, regions: int = 8, titles: int = 60) -> np.ndarray:
    """(R, T) GB a day: even regions watch even titles eight times as much as odd ones, and the other way round."""
    alike = (np.arange(regions)[:, None] + np.arange(titles)) % 2 == 0
    return rng.lognormal(2, 0.5, titles) * np.where(alike, 2.0, 0.25)


def test_a_title_live_elsewhere_is_forecast_in_a_new_region_as_regions_of_like_taste_watch_it():
    """Rights of six titles begin in region 0 tomorrow: the days before say nothing against them, and who is like region 0 tells how much."""
    rng = np.random.default_rng(6)
    rate = two_camps(rng)
    gb = rng.poisson(np.broadcast_to(rate, (25, *rate.shape))).astype(float)
    gb[:, 0, :6] = 0.0
    rights = pd.DataFrame({"title": [f"t{i}" for i in range(6)], "region": "r0", "from": pd.Timestamp(START) + pd.Timedelta(days=25), "to": pd.NaT})  # fmt: skip
    catalogue = dataclasses.replace(make_catalogue(60, 1, [None] * 60), availability=rights)
    date = START + dt.timedelta(days=25)
    forecast = dense(Pooled(known=build_known(catalogue, regions_frame(8))).fit(history_of(gb)).predict(date), 8, 60)
    assert np.abs(forecast - rate)[0, :6].sum() < 0.35 * np.abs(rate[1:, :6].mean(axis=0) - rate[0, :6]).sum()
    # half of what they bring the region's other titles lose
    assert forecast[0, 6:].sum() < rate[0, 6:].sum()
    early = Pooled(known=build_known(catalogue, regions_frame(8))).fit(history_of(gb[:24])).predict(START + dt.timedelta(days=24))  # fmt: skip
    assert (dense(early, 8, 60)[0, :6] == 0).all()


def test_a_season_new_in_a_region_and_an_episode_that_comes_late_are_not_taken_for_unwanted():
    """Titles 0 to 3 are a season, of which region 0 has nothing until tomorrow; of the season of 8 to 11 it lacks the first."""
    rng = np.random.default_rng(16)
    season = np.r_[np.zeros(4, int), np.arange(4, 8), np.full(4, 8), np.arange(12, 40)]
    rate = np.full(40, 12.0) * rng.lognormal(0, 0.3, (6, 40))[:, season]
    gb = rng.poisson(np.broadcast_to(rate, (25, *rate.shape))).astype(float)
    late = [0, 1, 2, 3, 8]
    gb[:, 0, late] = 0.0
    rights = pd.DataFrame({"title": [f"t{i}" for i in late], "region": "r0", "from": pd.Timestamp(START) + pd.Timedelta(days=25), "to": pd.NaT})  # fmt: skip
    catalogue = make_catalogue(40, 1, [None] * 40)
    titles = catalogue.titles.assign(series=["a"] * 4 + [""] * 4 + ["b"] * 4 + [""] * 28)
    known = build_known(dataclasses.replace(catalogue, titles=titles, availability=rights), regions_frame(6))
    forecast = dense(Pooled(known=known).fit(history_of(gb)).predict(START + dt.timedelta(days=25)), 6, 40)
    assert forecast[0, :4] == pytest.approx(np.full(4, 12.0), rel=0.35)  # nothing tells its taste for the season
    assert forecast[0, 8:12] == pytest.approx(rate[0, 8:12], rel=0.2)


def test_tastes_that_have_nothing_in_common_are_left_as_they_are():
    rng = np.random.default_rng(7)
    expected = rng.lognormal(3, 1, (10, 80))
    own = rng.poisson(expected * rng.gamma(4, 0.25, expected.shape)).astype(float)
    prior = common_taste(expected, own, 1.0, 0.25)
    assert prior is None or np.abs(np.log(prior)).max() < 0.2
    shared = rng.poisson(expected * np.exp(0.7 * rng.choice([-1, 1], 10)[:, None] * rng.choice([-1, 1], 80))) * 1.0
    found = common_taste(expected, shared, 1.0, 0.6)
    assert found is not None
    assert np.corrcoef(np.log(found).ravel(), np.log((shared + 1) / (expected + 1)).ravel())[0, 1] > 0.9


def test_what_a_title_is_says_how_its_launch_will_be():
    """Forty launches, comedies at ten times what the others draw: of two titles that nobody has watched the comedy is forecast for more."""
    rng = np.random.default_rng(8)
    comedy = rng.random(42) < 0.5
    comedy[40:] = True, False
    launch = [*rng.integers(1, 38, 40).tolist(), 40, 40]
    size = np.where(comedy, 30.0, 3.0) * rng.lognormal(0, 0.2, 42)
    gb = np.zeros((40, 2, 43))
    gb[:, :, 42] = 4000.0
    for title, day in enumerate(launch):
        gb[day:, :, title] = size[title]
    catalogue = make_catalogue(43, 1, [*launch, None])
    titles = catalogue.titles.assign(genre=[*np.where(comedy, "comedy", "drama"), "drama"])
    date = START + dt.timedelta(days=40)
    known = build_known(dataclasses.replace(catalogue, titles=titles), regions_frame(2))
    demand = Pooled(known=known).fit(history_of(rng.poisson(gb).astype(float))).predict(date)
    forecast, low, high = (dense(demand, 2, 43, name)[:, 40:42].sum(axis=0) for name in ("gb", "gb_p10", "gb_p90"))
    assert forecast[0] > 5 * forecast[1]
    assert np.abs(np.log(forecast / [60.0, 6.0])).max() < 0.5
    assert (low < forecast).all()
    assert (forecast < high).all()


def test_a_longer_season_is_forecast_for_more():
    """Forty seasons of 1 to 12 episodes, which draw as much each: of two that nobody has watched, of 2 and of 10 episodes, the longer is forecast for more."""
    rng = np.random.default_rng(11)
    episodes = np.append(rng.integers(1, 13, 40), [2, 10])
    launch = [*rng.integers(1, 38, 40).tolist(), 40, 40]
    season = np.repeat(np.arange(42), episodes)
    count = len(season)
    gb = np.zeros((40, 2, count + 1))
    gb[:, :, count] = 4000.0
    for title, s in enumerate(season):
        gb[launch[s] :, :, title] = 4.0 * rng.lognormal(0, 0.1)
    catalogue = make_catalogue(count + 1, 1, [*np.array(launch)[season].tolist(), None])
    titles = catalogue.titles.assign(
        kind="series", series=[*(f"s{s}" for s in season), ""], runtime_minutes=[45.0] * (count + 1)
    )
    known = build_known(dataclasses.replace(catalogue, titles=titles), regions_frame(2))
    minutes = launch_facts(known)["launch_minutes"].to_numpy()
    assert minutes[:-1] == pytest.approx(45.0 * episodes[season]) and minutes[-1] == 45.0
    demand = Pooled(known=known).fit(history_of(rng.poisson(gb).astype(float))).predict(START + dt.timedelta(days=40))
    forecast = dense(demand, 2, count + 1)
    short, long = (forecast[:, np.flatnonzero(season == s)].sum() for s in (40, 41))
    assert long > 3 * short
    assert [short, long] == pytest.approx([16.0, 80.0], rel=0.5)


def test_a_title_of_whom_one_region_is_batch_and_world_is_the_rest_keeps_its_reach():
    """Worlds of batches of regions add up, rights and all."""
    from demand.forecast.world import world_of

    rng = np.random.default_rng(9)
    gb = rng.poisson(4.0, (6, 4, 5)).astype(float)
    rights = pd.DataFrame({"title": ["t1", "t2"], "region": ["r0", "r3"], "from": [pd.Timestamp(START) + pd.Timedelta(days=2), pd.NaT], "to": [pd.NaT, pd.Timestamp(START)]})  # fmt: skip
    catalogue = dataclasses.replace(make_catalogue(5, 1, [None] * 5), availability=rights)
    whole = world_of(history_of(gb), build_known(catalogue, regions_frame(4)))
    assert whole.reach[1, :2] == pytest.approx(gb[:2, 1:].sum(axis=(1, 2)))
    assert whole.reach[2, 1:] == pytest.approx(gb[1:, :3].sum(axis=(1, 2)))
    assert whole.reach[0] == pytest.approx(gb.sum(axis=(1, 2)))
    half = regions_frame(4).iloc[:2], regions_frame(4).iloc[2:].reset_index(drop=True)
    parts = [world_of(history_of(part), build_known(catalogue, names)) for part, names in zip((gb[:, :2], gb[:, 2:]), half, strict=True)]  # fmt: skip
    both = parts[0] + parts[1]
    assert both.reach == pytest.approx(whole.reach)
    assert both.gb == pytest.approx(whole.gb)
    assert (both.entries == whole.entries).all()
