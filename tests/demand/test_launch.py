"""Launches: the regression against its formula and against what made the data, shrinkage by hand, slips by simulation, factors recovered."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast import LAUNCH_WEEKS, launches, unfolding
from benchmarks.forecast_series import LAUNCH_DAYS
from demand.forecast.factors import fit_factors
from demand.forecast.launch import Belief, LaunchCurve, fit_launch_curve, fit_launch_prior, launch_day_demand, update
from topology.errors import InputError

NORMAL_90 = 1.2815515655446004


def made_up_launches(seed: int, n: int = 600) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Titles whose log volume is 10, plus 1 for series, minus 0.7 for one language, plus half of log hours of runtime, and noise of 0.5."""
    rng = np.random.default_rng(seed)
    kind, language = rng.choice(["film", "series"], n), rng.choice(["en", "xx", ""], n)
    runtime = np.where(rng.random(n) < 0.2, np.nan, rng.uniform(30, 600, n))
    titles = pd.DataFrame(
        {
            "kind": kind, "language": language, "runtime_minutes": runtime,
            "release_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D"),
        }
    )  # fmt: skip
    expected = 10 + (kind == "series") - 0.7 * (language == "xx") + 0.5 * np.nan_to_num(np.log(runtime / 60))
    return titles, expected, np.exp(expected + rng.normal(0, 0.5, n))


def test_the_prior_finds_what_made_the_launches() -> None:
    titles, expected, volume = made_up_launches(1)
    belief = fit_launch_prior(titles[:400], volume[:400]).predict(titles[400:])
    assert np.sqrt(np.mean((belief.log_mean - expected[400:]) ** 2)) < 0.15
    assert np.sqrt(belief.log_variance) == pytest.approx(np.full(200, 0.5), abs=0.08)
    inside = (belief.quantile(0.1) <= volume[400:]) & (volume[400:] <= belief.quantile(0.9))
    assert 0.73 <= inside.mean() <= 0.87
    wape = np.abs(belief.quantile(0.5) - volume[400:]).sum() / volume[400:].sum()
    assert wape < 0.8 * np.abs(volume[:400].mean() - volume[400:]).sum() / volume[400:].sum()


def test_the_mean_is_that_of_launches_whose_largest_are_smaller_than_the_normal_law_lets_them_be() -> None:
    """Log volumes skewed to the left, as with a most watched title that none exceeds; and the normal law itself, whose mean is ``exp(m + v / 2)``."""
    rng = np.random.default_rng(6)
    titles = pd.DataFrame({"runtime_minutes": rng.uniform(60, 600, 4000)})
    content = np.log(titles["runtime_minutes"].to_numpy() / 60)
    for drawn, lower, upper in ((-rng.exponential(1.5, 4000), 0.0, 0.6), (rng.normal(0, 1, 4000), 0.9, 1.0)):
        volume = np.exp(content + drawn)
        belief = fit_launch_prior(titles[:2000], volume[:2000]).predict(titles[2000:])
        assert lower < belief.upper <= upper
        assert belief.mean.sum() == pytest.approx(volume[2000:].sum(), rel=0.1)
        assert belief.mean == pytest.approx(np.exp(belief.log_mean + belief.upper * belief.log_variance / 2))
    few = fit_launch_prior(titles[:2], np.array([1.0, 1.0])).predict(titles[2:4])
    assert np.isfinite(few.mean).all() and (few.mean > 0).all()


def test_content_that_says_nothing_is_shrunk_away() -> None:
    titles, _, _ = made_up_launches(2)
    volume = np.random.default_rng(3).lognormal(10, 1, len(titles))
    belief = fit_launch_prior(titles, volume).predict(titles)
    assert belief.log_mean.std() < 0.15
    assert belief.log_mean.mean() == pytest.approx(np.log(volume).mean(), abs=0.02)


def test_a_predecessor_speaks_for_its_sequel_but_a_later_launch_does_not() -> None:
    rng = np.random.default_rng(4)
    strength = rng.normal(0, 1.5, 150)
    titles = pd.DataFrame({"series": np.tile([f"s{s}" for s in range(150)], 2), "number": np.repeat([1.0, 2.0], 150)})
    volume = np.exp(8 + np.tile(strength, 2) + rng.normal(0, 0.2, 300))
    prior = fit_launch_prior(titles, volume)
    asked = pd.DataFrame({"series": ["s0", "s1", "unheard of"], "number": [3.0, 3.0, 3.0]})
    found = prior.predict(asked).log_mean
    assert found[:2] == pytest.approx(8 + strength[:2], abs=0.5)
    first_only = fit_launch_prior(titles[:150], volume[:150])
    again = pd.DataFrame({"series": ["s0", "s1"], "number": [1.0, 1.0]})
    assert np.ptp(first_only.predict(again).log_mean) == pytest.approx(0.0, abs=1e-9)


def test_a_feature_that_hardly_varied_does_not_run_away() -> None:
    """One predecessor among the past launches, and a launch like the mean: what a far larger one says of its sequel is not known, and not beyond all numbers."""
    rng = np.random.default_rng(7)
    titles = pd.DataFrame({"series": [f"s{n}" for n in range(99)] + ["s0"], "number": [1.0] * 99 + [2.0]})
    volume = np.exp(np.append(rng.normal(8, 1, 99), 8.0))
    volume[0] = np.exp(np.log(volume).mean() + 1e-4)
    prior = fit_launch_prior(titles, volume)
    belief = prior.predict(pd.DataFrame({"series": ["s1", "s0"], "number": [2.0, 3.0]}))
    assert belief.log_mean == pytest.approx(np.full(2, np.log(volume).mean()), abs=1.0)
    assert (belief.log_variance < 3).all() and (belief.mean < 10 * volume.max()).all()


def test_levels_nobody_has_seen_fall_back_to_the_mean() -> None:
    titles, _, volume = made_up_launches(5)
    prior = fit_launch_prior(titles, volume)
    known = prior.predict(titles)
    odd = prior.predict(pd.DataFrame({"kind": ["opera"], "genre": ["?"]}))
    assert np.isfinite(odd.log_mean).all()
    assert known.log_mean.min() < odd.log_mean[0] < known.log_mean.max()


def test_the_first_days_by_hand() -> None:
    """Prior N(log 100, 0.5); the first day holds half, variance 0.125; 200 views came on it, so the data say 400, with four times the weight."""
    belief = Belief(log_mean=np.log([100.0, 100.0]), log_variance=np.array([0.5, 0.5]))
    curve = LaunchCurve(log_share=np.log([0.5, 1.0]), variance=np.array([0.125, 0.0]))
    after = update(belief, curve, 1, np.array([200.0, 0.0]))
    assert after.log_mean == pytest.approx([np.log(100) / 5 + np.log(400) * 4 / 5, np.log(100)])
    assert after.log_variance == pytest.approx([1 / (2 + 8), 0.5])
    whole = update(belief, curve, 2, np.array([150.0, 1.0]))
    assert whole.quantile(0.5) == pytest.approx([150.0, 1.0], rel=1e-3)


def test_a_curve_by_hand() -> None:
    curve = fit_launch_curve(np.array([[1.0, 1.0], [3.0, 1.0], [0.0, 5.0]]))
    share = np.log([0.5, 0.75])
    assert curve.log_share == pytest.approx([share.mean(), 0.0])
    assert curve.variance == pytest.approx([share.var(ddof=1), 0.0])
    assert curve.daily_share.sum() == pytest.approx(1.0)


def test_more_days_bring_the_forecast_nearer() -> None:
    rng = np.random.default_rng(6)
    titles, _, volume = made_up_launches(6)
    share = rng.dirichlet([8, 5, 4, 3, 2], len(volume))
    curve = fit_launch_curve((volume[:, None] * share)[:400])
    belief = fit_launch_prior(titles[:400], volume[:400]).predict(titles[400:])
    wape = []
    for days in range(4):
        views = (volume[400:, None] * share[400:, :days]).sum(axis=1)
        median = (update(belief, curve, days, views) if days else belief).quantile(0.5)
        wape.append(np.abs(median - volume[400:]).sum() / volume[400:].sum())
    assert wape == sorted(wape, reverse=True)
    assert wape[3] < 0.4 * wape[0]


def test_a_slip_against_simulation() -> None:
    """Mean and band of a mixture, drawn a million times."""
    belief = Belief(log_mean=np.array([5.0, 7.0]), log_variance=np.array([0.3, 1.0]))
    curve = LaunchCurve(log_share=np.log([0.4, 0.7, 1.0]), variance=np.array([0.1, 0.1, 0.0]))
    slip = np.array([0.6, 0.25, 0.1])
    mean, low, high = launch_day_demand(belief, curve, 1, slip)
    rng = np.random.default_rng(7)
    late = rng.choice(4, 1_000_000, p=[*slip, 0.05])
    share = np.where(late == 0, 0.3, np.where(late == 1, 0.4, 0.0))
    for title in range(2):
        drawn = share * rng.lognormal(belief.log_mean[title], np.sqrt(belief.log_variance[title]), len(late))
        assert mean[title] == pytest.approx(drawn.mean(), rel=0.01)
        assert low[title] == pytest.approx(np.quantile(drawn, 0.1), abs=0.02 * high[title])
        assert high[title] == pytest.approx(np.quantile(drawn, 0.9), rel=0.01)
    assert low.tolist() == [0.0, 0.0]


def test_without_a_slip_the_band_is_that_of_the_belief() -> None:
    belief = Belief(log_mean=np.array([5.0]), log_variance=np.array([0.49]))
    curve = LaunchCurve(log_share=np.log([0.5, 1.0]), variance=np.array([0.1, 0.0]))
    _, low, high = launch_day_demand(belief, curve, 0, np.array([1.0]))
    assert [low[0], high[0]] == pytest.approx([np.exp(5 - 0.7 * NORMAL_90) / 2, np.exp(5 + 0.7 * NORMAL_90) / 2])
    for day in (-1, 2):
        assert [values[0] for values in launch_day_demand(belief, curve, day, np.array([1.0]))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("slip", [[0.9, 0.2], [-0.1, 1.0]])
def test_chances_must_be_chances(slip: list[float]) -> None:
    belief = Belief(log_mean=np.zeros(1), log_variance=np.ones(1))
    with pytest.raises(InputError, match="probabilities"):
        launch_day_demand(belief, LaunchCurve(log_share=np.zeros(1), variance=np.zeros(1)), 0, np.array(slip))


@pytest.mark.parametrize("volume", [[1.0, 0.0], [1.0, np.nan], [1.0, np.inf], [2.0]])
def test_launches_need_volumes(volume: list[float]) -> None:
    with pytest.raises(InputError, match="launch"):
        fit_launch_prior(pd.DataFrame({"kind": ["film"] * len(volume)}), np.array(volume))
    with pytest.raises(InputError, match="curve"):
        fit_launch_curve(np.zeros((3, 2)))


def test_factors_recover_what_made_the_views() -> None:
    """A matrix of rank 2 in the logs, half of its cells hidden: far nearer than the title's mean elsewhere."""
    rng = np.random.default_rng(8)
    regions, titles = 40, 300
    logs = (
        3
        + rng.normal(0, 0.5, regions)[:, None]
        + rng.normal(0, 1, titles)
        + rng.normal(0, 1, (regions, 2)) @ rng.normal(0, 1, (2, titles))
    )
    shown = rng.random((regions, titles)) < 0.5
    factors = fit_factors(logs, shown.astype(float), rng=rng, rank=2, strength=0.1, rounds=40)
    found = factors.table()[~shown]
    assert np.corrcoef(found, logs[~shown])[0, 1] > 0.98
    mean = ((logs * shown).sum(axis=0) / shown.sum(axis=0))[np.nonzero(~shown)[1]]
    assert np.abs(found - logs[~shown]).mean() < 0.3 * np.abs(mean - logs[~shown]).mean()


def test_factors_weigh_pairs_as_ridge_regression_does() -> None:
    """Titles of one region and no traits worth anything: the offset of each is its weighted mean, drawn to the level as the strength says."""
    rng = np.random.default_rng(10)
    off, weight = np.log([[2.0, 8.0, 4.0]]), np.array([[1.0, 3.0, 0.0]])
    factors = fit_factors(off, weight, rng=rng, rank=1, strength=1e6, rounds=2)
    assert factors.level == pytest.approx((np.log(2) + 3 * np.log(8)) / 4)
    assert factors.table() == pytest.approx(np.full((1, 3), factors.level), abs=1e-4)


def test_a_title_that_no_region_has_gets_the_means_and_nothing_is_refused_but_emptiness() -> None:
    rng = np.random.default_rng(9)
    weight = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    factors = fit_factors(np.log([[2.0, 1.0], [8.0, 1.0], [1.0, 1.0]]), weight, rng=rng)
    assert np.exp(factors.table()[2, 1]) == pytest.approx(4.0)
    with pytest.raises(InputError, match="factorise"):
        fit_factors(np.zeros((1, 1)), np.zeros((1, 1)), rng=rng)
    with pytest.raises(InputError, match="factorise"):
        fit_factors(np.log(np.zeros((1, 1)) + 1e-300) - np.inf, np.ones((1, 1)), rng=rng)


# --- the benchmark ---


def test_videos_whose_days_are_not_over_say_nothing_of_later_ones() -> None:
    """At the median day the views of videos from the days before it are not all there: whatever they come to, no forecast changes."""
    rng = np.random.default_rng(11)
    day = np.repeat(np.arange(30), 6)
    about = pd.DataFrame({"day": day, "topic": rng.integers(0, 3, len(day))})
    daily = rng.lognormal(8, 1, (len(day), LAUNCH_DAYS))
    cut = 15
    table = unfolding(about, daily)
    assert table["after 0 days"]["values"] == (day >= cut).sum()

    def others(chosen: np.ndarray) -> bool:
        return unfolding(about, np.where(chosen[:, None], 1e3 * daily, daily)) != table

    assert not others((day > cut - LAUNCH_DAYS) & (day < cut))
    assert others(day == cut - LAUNCH_DAYS)  # the last of its days is the one on which the first forecasts are made


def test_too_few_videos_or_launches_before_are_named() -> None:
    about = pd.DataFrame({"day": [0, 0, 4, 4], "topic": [1, 1, 1, 1]})
    with pytest.raises(InputError, match=r"views\.csv: 0 videos had their first 5 days before"):
        unfolding(about, np.ones((4, LAUNCH_DAYS)), table="views.csv")
    with pytest.raises(InputError, match="0 videos"):
        unfolding(about[:0], np.ones((0, LAUNCH_DAYS)))
    some = pd.DataFrame({"step": np.arange(1, LAUNCH_WEEKS + 2), "category": "TV", "hours": 5.0})
    with pytest.raises(
        InputError, match=r"hours\.tsv: launches of the last 104 weeks .* there are 1\. Mend: give a file of 106"
    ):
        launches(some, table="hours.tsv")
    with pytest.raises(InputError, match="there are 0"):
        launches(some[:0])


def test_a_category_without_a_past_launch_is_forecast_as_any() -> None:
    step = np.arange(1, LAUNCH_WEEKS + 12)
    category = np.where(step > LAUNCH_WEEKS, "Films", "TV")
    table = launches(pd.DataFrame({"step": step, "category": category, "hours": 4.0 + step % 3}))
    assert all(np.isfinite(row["wape"]) for row in table.values())
    assert table["mean of past launches"]["values"] == LAUNCH_WEEKS
