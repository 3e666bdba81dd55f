"""Forecasters and their backtest, against cases worked out by hand."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from demand.catalogue import build_catalogue
from demand.demand import Demand, build_demand
from demand.forecast import FORECASTERS, LastDay, SameWeekday, Smoothing, backtest, make_forecaster, popularity
from demand.forecast.base import busiest_share, day_ages, region_day_gb
from demand.forecast.smoothing import launch_chance, weekday_factors
from demand.playback import History
from topology.errors import InputError

MONDAY = dt.date(2026, 1, 5)


def history(gb, *, dates=None, hourly=None, title_of=None) -> History:
    """From a dense (D, R, F) array of GB; zeros are entries the log does not hold."""
    gb = np.asarray(gb, float)
    days, regions, files = gb.shape
    file, region, day = np.nonzero(gb.transpose(2, 1, 0))
    if hourly is None:
        hourly = np.repeat(gb.sum(axis=2)[:, :, None] / 24, 24, axis=2)
    return History(
        dates=tuple(dates or [MONDAY + dt.timedelta(days=i) for i in range(days)]),
        day=day.astype(np.int32), region=region.astype(np.int32), file=file.astype(np.int32), gb=gb[day, region, file],
        hourly_gb=np.asarray(hourly, float), regions=regions, files=files, title_of=title_of,
    )  # fmt: skip


def one_series(values, **more) -> History:
    return history(np.array(values, float)[:, None, None], **more)


def day(n: int) -> dt.date:
    return MONDAY + dt.timedelta(days=n)


def dense(demand: Demand, regions: int, files: int) -> np.ndarray:
    out = np.zeros((regions, files))
    out[demand.region, demand.file] = demand.gb
    return out


def noisy(days: int, *, seed: int = 0, regions: int = 3, files: int = 8) -> History:
    rng = np.random.default_rng(seed)
    level = rng.lognormal(0, 1, (regions, files))
    return history(level * rng.gamma(4, 0.25, (days, regions, files)) * (rng.random((days, regions, files)) < 0.9))


def test_last_day_repeats_the_last_day():
    made = LastDay().fit(history([[[1, 2], [3, 0]], [[4, 0], [5, 6]]])).predict(day(2))
    assert dense(made, 2, 2).tolist() == [[4, 0], [5, 6]]


def test_same_weekday_repeats_the_day_a_week_ago():
    log = one_series([10, 11, 12, 13, 14, 15, 16, 17, 18])  # Monday to the Tuesday of the week after
    assert SameWeekday().fit(log).predict(day(9)).gb.tolist() == [12]
    assert SameWeekday().fit(log).predict(day(15)).gb.tolist() == [18]


def test_same_weekday_takes_the_last_day_where_the_log_has_no_such_weekday():
    assert SameWeekday().fit(one_series([10, 11, 12])).predict(day(3)).gb.tolist() == [12]


def test_smoothing_weighs_days_by_half_lives():
    """Weights 1, 1/2, 1/4 with a half-life of one day: (8 + 4/2 + 2/4) / (7/4) = 6; too few weeks for a weekday factor."""
    made = Smoothing(days=3, half_life_days=1.0).fit(one_series([100, 2, 4, 8])).predict(day(4))
    assert made.gb == pytest.approx([(8 + 4 / 2 + 2 / 4) / (1 + 1 / 2 + 1 / 4)])


def test_a_day_the_log_lacks_is_unknown_and_not_zero():
    """Days 0 and 2 of the week are there, day 1 is not: it weighs nothing."""
    log = one_series([4, 8], dates=[day(0), day(2)])
    made = Smoothing(days=3, half_life_days=1.0).fit(log).predict(day(3))
    assert made.gb == pytest.approx([(8 + 4 / 4) / (1 + 1 / 4)])


def test_a_day_without_sessions_of_a_file_is_a_zero():
    """File 0 is asked for on the first and third day; file 1 every day, so that the second day is in the log."""
    log = history([[[4, 1]], [[0, 1]], [[8, 1]]])
    made = Smoothing(days=3, half_life_days=1.0).fit(log).predict(day(3))
    assert made.gb == pytest.approx([(8 + 0 + 4 / 4) / 1.75, 1.0])


def test_a_constant_log_is_forecast_exactly_with_a_band_around_it():
    made = Smoothing().fit(one_series([5.0] * 20)).predict(day(20))
    assert made.gb == pytest.approx([5.0])
    assert made.gb_p10 == pytest.approx([5.0])
    assert made.gb_p90 == pytest.approx([5.0])


def test_weekday_factors_are_found_and_used():
    """Four weeks, twice as much on Sundays, no noise: the factors are exact, geometric mean 1."""
    log = one_series([10, 10, 10, 10, 10, 10, 20] * 4)
    factors = weekday_factors(log.dates, region_day_gb(log))
    assert factors.prod() == pytest.approx(1)
    assert factors[0, 6] / factors[0, 0] == pytest.approx(2)
    model = Smoothing(half_life_days=3).fit(log)
    assert model.predict(day(28)).gb == pytest.approx([10])
    assert model.predict(day(34)).gb == pytest.approx([20])


def test_chance_makes_no_weekday():
    """With noise and no weekday, the factors shrink towards 1: less than half of what plain means would say, over 40 draws."""
    shrunk, plain = [], []
    for seed in range(40):
        values = np.random.default_rng(seed).lognormal(0, 0.3, 28)
        log = one_series(values)
        shrunk.append(np.abs(np.log(weekday_factors(log.dates, region_day_gb(log))[0])).mean())
        weeks = np.log(values).reshape(4, 7)
        plain.append(np.abs((weeks - weeks.mean(axis=1, keepdims=True)).mean(axis=0)).mean())
    assert np.mean(shrunk) < np.mean(plain) / 2


def test_fewer_than_two_whole_weeks_have_no_factors():
    log = one_series([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
    assert (weekday_factors(log.dates, region_day_gb(log)) == 1).all()


def test_a_launched_title_is_not_averaged_with_the_days_before_it():
    """Asked for by ten regions on each of the last 2 of 14 days, never before: certainly launched, so the level is its own, not a seventh of it."""
    gb = np.zeros((14, 10, 2))
    gb[:, :, 0] = 1.0
    gb[12:, :, 1] = 5.0
    log = history(gb)
    first, launched = launch_chance(log)
    assert first.tolist() == [0, 12]
    assert launched[1] == pytest.approx(1.0)
    made = Smoothing(days=14, half_life_days=1000.0).fit(log).predict(day(14))
    assert dense(made, 10, 2)[:, 1] == pytest.approx(np.full(10, 5.0))


def test_one_late_session_of_a_rare_title_is_not_taken_for_a_launch():
    gb = np.zeros((14, 1, 2))
    gb[:, 0, 0] = 1.0
    gb[13, 0, 1] = 1.0
    _, launched = launch_chance(history(gb))
    assert launched[1] == pytest.approx(
        0.05 / (0.05 + 0.95 / 14)
    )  # Bayes' rule: blank with chance 1/14 if it was there all along
    made = Smoothing(days=14, half_life_days=1000.0).fit(history(gb)).predict(day(14))
    assert dense(made, 1, 2)[0, 1] < 0.2


def test_files_of_one_title_launch_together():
    gb = np.zeros((10, 1, 2))
    gb[5:, 0, 0], gb[9, 0, 1] = 1.0, 1.0
    first, launched = launch_chance(history(gb, title_of=np.array([0, 0])))
    assert first.tolist() == [5]
    assert len(launched) == 1


def test_peaks_are_the_busiest_hour_s_share():
    hourly = np.zeros((1, 1, 24))
    hourly[0, 0, 20], hourly[0, 0, 3] = 6.0, 2.0
    log = one_series([8.0], hourly=hourly)
    assert busiest_share(log, day(1)) == pytest.approx([0.75])
    assert LastDay().fit(log).predict(day(1)).peak_gbps == pytest.approx([8 * 0.75 * 8 / 3600])


def test_a_region_without_bytes_takes_the_profile_of_all():
    hourly = np.zeros((1, 2, 24))
    hourly[0, 0, 20], hourly[0, 0, 3] = 6.0, 2.0
    assert busiest_share(history([[[8.0], [0.0]]], hourly=hourly), day(1)) == pytest.approx([0.75, 0.75])


def test_the_band_holds_about_four_of_five_outcomes():
    log = noisy(40, regions=10, files=40)
    table = backtest(log, [Smoothing()], origins=8)
    assert 0.7 < table["coverage"].iloc[0] < 0.9


def test_the_forecast_lies_in_its_band():
    made = Smoothing().fit(noisy(20)).predict(day(20))
    assert (made.gb_p10 <= made.gb).all()
    assert (made.gb <= made.gb_p90).all()
    assert (made.gb_p10 >= 0).all()


def test_a_single_day_gives_a_forecast_without_a_band():
    made = Smoothing().fit(one_series([3.0])).predict(day(1))
    assert made.gb == pytest.approx([3.0])
    assert made.gb_p10 is None


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_future_changes_no_forecast(name):
    """What comes after the origin is shuffled and blown up; forecasts from the days before stay the same to the bit."""
    log = noisy(20)
    late = log.day >= 15
    rng = np.random.default_rng(1)
    other = log.gb.copy()
    other[late] = rng.permutation(other[late]) * 1000
    changed = replace(log, gb=other, hourly_gb=np.where(np.arange(20)[:, None, None] >= 15, 7.0, log.hourly_gb))
    for origin in (10, 15):
        ours = make_forecaster(name).fit(log.until(origin)).predict(day(origin))
        theirs = make_forecaster(name).fit(changed.until(origin)).predict(day(origin))
        for field in ("region", "file", "gb", "peak_gbps"):
            assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field


@pytest.mark.parametrize("name", FORECASTERS)
def test_regions_can_be_relabelled(name):
    log = noisy(20)
    swap = np.array([2, 0, 1])
    order = np.lexsort((log.day, swap[log.region], log.file))
    turned = replace(
        log, region=swap[log.region][order].astype(np.int32), file=log.file[order], day=log.day[order], gb=log.gb[order],
        hourly_gb=log.hourly_gb[:, np.argsort(swap)],
    )  # fmt: skip
    ours = dense(make_forecaster(name).fit(log).predict(day(20)), 3, 8)
    theirs = dense(make_forecaster(name).fit(turned).predict(day(20)), 3, 8)
    assert theirs[swap] == pytest.approx(ours)


@pytest.mark.parametrize("name", FORECASTERS)
def test_fit_forgets_earlier_fits(name):
    model = make_forecaster(name)
    model.fit(noisy(20, seed=1))
    again = model.fit(noisy(20, seed=2)).predict(day(20))
    fresh = make_forecaster(name).fit(noisy(20, seed=2)).predict(day(20))
    assert np.array_equal(again.gb, fresh.gb)


def test_backtest_scores_by_hand():
    """Last-day forecasts of 1, 2 and 4 for 2, 4 and 3: errors 1, 2, 1 of 9 GB; surplus -1, -2, +1."""
    row = backtest(one_series([1, 2, 4, 3]), [LastDay()], origins=3).iloc[0]
    assert row["wape"] == pytest.approx(4 / 9)
    assert row["bias"] == pytest.approx(-2 / 9)
    assert row["mae_gb"] == pytest.approx(4 / 3)
    assert np.isnan(row["coverage"])
    assert row["origins"] == 3
    assert row["model"] == "last-day"


def test_backtest_counts_what_nobody_foresaw_and_what_did_not_come():
    log = history([[[2.0, 0.0]], [[0.0, 3.0]]])  # file 0 was forecast and did not come, file 1 came unforeseen
    row = backtest(log, [LastDay()], origins=1).iloc[0]
    assert row["wape"] == pytest.approx((2 + 3) / 3)
    assert row["bias"] == pytest.approx((2 - 3) / 3)


def test_smoothing_beats_the_naive_ones_on_noise_around_a_level():
    table = backtest(noisy(30, regions=6, files=30), [make_forecaster(n) for n in FORECASTERS], origins=7)
    wape = table.set_index("model")["wape"]
    assert wape["smoothing"] < 0.9 * min(wape["last-day"], wape["same-weekday"])


def test_popularity_is_bytes_over_size():
    titles = pd.DataFrame({"title": ["a", "b"]})
    files = pd.DataFrame(
        {"file": ["a", "b"], "title": ["a", "b"], "profile": "p", "bitrate_kbps": 1.0, "size_gb": [2.0, 4.0]}
    )
    demand = build_demand(np.array([0, 0]), np.array([0, 1]), np.array([10.0, 10.0]))
    assert popularity(demand, build_catalogue(titles, files)).tolist() == [5.0, 2.5]


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecast_needs_a_fit_and_a_later_day(name):
    with pytest.raises(InputError, match="nothing to forecast from"):
        make_forecaster(name).predict(day(0))
    with pytest.raises(InputError, match="after the log"):
        make_forecaster(name).fit(one_series([1, 2])).predict(day(1))


def test_an_empty_history_is_refused():
    with pytest.raises(InputError, match="nothing to forecast from"):
        LastDay().fit(one_series([1.0]).until(0))


@pytest.mark.parametrize("bad", [{"days": 0}, {"half_life_days": 0.0}, {"half_life_days": -1.0}])
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match="smoothing needs"):
        make_forecaster("smoothing", **bad)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="last-day"):
        make_forecaster("oracle")


@pytest.mark.parametrize("origins", [0, 4, 9])
def test_a_backtest_needs_enough_days(origins):
    with pytest.raises(InputError, match="backtest of"):
        backtest(one_series([1, 2, 3, 4]), [LastDay()], origins=origins)


def test_ages_are_calendar_days():
    assert day_ages(one_series([1, 1], dates=[day(0), day(3)]), day(5)).tolist() == [5, 2]
