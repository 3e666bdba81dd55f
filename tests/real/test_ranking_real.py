"""Next week's lists on the published files."""

from pathlib import Path

import pandas as pd
import pytest

from demand.forecast.calendar import read_calendar
from demand.forecast.candidates import weekly_candidates
from demand.forecast.ranking import BoostedRanker, SameList, backtest_rankers
from demand.forecast.toplists import read_top_lists


def test_a_calendar_forecasts_next_weeks_lists_better_than_repeating_them(shared_data: Path) -> None:
    """The last two weeks; the repeated list's precision counted again, by merging names."""
    path = shared_data / "netflix_top10" / "all-weeks-countries.tsv.gz"
    lists = read_top_lists(path)
    calendar = read_calendar(shared_data / "netflix_engagement" / "netflix_engagement_2023H1_2025H1.csv.gz")
    weeks = weekly_candidates(lists, calendar, first=24)
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
