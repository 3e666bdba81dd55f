"""Forecasts of the published lists, hours and views."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.forecast import elsewhere, launches, unfolding
from benchmarks.forecast_series import daily_views, first_days, hour_launches, read_hours, read_trending, title_hours
from demand.forecast.calendar import read_calendar
from demand.forecast.candidates import weekly_candidates
from demand.forecast.growth import GrowthModel, backtest_growth
from demand.forecast.ranking import BoostedRanker, SameList, backtest_rankers
from demand.forecast.toplists import read_top_lists


def test_a_calendar_forecasts_next_weeks_lists_better_than_repeating_them(shared_data: Path) -> None:
    """The last two weeks; the repeated list's precision counted again, by merging names."""
    path = shared_data / "netflix_top10" / "all-weeks-countries.tsv.gz"
    lists = read_top_lists(path)
    calendar = read_calendar(shared_data / "netflix_engagement" / "netflix_engagement_2023H1_2025H1.csv.gz")
    weeks = [candidates for candidates in weekly_candidates(lists, calendar) if candidates.week >= 24]
    table = backtest_rankers(weeks, [SameList(), BoostedRanker(rounds=40)], origins=2, refit_every=2).set_index("model")
    frame = pd.read_csv(path, sep="\t", keep_default_na=False)
    frame["week"] = pd.to_datetime(frame["week"])
    following = frame.assign(week=frame["week"] - pd.Timedelta(days=7))
    keys = ["country_iso2", "week", "category", "show_title", "season_title"]
    both = frame.merge(following[keys], on=keys)
    kept = both.groupby("week").size() / frame.groupby("week").size()
    expected = kept[kept.index >= sorted(frame["week"].unique())[-3]].dropna().mean()
    assert table.loc["last-value", "precision_at_10"] == pytest.approx(expected)
    assert table.loc["boosted", "precision_at_10"] > expected + 0.03


def test_published_hours_and_new_titles_are_forecast_better_than_naively(shared_data: Path) -> None:
    """The last 26 weeks of hours, and the launches of the last two years from what was known of them."""
    frame = read_hours(shared_data / "netflix_top10" / "all-weeks-global.tsv.gz")
    table = backtest_growth(title_hours(frame), GrowthModel(rounds=60), origins=26, refit_every=26).set_index("model")
    naive = table.loc[["last-value", "seasonal-naive"], "wape"].min()
    assert table.loc["growth", "wape"] < 0.9 * naive
    new = launches(hour_launches(frame, None))
    assert new["launch prior"]["wape"] < 0.8 * new["mean of past launches"]["wape"]
    assert 0.7 < new["launch prior"]["coverage"] < 0.9


@pytest.mark.parametrize("country", ["US", "GB"])
def test_published_views_are_forecast_better_than_naively(shared_data: Path, country: str) -> None:
    frame = read_trending(shared_data / "youtube_trending_2017" / f"{country}videos.csv.gz")
    assert frame["day"].max() == 39
    table = backtest_growth(daily_views(frame), GrowthModel(rounds=60), origins=7, refit_every=7).set_index("model")
    assert table.loc["growth", "wape"] < 0.9 * table.loc[["last-value", "seasonal-naive"], "wape"].min()
    days = unfolding(*first_days(frame))
    assert days["after 0 days"]["wape"] < days["mean of past launches"]["wape"]
    assert days["after 2 days"]["wape"] < days["after 1 days"]["wape"] < 0.5 * days["after 0 days"]["wape"]


def test_countries_tell_of_each_other(shared_data: Path) -> None:
    table = elsewhere(read_top_lists(shared_data / "netflix_top10" / "all-weeks-countries.tsv.gz"))
    assert table["factors"]["wape"] < 0.9 * table["mean of the other countries"]["wape"]
