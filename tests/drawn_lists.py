"""Weekly lists drawn from a law, and a release calendar that goes with them."""

import numpy as np
import pandas as pd

from demand.forecast.calendar import ReleaseCalendar, build_calendar

WEEKS = 16


def made_up_frame(seed: int = 5) -> pd.DataFrame:
    """Five countries whose lists of films and seasons drift, so that titles come, stay, leave and return."""
    rng = np.random.default_rng(seed)
    rows = []
    for category, season in (("Films", False), ("TV", True)):
        strength = rng.normal(size=60)
        taste = rng.normal(size=(5, 60))
        debut = rng.integers(-6, WEEKS, 60)
        for week in range(WEEKS):
            for country in range(5):
                age = week - debut
                score = np.where(age >= 0, strength + 0.5 * taste[country] - 0.3 * age + rng.normal(0, 0.3, 60), -99)
                for rank, title in enumerate(np.argsort(-score)[:10], start=1):
                    show = f"{'Series' if season else 'Film'} No. {title}x"
                    rows.append(
                        {
                            "country_iso2": "ABCDE"[country], "week": pd.Timestamp("2022-01-02") + pd.Timedelta(weeks=week), "category": category,
                            "weekly_rank": rank, "show_title": show, "season_title": f"{show}: Season 1" if season else "N/A",
                            "cumulative_weeks_in_top_10": 1,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def made_up_calendar(frame: pd.DataFrame) -> ReleaseCalendar:
    """Every listed title, released three days before the end of its first week, and one that no list ever shows."""
    season = frame["season_title"] != "N/A"
    frame = frame.assign(name=frame["season_title"].where(season, frame["show_title"]), season=season)
    first = frame.groupby(["name", "season"])["week"].min().reset_index()
    day = pd.to_datetime(first["week"]) - pd.Timedelta(days=3)
    releases = pd.DataFrame(
        {
            "name": first["name"],
            "day": day.dt.date,
            "season": first["season"],
            "minutes": 30.0 + 7 * np.arange(len(first)),
        }
    )
    return build_calendar(
        pd.concat(
            [releases, pd.DataFrame({"name": ["Flop"], "day": [pd.Timestamp("2022-03-03").date()], "season": [False]})]
        )
    )
