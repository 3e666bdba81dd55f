"""What share of a country's hours each work has in each week: ranks where it is listed, the engagement report and the law of ageing elsewhere."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from demand.laws import Ageing
from demand.names import title_key
from demand.netflix.files import FILM, Published
from demand.netflix.ranks import LIST, RankLaw

WEEK = 7
MEMORY = 26
"""Weeks after which a list is forgotten."""


def list_works(published: Published, countries: pd.Index, weeks: Sequence[dt.date]) -> pd.DataFrame:
    """The works that were listed lately in one of the countries, and those of the report nearest to the last week, if they were out by then.

    Returns
    -------
    kind, key, name, show (of a season, as the lists or its own name say; of a film ""), language ("" where not known), release_date, runtime_minutes
    (NaN, NaT where not known), share: of the hours of the report, 0 where it is not there; and first, last: the days of the report.
    """
    report = nearest_report(published.engagement, weeks[-1])
    hours = report["hours"].sum()
    known = published.engagement.sort_values("hours", ascending=False, kind="stable")
    release = known.dropna(subset="release_date").groupby(["kind", "key"])["release_date"].first()
    runtime = known.dropna(subset="runtime_minutes").groupby(["kind", "key"])["runtime_minutes"].first()
    best = report.sort_values("hours", ascending=False, kind="stable").drop_duplicates(["kind", "key"])
    listed = recent_lists(published.lists, countries, weeks[-1]).drop_duplicates(["kind", "key"])
    both = pd.concat([listed[["kind", "key", "name", "show"]], best[["kind", "key", "name"]].assign(show="")])
    both["show"] = [
        "" if kind == FILM else show or title_key(name)[0]
        for kind, show, name in zip(both["kind"], both["show"], both["name"], strict=True)
    ]
    works = both.drop_duplicates(["kind", "key"]).set_index(["kind", "key"])
    works["language"] = _languages(published, weeks[0]).reindex(works.index).fillna("")
    works["release_date"] = release.reindex(works.index)
    works["runtime_minutes"] = runtime.reindex(works.index)
    works["share"] = (best.set_index(["kind", "key"])["hours"] / hours).reindex(works.index).fillna(0.0)
    works["first"], works["last"] = report["first"].iloc[0], report["last"].iloc[0]
    works = works.reset_index()
    out = ~(works["release_date"] > pd.Timestamp(weeks[-1])) | works["key"].isin(listed["key"])
    return works[out].reset_index(drop=True)


def _languages(published: Published, first_week: dt.date) -> pd.Series:
    """Language by kind and key: of the global lists before the log, else of the reports' names.

    A later global list would also tell that a title of the log's own weeks was going to be watched everywhere, which nobody knew before its launch.
    """
    named = published.engagement[published.engagement["language"] != ""]
    earlier = published.worldwide["week"] < pd.Timestamp(first_week)
    both = pd.concat([published.worldwide[earlier], named])[["kind", "key", "language"]]
    found: pd.Series = both.drop_duplicates(["kind", "key"]).set_index(["kind", "key"])["language"]
    return found


def nearest_report(engagement: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """The rows of the half-year that holds a day, or is nearest to it."""
    spans = engagement[["first", "last"]].drop_duplicates().to_numpy("datetime64[D]")
    away = np.maximum(spans[:, 0] - np.datetime64(day), np.datetime64(day) - spans[:, 1])
    nearest: pd.DataFrame = engagement[engagement["first"] == spans[away.argmin(), 0]]
    return nearest


def recent_lists(lists: pd.DataFrame, countries: pd.Index, week: dt.date) -> pd.DataFrame:
    """The lists of some countries in a week and the :data:`MEMORY` weeks before it."""
    last = pd.Timestamp(week)
    since = last - pd.Timedelta(weeks=MEMORY)
    return lists[lists["country"].isin(countries) & (lists["week"] > since) & (lists["week"] <= last)]


def listed_shares(
    lists: pd.DataFrame, works: pd.DataFrame, countries: pd.Index, week: dt.date, laws: Mapping[str, RankLaw]
) -> pd.DataFrame:
    """The recent lists as numbers: country and work by index, week (its Sunday) and the share of hours that the rank says, by week."""
    recent = recent_lists(lists, countries, week)
    index = pd.MultiIndex.from_frame(works[["kind", "key"]])
    kinds = [(recent["kind"] == kind).to_numpy() for kind in laws]
    rows = pd.DataFrame(
        {
            "country": countries.get_indexer(pd.Index(recent["country"])),
            "work": index.get_indexer(pd.MultiIndex.from_frame(recent[["kind", "key"]])),
            "week": recent["week"].to_numpy(),
            "share": np.select(kinds, [law.share(recent["rank"].to_numpy()) for law in laws.values()]),
        }
    )
    rows = rows.sort_values(["week", "share"], ascending=[True, False], kind="stable")
    return rows.drop_duplicates(["week", "country", "work"])  # two works of one name: the better rank


def weekly_shares(
    rows: pd.DataFrame,
    works: pd.DataFrame,
    launch: np.ndarray,
    weeks: Sequence[dt.date],
    laws: Mapping[str, RankLaw],
    ageing: Ageing,
    taste: np.ndarray,
) -> np.ndarray:
    """Shares of the hours of each country and week.

    A listed work has what its rank says. Any other has the larger of two: what the report says, aged from the half-year to the week and turned by the
    country's taste; and what its last rank said, aged since. It never has more than the eleventh of its kind; and all of them together have what the
    listed ones leave.

    Parameters
    ----------
    rows
        From :func:`listed_shares`.
    launch
        (T,) from :func:`launches`.
    taste
        (C, T) float, mean 1: how much more of an unlisted work a country watches than the world does.

    Returns
    -------
    (C, W, T) float, each country and week summing to 1, or less where even the caps leave something over.
    """
    cap = works["kind"].map({kind: float(law.share(LIST + 1)) for kind, law in laws.items()}).to_numpy(float)
    in_report = mean_rate(launch, pd.date_range(works["first"].iloc[0], works["last"].iloc[0]), ageing)
    made = np.zeros((len(taste), len(weeks), len(works)))
    for w, week in enumerate(weeks):
        days = pd.date_range(end=pd.Timestamp(week), periods=WEEK)
        rate = mean_rate(launch, days, ageing)
        rest = works["share"].to_numpy() * _ratio(rate, in_report) * taste
        before = rows[rows["week"] < days[-1]].drop_duplicates(["country", "work"], keep="last")
        for last in before["week"].unique():
            part = before[before["week"] == last]
            fall = np.minimum(_ratio(rate, mean_rate(launch, pd.date_range(end=last, periods=WEEK), ageing)), 1.0)
            at = (part["country"].to_numpy(), part["work"].to_numpy())
            rest[at] = np.maximum(rest[at], part["share"].to_numpy() * fall[at[1]])
        now = rows[rows["week"] == days[-1]]
        at = (now["country"].to_numpy(), now["work"].to_numpy())
        made[at[0], w, at[1]] = now["share"]
        rest[at] = 0.0
        for c in range(len(taste)):
            made[c, w] += fill_up(rest[c], cap, 1.0 - made[c, w].sum())
    return made


def daily_shares(
    weekly: np.ndarray, launch: np.ndarray, days: Sequence[dt.date], ageing: Ageing
) -> Iterator[np.ndarray]:
    """Spread the shares of each week over its days by the law of ageing, nothing before the launch: (C, T) for each day.

    Parameters
    ----------
    weekly
        (C, W, T) float; a week's seven days add up to seven times its share.
    launch
        (T,) datetime64[D].
    days
        Seven for each week.
    """
    for w in range(weekly.shape[1]):
        week = np.array(days[WEEK * w : WEEK * (w + 1)], "datetime64[D]")
        rate = np.array([daily_rate(launch, day, ageing) for day in week])
        total = rate.sum(axis=0)
        shape = np.divide(WEEK * rate, total, out=np.ones_like(rate), where=total > 0)
        for day_shape in shape:
            yield weekly[:, w] * day_shape


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(above, below, out=np.zeros(len(above)), where=below > 0))


def launches(works: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """(T,) datetime64[D]: the release date; where it is not known, or later than the first list, the first day of that list; else NaT."""
    first = np.full(len(works), np.datetime64("NaT", "D"))
    seen = rows.groupby("work")["week"].min()
    first[seen.index] = seen.to_numpy("datetime64[D]") - (WEEK - 1)
    release = works["release_date"].to_numpy("datetime64[D]")
    late = release > first + (WEEK - 1)
    return np.where(np.isnat(release) | late, first, release)


def mean_rate(launch: np.ndarray, days: pd.DatetimeIndex, ageing: Ageing) -> np.ndarray:
    """(T,) float: mean of the rate of ageing over some days; 1 for works without a launch."""
    total = np.zeros(len(launch))
    for day in days.to_numpy("datetime64[D]"):
        total += daily_rate(launch, day, ageing)
    return total / len(days)


def daily_rate(launch: np.ndarray, day: np.datetime64, ageing: Ageing) -> np.ndarray:
    """(T,) float: the rate of ageing on a day, 0 before the launch, 1 where there is none to age from."""
    return np.where(np.isnat(launch), 1.0, ageing.rate((day - launch).astype(float)))


def fill_up(weight: np.ndarray, cap: np.ndarray, total: float) -> np.ndarray:
    """The multiple of the weights, none above its cap, that sums to a total (all at their caps where even these are too little).

    Examples
    --------
    >>> fill_up(np.array([8.0, 1.0, 1.0]), np.full(3, 0.5), 1.0)
    array([0.5 , 0.25, 0.25])
    """
    if total <= 0 or not weight.any():
        return np.zeros(len(weight))
    full = np.divide(cap, weight, out=np.full(len(weight), np.inf), where=weight > 0)
    order = np.argsort(full, kind="stable")  # those that reach their cap first
    capped = np.concatenate([[0.0], np.cumsum(cap[order])])[:-1]
    free = np.cumsum(weight[order][::-1])[::-1]
    multiple = np.divide(total - capped, free, out=np.full(len(weight), np.inf), where=free > 0)
    fits = np.flatnonzero((multiple <= full[order]) & (free > 0))
    return np.minimum(weight * multiple[fits[0]], cap) if len(fits) else np.where(weight > 0, cap, 0.0)
