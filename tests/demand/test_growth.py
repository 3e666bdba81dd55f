"""Growth of short series: rows that know no future, forecasts that follow a law they were not told, bands that hold."""

import numpy as np
import pytest

from demand.forecast.growth import GrowthModel, Steps, backtest_growth, series_steps
from topology.errors import InputError


def decaying(seed: int, series: int = 300, steps: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series that start at different steps and keep 60 % a step, up to noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(series):
        value = rng.lognormal(5, 1)
        for step in range(start := int(rng.integers(0, steps - 3)), min(start + 6, steps)):
            rows.append((s, step, value))
            value *= 0.6 * rng.lognormal(0, 0.2)
    table = np.array(rows)
    return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2]


def steps_of(series: np.ndarray, step: np.ndarray, value: np.ndarray, season: int = 7) -> Steps:
    return series_steps(series, step, value, {}, season=season, group=np.zeros(len(series), np.int64))


def test_a_row_by_hand() -> None:
    """Two series; the second has a gap at step 2, and the season is 3 steps."""
    series = np.array([0, 0, 0, 0, 1, 1, 1])
    step = np.array([0, 1, 2, 3, 0, 1, 3])
    value = np.array([8.0, 4.0, 2.0, 1.0, 100.0, 10.0, 5.0])
    rows = steps_of(series, step, value, season=3)
    column = {name: rows.features[:, n] for n, name in enumerate(rows.names)}
    assert rows.last.tolist() == value.tolist()
    np.testing.assert_array_equal(rows.following, [4, 2, 1, np.nan, 10, np.nan, np.nan])
    np.testing.assert_allclose(column["growth"], np.log([np.nan, 0.5, 0.5, 0.5, np.nan, 0.1, np.nan]))
    np.testing.assert_allclose(column["growth_1"][3], np.log(0.5))
    assert rows.season.tolist() == [8.0, 4.0, 8.0, 4.0, 100.0, 10.0, 10.0]
    assert column["age"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    np.testing.assert_allclose(column["share"], [8 / 108, 4 / 14, 1, 1 / 6, 100 / 108, 10 / 14, 5 / 6])
    np.testing.assert_allclose(column["level_growth"][[1, 2, 5]], np.log([14 / 108, 0.5, 14 / 108]))


def test_the_future_changes_nothing() -> None:
    series, step, value = decaying(1)
    rows = steps_of(series, step, value)
    changed = value.copy()
    changed[step > 20] = np.random.default_rng(2).permutation(changed[step > 20])
    after = steps_of(series, step, changed)
    now = rows.step <= 20
    assert now.sum() > 100
    np.testing.assert_array_equal(rows.features[now], after.features[after.step <= 20])
    np.testing.assert_array_equal(rows.season[now], after.season[after.step <= 20])
    assert not np.array_equal(rows.following[rows.step == 20], after.following[after.step == 20], equal_nan=True)


def test_a_law_it_was_not_told_is_found_and_the_band_holds() -> None:
    """Naive errs by 1 / 0.6 - 1 or more; the noise alone leaves a WAPE of about 0.16."""
    table = backtest_growth(steps_of(*decaying(3)), GrowthModel(rounds=80), origins=12).set_index("model")
    assert table.loc["last-value", "wape"] > 0.6
    assert table.loc["growth", "wape"] < 0.2
    assert abs(table.loc["growth", "bias"]) < 0.06
    assert 0.72 < table.loc["growth", "coverage"] < 0.9
    assert table.loc["growth", "mase"] < 0.4
    assert table["values"].nunique() == 1


def factors_of(factor: np.ndarray, known: np.ndarray | None = None) -> Steps:
    """Series (S, T) that start at 1 and are multiplied by ``factor`` (S, T - 1) step by step."""
    value = np.cumprod(np.column_stack([np.ones(len(factor)), factor]), axis=1)
    at = np.indices(value.shape).reshape(2, -1)
    told = {} if known is None else {"kind": known[at[0]]}
    return series_steps(at[0], at[1], value.ravel(), told, season=7, group=np.zeros(value.size, np.int64))


def split(rows: Steps, last: int) -> tuple[Steps, Steps]:
    """What is learnt from, up to a step, and the rows of the step after."""
    return rows.take(np.flatnonzero(rows.step < last)), rows.take(np.flatnonzero(rows.step == last))


def test_the_margin_of_the_band_by_hand() -> None:
    """All 200 series stay for three steps, so that regressions on these see no spread at all; of their changes at the fourth the 161st is the margin: 0.8 * 201 = 160.8."""
    factor = np.ones((200, 4))
    factor[:, 3] += np.random.default_rng(4).permutation(np.arange(1, 201)) / 1000
    fitted = GrowthModel().fit(factors_of(factor))
    assert fitted.learned().numbers["margin"] == pytest.approx(0.161, abs=1e-6)


@pytest.mark.parametrize("late", [0.05, 0.3], ids=["as calm as before", "less calm than before"])
def test_bands_of_series_that_mostly_stay_are_of_the_size_of_their_jumps(late: float) -> None:
    """A jump is by a factor of 0.4 to 2.3, nine times out of ten."""
    rng = np.random.default_rng(5)
    chance = np.where(np.arange(40) < 30, 0.05, late)
    rows = factors_of(np.where(rng.random((300, 40)) < chance, rng.lognormal(0, 0.5, (300, 40)), 1.0))
    past, now = split(rows, 39)
    low, middle, high = GrowthModel().fit(past).predict(now)
    assert (low >= 0).all() and (low <= middle).all() and (middle <= high).all()
    assert (high / now.last).max() < 3
    assert ((low <= now.following) & (now.following <= high)).mean() > 0.75
    assert np.median((high - low) / now.last) == pytest.approx(0.0 if late < 0.1 else 0.6, abs=0.2)


def test_still_series_do_not_take_the_band_of_restless_ones() -> None:
    """Nine series of ten never change, and a feature tells them from the tenth, whose changes have a known law."""
    rng = np.random.default_rng(6)
    restless = np.arange(400) % 10 == 0
    factor = np.where(restless[:, None], rng.lognormal(0, 0.3, (400, 40)), 1.0)
    past, now = split(factors_of(factor, restless.astype(float)), 39)
    low, _, high = GrowthModel().fit(past).predict(now)
    share = low / now.last, high / now.last
    assert np.abs(np.array(share)[:, ~restless] - 1).max() < 0.02
    wanted = np.exp(0.3 * 1.2816 * np.array([-1, 1]))  # 10 % and 90 % quantile of the law
    assert [np.median(end[restless]) for end in share] == pytest.approx(wanted, abs=0.12)


def test_last_value_by_hand_in_the_backtest() -> None:
    """One series 1, 2, 4, 8 …: repeating it is wrong by half of what comes; its error over that of the steps before the origin is the MASE."""
    step = np.arange(12)
    table = backtest_growth(
        steps_of(np.zeros(12, int), step, 2.0**step), GrowthModel(rounds=2, smallest_leaf=1), origins=2
    ).set_index("model")
    assert table.loc["last-value", "wape"] == pytest.approx(0.5)
    assert table.loc["last-value", "bias"] == pytest.approx(-0.5)
    assert table.loc["last-value", "mase"] == pytest.approx((2.0**9 + 2.0**10) / 2 / np.mean(2.0 ** np.arange(9)))


def test_values_that_are_not_above_zero_are_not_measured() -> None:
    rows = steps_of(np.zeros(4, int), np.arange(4), np.array([3.0, 0.0, -1.0, 2.0]))
    assert rows.last.tolist() == [3.0, 2.0]
    assert np.isnan(rows.following).all()
    assert not np.isinf(rows.features).any()


def test_a_constant_series_stays() -> None:
    table = backtest_growth(
        steps_of(np.repeat([0, 1], 30), np.tile(np.arange(30), 2), np.ones(60)), GrowthModel(rounds=30), origins=3
    )
    assert table["wape"].max() < 1e-6


def test_what_cannot_be_forecast_is_refused() -> None:
    with pytest.raises(InputError, match="two values"):
        steps_of(np.zeros(2, int), np.zeros(2, int), np.ones(2))
    lone = steps_of(np.arange(3), np.zeros(3, int), np.ones(3))
    with pytest.raises(InputError, match="no step"):
        GrowthModel().fit(lone)
    with pytest.raises(InputError, match="origins"):
        backtest_growth(lone, GrowthModel(), origins=1)
