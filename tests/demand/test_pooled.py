"""The pooled forecaster, held to the rates that the logs were drawn from and to cases worked out by hand."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest

from demand.forecast import LastDay, Pooled, Smoothing, build_known
from demand.forecast.known import known_from
from demand.forecast.pooled import pooled_states
from demand.forecast.taste import noise_and_spread
from demand.forecast.world import age_curve, attention, launches, world_of
from tests.drawn_logs import START, dense, draw, history_of, make_catalogue, regions_frame
from topology.errors import InputError


def error(drawn, forecaster, day):
    """Absolute error against the expected GB, over their sum: noise of the day itself does not count."""
    forecast = forecaster.fit(drawn.history.until(day)).predict(START + dt.timedelta(days=day))
    truth = drawn.truth(day)
    return np.abs(dense(forecast, *truth.shape) - truth).sum() / truth.sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pooling_comes_nearer_to_the_true_rates_than_any_series_of_its_own(seed):
    drawn = draw(seed=seed)
    known = build_known(drawn.catalogue, regions_frame(6))
    pooled = error(drawn, Pooled(known=known), 34)
    assert pooled < 0.85 * error(drawn, Smoothing(), 34)
    assert pooled < 0.5 * error(drawn, LastDay(), 34)


def test_nothing_but_the_log_is_needed():
    drawn = draw(launched=0.0)
    assert error(drawn, Pooled(), 34) < 0.7 * error(drawn, Smoothing(), 34)


def test_a_steady_log_goes_on_as_it_was():
    gb = np.broadcast_to(np.outer([3.0, 7.0], [1.0, 2.0, 4.0, 3.0]), (20, 2, 4))
    forecast = Pooled().fit(history_of(gb, profiles=2)).predict(START + dt.timedelta(days=20))
    assert dense(forecast, 2, 4) == pytest.approx(gb[0], rel=1e-6)
    # the busiest hour carries 2 of 25 parts of the day
    assert forecast.peak_gbps == pytest.approx(forecast.gb * 2 / 25 * 8 / 3600)


def test_the_files_of_a_title_share_its_demand_by_the_mix_of_the_region():
    drawn = draw(regions=3, titles=30, profiles=4, sessions=20_000)
    ((_, state),) = pooled_states(drawn.history, known_from(drawn.history), None, [35])
    mix = state.mix()
    assert mix.reshape(3, 30, 4).sum(axis=2) == pytest.approx(np.ones((3, 30)))
    truth = drawn.expected.sum(axis=0).reshape(3, 30, 4).sum(axis=1)
    truth /= truth.sum(axis=1, keepdims=True)
    weight = drawn.expected.sum(axis=0).reshape(3, 30, 4).sum(axis=2)
    mine = (mix.reshape(3, 30, 4) * weight[:, :, None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    assert np.abs(mine - truth).max() < 0.02


def test_an_announced_launch_takes_the_mean_of_the_launches_before_it():
    # eight titles launched at 5 to 40 GB, a ninth is announced for the day after the log; a steady one of 400 GB carries the rest
    gb = np.zeros((20, 1, 10))
    gb[:, 0, 0] = 400.0
    sizes, days = np.arange(5.0, 45.0, 5.0), np.arange(3, 19, 2)
    for title, (size, day) in enumerate(zip(sizes, days, strict=True), 1):
        gb[day:, 0, title] = size
    catalogue = make_catalogue(10, 1, [None, *days.tolist(), 20])
    forecast = (
        Pooled(known=build_known(catalogue, regions_frame(1)))
        .fit(history_of(gb))
        .predict(START + dt.timedelta(days=20))
    )
    share = np.array([gb[day, 0, title] / gb[day].sum() for title, day in enumerate(days, 1)]).mean()
    table = dense(forecast, 1, 10)[0]
    # the law of launches counts as a ninth one, and foresees none above the most watched title
    assert share * 0.8 < table[9] / table.sum() < (8 * share + 0.7) / 9 * 1.1


def test_half_of_what_a_launch_draws_the_other_titles_lose():
    gb = np.full((20, 1, 12), 50.0)
    gb[:, 0, 11] = 0.0
    forecast = Pooled(known=build_known(make_catalogue(12, 1, [None] * 11 + [20]), regions_frame(1))).fit(
        history_of(gb)
    )
    table = dense(forecast.predict(START + dt.timedelta(days=20)), 1, 12)[0]
    assert table[11] > 10.0
    assert table[:11].sum() < 550.0
    assert table.sum() > 550.0
    assert table.sum() == pytest.approx(550.0 * np.sqrt(table.sum() / table[:11].sum()), rel=0.01)


def test_a_launch_that_does_not_come_counts_less_every_day():
    gb = np.full((20, 1, 4), 50.0)
    gb[:5, 0, 1] = 0.0
    gb[:, 0, 3] = 0.0
    asked = []
    for day in (20, 18, 15):  # due tomorrow, two days late, five days late
        catalogue = make_catalogue(4, 1, [None, 5, None, day])
        forecaster = Pooled(known=build_known(catalogue, regions_frame(1))).fit(history_of(gb))
        asked.append(dense(forecaster.predict(START + dt.timedelta(days=20)), 1, 4)[0, 3])
    assert asked[0] > 2 * asked[1] > 4 * asked[2] > 0


def test_a_title_is_not_forecast_before_its_launch_nor_outside_its_rights():
    drawn = draw()
    days = [None] * 40
    days[0] = 38
    catalogue = make_catalogue(40, 3, days)
    rights = pd.DataFrame(
        {"title": ["t1", "t2"], "region": ["r0", "r0"], "from": [pd.NaT, pd.Timestamp(2026, 2, 12)],
         "to": [pd.Timestamp(2026, 2, 8), pd.NaT]}
    )  # fmt: skip
    known = build_known(dataclasses.replace(catalogue, availability=rights), regions_frame(6))
    gb = drawn.expected.copy()
    gb[:, :, :3] = 0.0
    forecast = Pooled(known=known).fit(history_of(gb, 3)).predict(START + dt.timedelta(days=35))  # 9 February
    table = dense(forecast, 6, 120).reshape(6, 40, 3).sum(axis=2)
    assert (table[:, 0] == 0).all()
    assert table[0, 1] == table[0, 2] == 0
    assert (table[1:, 1:3] > 0).all()


def test_days_that_the_log_lacks_are_unknown_and_not_zero():
    whole, gappy = draw(seed=3), draw(seed=3, missing=(20, 25, 26, 33))
    date = START + dt.timedelta(days=35)
    a, b = Pooled().fit(whole.history).predict(date), Pooled().fit(gappy.history).predict(date)
    assert b.gb.sum() == pytest.approx(a.gb.sum(), rel=0.1)


def test_the_age_curve_follows_what_launches_do():
    days = np.arange(60)
    age = np.array([days - 3, days - 10, days - 25, np.full(60, 10**6)])
    share = np.where(age[:3] >= 0, np.array([[1.0], [2.0], [0.5]]) * np.exp(-np.clip(age[:3], 0, None) / 10), 0.0)
    curve = age_curve(np.vstack([share, np.ones(60)]), age, days)
    assert curve[-1] == 1.0
    assert curve[1:15] / curve[:14] == pytest.approx(np.exp(-0.1), abs=0.03)


def test_a_title_seen_before_its_announced_day_was_launched_then_and_a_late_one_when_it_came():
    gb = np.full((20, 2, 3), 5.0)
    gb[:4, :, 0] = 0.0
    gb[:9, :, 1] = 0.0
    known = build_known(make_catalogue(3, 1, [7, 6, None]), regions_frame(2))
    found = launches(world_of(history_of(gb), known)) - START.toordinal()
    assert found[0] == 4
    assert found[1] == 9
    assert found[2] < -1000


def testnoise_and_spread_are_found_again():
    rng = np.random.default_rng(0)
    expected = rng.lognormal(1, 1.5, (50, 400))
    asked = 2.0 * rng.poisson(rng.gamma(1 / 0.3, 0.3, expected.shape) * expected / 2.0)
    noise, spread = noise_and_spread(expected, asked)
    assert noise == pytest.approx(2.0, rel=0.25)
    assert spread == pytest.approx(0.3, rel=0.25)


def test_a_group_launched_together_is_watched_as_a_whole():
    """Twelve episodes of a series, too rarely watched one by one, are forecast better when the table says they belong together."""
    rng = np.random.default_rng(4)
    rate = np.concatenate([np.full(12, 0.4), rng.uniform(1, 20, 28)])
    taste = rng.lognormal(0, 0.8, (6, 29))[:, np.concatenate([np.zeros(12, int), np.arange(1, 29)])]
    count = rng.poisson(np.broadcast_to(rate * taste, (30, 6, 40)))
    catalogue = make_catalogue(40, 1, [None] * 40)
    together = dataclasses.replace(catalogue, titles=catalogue.titles.assign(series=["s"] * 12 + [""] * 28))
    errors = []
    for c in (catalogue, together):
        forecast = (
            Pooled(known=build_known(c, regions_frame(6)))
            .fit(history_of(count * 1.0))
            .predict(START + dt.timedelta(days=30))
        )
        errors.append(np.abs(dense(forecast, 6, 40) - rate * taste)[:, :12].sum())
    assert errors[1] < 0.65 * errors[0]


@pytest.mark.parametrize("days", [1, 2, 3, 8])
def test_short_logs_silent_regions_and_silent_titles_give_finite_forecasts(days):
    gb = np.zeros((days, 3, 6))
    gb[:, 0, :4] = 2.0
    gb[-1, 1, 0] = 1e-12
    forecast = Pooled().fit(history_of(gb, profiles=2)).predict(START + dt.timedelta(days=days + 2))
    for values in (forecast.gb, forecast.peak_gbps, forecast.gb_p10, forecast.gb_p90):
        assert values is None or (np.isfinite(values).all() and (values >= 0).all())
    assert dense(forecast, 3, 6)[0, :4] == pytest.approx(2.0, rel=0.05)


def test_an_empty_history_and_a_day_of_the_past_are_refused():
    drawn = draw(days=3)
    with pytest.raises(InputError, match="nothing to forecast from"):
        Pooled().predict(START)
    with pytest.raises(InputError, match="a day after the log"):
        Pooled().fit(drawn.history).predict(START + dt.timedelta(days=2))


def test_a_region_fitted_alone_with_the_world_beside_it_is_forecast_as_within_the_whole():
    """Region batches, so that a million series fit into memory: the world is read once, the regions part by part."""
    drawn = draw(regions=6, sessions=20_000)
    known = build_known(drawn.catalogue, regions_frame(6))
    history, date = drawn.history, START + dt.timedelta(days=35)
    whole = dense(Pooled(known=known).fit(history).predict(date), 6, 120)
    kept = history.region >= 3
    part = dataclasses.replace(
        history, day=history.day[kept], region=history.region[kept] - 3, file=history.file[kept], gb=history.gb[kept],
        hourly_gb=history.hourly_gb[:, 3:], regions=3,
    )  # fmt: skip
    world = world_of(history, known)
    alone = dense(
        Pooled(known=build_known(drawn.catalogue, regions_frame(3)), world=world).fit(part).predict(date), 3, 120
    )
    assert np.abs(alone - whole[3:]).sum() < 0.05 * whole[3:].sum()


def test_attention_before_a_launch_is_nothing():
    drawn = draw()
    state = attention(world_of(drawn.history, build_known(drawn.catalogue, regions_frame(6))))
    for title, day in enumerate(drawn.launch):
        if day is not None and day > 1:
            assert state.on(START.toordinal() + day - 1)[title] == 0.0
