"""Logs that are sound row by row and wrong as a whole: each case is named, mended, and forecast without a NaN."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest

from demand.forecast import LastDay, Pooled, backtest, build_known
from demand.forecast.care import mend_history, without_absurd
from demand.forecast.clocks import one_clock
from tests.drawn_logs import START, dense, draw, history_of, make_catalogue, regions_frame

REGIONS = pd.Index([f"r{i}" for i in range(6)])
CLEAN = draw(days=28, sessions=8000.0, seed=2)


def mended(history, catalogue=CLEAN.catalogue):
    made, found = mend_history(history, REGIONS, catalogue)
    forecast = (
        Pooled(known=build_known(catalogue, regions_frame(6)))
        .fit(made)
        .predict(history.dates[-1] + dt.timedelta(days=1))
    )
    for values in (forecast.gb, forecast.gb_p10, forecast.gb_p90, forecast.peak_gbps):
        assert np.isfinite(values).all()
    return made, found, forecast


def test_a_sound_log_is_left_alone():
    made, found, _ = mended(CLEAN.history)
    assert found == []
    assert made is CLEAN.history


def test_missing_days_are_named():
    gappy = draw(days=28, sessions=8000.0, seed=2, missing=(10, 11, 20))
    _, (problem,), _ = mended(gappy.history)
    assert "3 days without a log" in problem.message
    assert "2026-01-15" in problem.value


def test_one_absurd_value_is_named_and_changes_next_to_nothing():
    history = CLEAN.history
    row = int(np.flatnonzero((history.day == 25) & (history.region == 3))[5])
    gb, hourly = history.gb.copy(), history.hourly_gb.copy()
    hourly[25, 3, 4] += 1e7 - gb[row]
    gb[row] = 1e7
    made, (problem,), forecast = mended(dataclasses.replace(history, gb=gb, hourly_gb=hourly))
    assert "r3" in problem.value and "2026-01-30" in problem.value and "1e+07 GB" in problem.message
    *_, sound = mended(history)
    assert forecast.gb.sum() == pytest.approx(sound.gb.sum(), rel=0.01)
    assert forecast.peak_gbps.sum() == pytest.approx(sound.peak_gbps.sum(), rel=0.01)
    assert made.hourly_gb[25, 3].sum() == pytest.approx(made.gb[(made.day == 25) & (made.region == 3)].sum())


@pytest.mark.parametrize("times", [1000, 0.001])
@pytest.mark.parametrize(("first", "end"), [(25, 26), (27, 28), (20, 23)])
def test_days_in_another_unit_are_named_once_and_change_next_to_nothing(first, end, times):
    """A thousand times the bytes, or a thousandth, of large files and small: the mended log forecasts what the sound one does."""
    history = CLEAN.history
    wrong = (history.region == 3) & (history.day >= first) & (history.day < end)
    hourly = history.hourly_gb.copy()
    hourly[first:end, 3] *= times
    other = dataclasses.replace(history, gb=np.where(wrong, times, 1) * history.gb, hourly_gb=hourly)
    made, (problem,), forecast = mended(other)
    assert "r3" in problem.value and str(START + dt.timedelta(days=first)) in problem.value
    assert f"{times:.3g} times" in problem.message
    *_, sound = mended(history)
    at, then = forecast.region == 3, sound.region == 3
    assert forecast.gb[at].sum() == pytest.approx(sound.gb[then].sum(), rel=0.15)
    assert forecast.peak_gbps[at].sum() == pytest.approx(sound.peak_gbps[then].sum(), rel=0.15)
    assert made.hourly_gb[first, 3].sum() == pytest.approx(made.gb[(made.day == first) & (made.region == 3)].sum())


def test_a_day_of_few_sessions_is_not_taken_for_another_unit():
    """One session of thirty came: popular files have a thirtieth of their bytes, the others none or what one session takes."""
    crowd = draw(days=20, sessions=60_000.0, seed=3)
    history, rng = crowd.history, np.random.default_rng(0)
    at = (history.region == 3) & (history.day == 12)
    session = np.median(history.gb[history.gb > 0]) / 4
    came = rng.binomial(np.maximum(np.rint(history.gb / session), 1).astype(int), 1 / 30) * session
    gb = np.where(at, came, history.gb)
    hourly = history.hourly_gb.copy()
    hourly[12, 3] *= gb[at].sum() / history.gb[at].sum()
    _, found = mend_history(dataclasses.replace(history, gb=gb, hourly_gb=hourly), REGIONS, crowd.catalogue)
    assert not [problem for problem in found if "times as much" in problem.message]


def test_a_region_that_has_grown_for_longer_than_a_week_stays_grown():
    history = CLEAN.history
    grown = (history.region == 3) & (history.day >= 18)
    hourly = history.hourly_gb.copy()
    hourly[18:, 3] *= 12
    made, found, _ = mended(dataclasses.replace(history, gb=np.where(grown, 12, 1) * history.gb, hourly_gb=hourly))
    assert found == []
    assert made.gb[grown] == pytest.approx(12 * history.gb[grown])


def test_an_absurd_value_among_the_outcomes_does_not_drown_the_backtest():
    history = CLEAN.history
    row = int(np.flatnonzero((history.day == 26) & (history.region == 3))[5])
    gb = history.gb.copy()
    gb[row] = 1e7
    wrong = dataclasses.replace(history, gb=gb)
    mend = lambda before: mend_history(before, REGIONS, CLEAN.catalogue)[0]  # noqa: E731
    clean = backtest(history, [LastDay()], origins=3)
    drowned = backtest(wrong, [LastDay()], origins=3, prepare=mend)
    kept = backtest(
        wrong, [LastDay()], origins=3, prepare=mend, outcomes=without_absurd(wrong, REGIONS, CLEAN.catalogue, [])
    )
    assert drowned["wape"].item() > 0.99
    assert kept["wape"].item() == pytest.approx(clean["wape"].item(), rel=0.02)
    assert kept["mase"].item() == pytest.approx(clean["mase"].item(), rel=0.05)


@pytest.mark.parametrize(
    "silent, words", [((24, 28), "vanished"), ((12, 14), "is silent"), ((18, 28), "gone after 7 days")]
)
def test_a_region_that_falls_silent_is_named_and_bridged_for_a_week(silent, words):
    first, end = silent
    history = CLEAN.history
    gone = (history.region == 1) & (history.day >= first) & (history.day < end)
    kept = ~gone
    hourly = history.hourly_gb.copy()
    hourly[first:end, 1] = 0.0
    without = dataclasses.replace(
        history,
        day=history.day[kept],
        region=history.region[kept],
        file=history.file[kept],
        gb=history.gb[kept],
        hourly_gb=hourly,
    )
    made, (problem,), forecast = mended(without)
    assert words in problem.message and "r1" in problem.value
    *_, sound = mended(history)
    share = dense(forecast, 6, 120)[1].sum() / dense(sound, 6, 120)[1].sum()
    assert share == pytest.approx(1.0, abs=0.25) if end - first <= 7 else share < 0.8
    assert (np.diff(made.file * 6.0 * 28 + made.region * 28.0 + made.day) > 0).all()


def test_a_renamed_title_keeps_its_past():
    gb = np.full((20, 6, 4), 30.0)
    gb[12:, :, 0] = 0.0  # "t0" ends when "t1" begins
    gb[:12, :, 1] = 0.0
    gb[:, :, 3] = 5.0
    gb *= np.resize([0.9, 1.1], 20)[:, None, None]
    catalogue = make_catalogue(4, 1, [None] * 4)
    names = ["The Long Night", "the long  night!", "Other", "Another"]
    named = dataclasses.replace(catalogue, titles=catalogue.titles.assign(name=names))
    made, (problem,), _ = mended(history_of(gb), named)
    assert problem.value == "t0, t1" and "handed on" in problem.message
    assert made.gb[made.file == 1].sum() == pytest.approx(20 * 6 * 30.0)
    assert not (made.file == 0).any()


def test_two_titles_of_one_name_at_the_same_time_are_named_and_stay_two():
    catalogue = dataclasses.replace(
        CLEAN.catalogue, titles=CLEAN.catalogue.titles.assign(name=["Twin"] * 40, kind="film", release_date="")
    )
    made, found, _ = mend_twins(catalogue)
    assert len(found) == 39 and all("counted as two" in p.message for p in found)
    assert made.gb.sum() == pytest.approx(CLEAN.history.gb.sum())


def mend_twins(catalogue):
    made, found = mend_history(draw(days=28, sessions=20_000.0, launched=0.0, seed=2).history, REGIONS, catalogue)
    return dataclasses.replace(made, gb=made.gb * CLEAN.history.gb.sum() / made.gb.sum()), found, None


@pytest.mark.parametrize("hours", [3, -5])
def test_a_change_of_clocks_is_named_and_the_days_before_are_moved(hours):
    history = CLEAN.history
    hourly = history.hourly_gb.copy()
    curve = 1 + np.exp(-((np.arange(24) - 20) ** 2) / 8) * 4
    hourly = hourly.sum(axis=2, keepdims=True) * curve / curve.sum()
    hourly[:15, 2] = np.roll(hourly[:15, 2], -hours, axis=1)
    made, (problem,), forecast = mended(dataclasses.replace(history, hourly_gb=hourly))
    assert f"{hours:+d} h" in problem.message
    assert problem.value == f"{START + dt.timedelta(days=15)}, r2"
    assert made.hourly_gb.sum(axis=2) == pytest.approx(history.hourly_gb.sum(axis=2))
    assert made.hourly_gb[:, 2].argmax(axis=1).tolist() == [20] * 28
    at = forecast.region == 2
    assert forecast.peak_gbps[at] == pytest.approx(forecast.gb[at] * curve.max() / curve.sum() * 8 / 3600)


def test_a_change_of_clocks_is_found_in_noise_and_twice():
    """Hours of 80 drawn units each, two changes 9 days apart: found on their days, and a log without one is left alone."""
    rng = np.random.default_rng(4)
    curve = 1 + np.cos((np.arange(24) - 20) * np.pi / 12) * 0.7
    drawn = rng.poisson(80 * curve, (27, 3, 24)).astype(float)
    same, none = one_clock(drawn)
    assert none == [] and same is drawn
    shifted = drawn.copy()
    shifted[9:18, 1] = np.roll(drawn[9:18, 1], 6, axis=1)
    shifted[18:, 1] = np.roll(drawn[18:, 1], -3, axis=1)
    made, changes = one_clock(shifted)
    assert sorted(changes) == [(9, 1, 6), (18, 1, -9)]
    assert made[:, [0, 2]].tolist() == drawn[:, [0, 2]].tolist()
    assert made[:, 1] == pytest.approx(np.roll(drawn[:, 1], -3, axis=1))


def test_small_regions_whose_clock_never_changed_are_left_alone():
    """A hundred regions of 270 sessions a day, whose sizes differ, over ten weeks; two hours at a thousand a day are still seen."""
    rng = np.random.default_rng(7)
    curve = 1 + np.cos((np.arange(24) - 20) * np.pi / 12) * 0.7
    sessions = rng.poisson(270 / 24 * curve, (70, 100, 24))
    _, found = one_clock(rng.gamma(0.7 * sessions + 1e-9, 1.0))
    assert found == []
    seen = rng.poisson(1000 / 24 * curve, (28, 20, 24)).astype(float)
    seen[14:] = np.roll(seen[14:], 2, axis=2)
    _, found = one_clock(seen)
    assert len({region for _, region, hours in found if hours == 2}) >= 15


def test_regions_without_a_byte_or_with_the_same_bytes_every_day_are_named():
    catalogue = make_catalogue(4, 1, [None] * 4)
    gb = np.random.default_rng(3).uniform(1.0, 2.0, (20, 6, 4))
    gb[:, 2] = 0.0
    gb[:, 4] = 1.5
    _, found, forecast = mended(history_of(gb), catalogue)
    assert {p.value: p.message.split(";")[1].strip() for p in found} == {
        "r2": "nothing is forecast for it", "r4": "forecast as it is",
    }  # fmt: skip
    assert forecast.gb[forecast.region == 4] == pytest.approx(1.5, rel=0.2)
    assert not (forecast.region == 2).any()


def test_a_log_without_a_byte_is_named():
    silent = dataclasses.replace(CLEAN.history, gb=CLEAN.history.gb * 0, hourly_gb=CLEAN.history.hourly_gb * 0)
    _, found = mend_history(silent, REGIONS, CLEAN.catalogue)
    assert any("not one byte" in p.message for p in found)
