"""The published weekly hours and daily views as series, and launches with what was known of them: what ``benchmarks.forecast`` measures on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from demand.forecast.calendar import ReleaseCalendar
from demand.forecast.growth import Steps, series_steps
from demand.names import title_key
from topology.errors import InputError, Problem
from topology.tables import load_schema, read_table

WEEKS_OF_A_YEAR = 52
LAUNCH_DAYS = 5
WEEKS_LISTED = "cumulative_weeks_in_top_10"
"""Tells a launch: optional elsewhere, needed here."""


def read_hours(path: Path) -> pd.DataFrame:
    """The global weekly lists with ``name`` and ``step`` (weeks since the first).

    Raises
    ------
    InputError
        With everything that is wrong in the file.
    """
    problems: list[Problem] = []
    schema = load_schema("demand", "netflix_global")
    needed = tuple(replace(a, status="required") if a.name == WEEKS_LISTED else a for a in schema.attributes)
    frame = read_table(path, replace(schema, table=path.name, attributes=needed), problems)
    if frame is None:
        raise InputError(problems)
    season = frame["season_title"]
    frame["name"] = frame["show_title"].where(season.isin(["N/A", ""]), season)
    frame["step"] = (frame["week"] - frame["week"].min()).dt.days // 7
    return frame.sort_values(["step", "category", "weekly_rank"], ignore_index=True)


def title_hours(frame: pd.DataFrame) -> Steps:
    """A series a title: its weekly hours while it is listed."""
    return _hours(frame, pd.factorize(frame["category"] + "\n" + frame["show_title"] + "\n" + frame["name"])[0])


def place_hours(frame: pd.DataFrame) -> Steps:
    """A series a category and place of its list: the hours of whatever title holds the place, every week."""
    return _hours(frame, pd.factorize(frame["category"] + "\n" + frame["weekly_rank"].astype(str))[0])


def _hours(frame: pd.DataFrame, series: np.ndarray) -> Steps:
    known = {"rank": frame["weekly_rank"].to_numpy(), "weeks": frame[WEEKS_LISTED].to_numpy()}
    category = pd.factorize(frame["category"], sort=True)[0]
    hours = frame["weekly_hours_viewed"].to_numpy(float)
    return series_steps(series, frame["step"].to_numpy(), hours, known, season=WEEKS_OF_A_YEAR, group=category)


def read_trending(path: Path) -> pd.DataFrame:
    """Trending videos by day: ``video_id``, ``day``, ``views`` (cumulative), ``gained`` (since the day before, NaN without it).

    ``date`` is dd.mm read as a number, so that 1.1 is the first of October; lines of a wrong length are skipped; of a video twice on a day the
    last row counts.

    Raises
    ------
    InputError
        The file is no table, or lacks a column.
    """
    mend = "give a file of trending videos by day"
    try:
        frame = pd.read_csv(path, on_bad_lines="skip", encoding="utf-8-sig")
    except ValueError as error:
        raise InputError(Problem(table=path.name, message=f"not a CSV table ({error})", mend=mend)) from error
    missing = {"video_id", "date", "views", "likes", "category_id"} - set(frame.columns)
    if missing:
        column = ", ".join(sorted(missing))
        raise InputError(Problem(table=path.name, column=column, message="the column is missing", mend=mend))
    written = frame["date"].map(lambda date: f"2017-{float(date):05.2f}")
    date = pd.to_datetime(written, format="%Y-%d.%m")
    frame = frame.assign(day=(date - date.min()).dt.days).drop_duplicates(["video_id", "day"], keep="last")
    frame = frame.sort_values(["video_id", "day"], ignore_index=True)
    by_video = frame.groupby("video_id")
    frame["gained"] = by_video["views"].diff().where(by_video["day"].diff() == 1)
    return frame


def daily_views(frame: pd.DataFrame) -> Steps:
    """A series a video: views gained a day while it trends."""
    frame = frame[frame["gained"] > 0]
    views = frame["views"].to_numpy(float)
    known = {
        "log_views": np.log(views),
        "gained_share": frame["gained"].to_numpy() / views,
        "likes": np.log1p(frame["likes"].to_numpy(float)) - np.log(views),
        "topic": frame["category_id"].to_numpy(),
    }
    videos = pd.factorize(frame["video_id"])[0]
    return series_steps(
        videos,
        frame["day"].to_numpy(),
        frame["gained"].to_numpy(),
        known,
        season=7,
        group=np.zeros(len(frame), np.int64),
    )


def hour_launches(frame: pd.DataFrame, calendar: ReleaseCalendar | None) -> pd.DataFrame:
    """Titles in the first week of their first list: what was known of them before, ``hours`` and ``step``.

    The release day is the calendar's last one up to the end of that week, if it is at most a week before; the weekday of others is unknown.
    """
    first = frame[(frame[WEEKS_LISTED] == 1) & (frame["step"] > 0)].drop_duplicates(["category", "name"])
    keys = [title_key(name) for name in first["name"]]
    is_season = first["category"].str.startswith("TV").to_numpy()
    end = first["week"].to_numpy("datetime64[D]")
    released = np.full(len(first), np.datetime64("NaT"), "datetime64[D]")
    if calendar is not None:
        days: dict[tuple[str, int, bool], list[np.datetime64]] = {}
        rows = zip(calendar.series, calendar.number, calendar.is_season, calendar.day, strict=True)
        for series, number, season, day in rows:
            days.setdefault((series, int(number), bool(season)), []).append(day)
        for row, (key, season) in enumerate(zip(keys, is_season, strict=True)):
            near = [day for day in days.get((*key, bool(season)), []) if 0 <= (end[row] - day).astype(int) < 14]
            released[row] = max(near, default=np.datetime64("NaT"))
    runtime = first["runtime"].to_numpy(float) * 60 if "runtime" in first else np.nan  # 0: unknown
    return pd.DataFrame(
        {
            "step": first["step"].to_numpy(),
            "kind": np.where(is_season, "series", "film"),
            "language": first["category"].str.extract(r"\((.*)\)")[0].to_numpy(),
            "release_date": released,
            "week": end,
            "runtime_minutes": runtime,
            "series": [series for series, _ in keys],
            "number": [number for _, number in keys],
            "category": first["category"].to_numpy(),
            "hours": first["weekly_hours_viewed"].to_numpy(float),
        }
    )


def first_days(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Videos seen gaining on :data:`LAUNCH_DAYS` days from the second of their trending: ``day`` and ``topic``; and the gains (N, D)."""
    since = frame["day"] - frame.groupby("video_id")["day"].transform("min")
    rows = frame[(frame["gained"] > 0) & (since >= 1) & (since <= LAUNCH_DAYS)].assign(since=since)
    daily = rows.pivot_table(index="video_id", columns="since", values="gained").dropna()
    about = frame.drop_duplicates("video_id").set_index("video_id").loc[daily.index]
    return pd.DataFrame({"day": about["day"].to_numpy(), "topic": about["category_id"].to_numpy()}), daily.to_numpy()
