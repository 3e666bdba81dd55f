"""The import itself: published files in; titles, files and a playback log of a network folder out."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from demand.bitrate import default_ladder
from demand.catalogue import build_catalogue
from demand.laws import load_laws
from demand.netflix.files import read_published
from demand.netflix.places import locate
from demand.netflix.ranks import fit_rank_laws
from demand.netflix.shares import WEEK, daily_shares, launches, list_works, listed_shares, weekly_shares
from demand.netflix.titles import cut_into_titles, file_table, title_table
from demand.playback import refuse_second_catalogue, write_days
from demand.workload import draw_playback
from topology.errors import InputError, Problem
from topology.network import read_network
from topology.tables import find_table, write_table


def import_netflix(
    source: Path,
    folder: Path,
    *,
    country: str | None = None,
    week: dt.date,
    weeks: int = 3,
    titles: int = 1500,
    sessions_per_day: float = 40_000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write a catalogue and a playback log drawn from Netflix's published files into a network folder.

    The log covers whole weeks. The regions' subscribers and time zones are written too, where the tables of countries and cities are there.

    Parameters
    ----------
    source
        Folder of the files, at any depth: ``all-weeks-countries.tsv``, ``all-weeks-global.tsv``, an engagement report ``*engagement*.csv``; and of
        ``geonames_cities15000.csv``, ``geonames_countries.csv``, ``owid_share-of-individuals-using-the-internet.csv``.
    folder
        A network folder without titles, files and playback.
    country
        Whose list every region follows; None: each the list of the country nearest to it.
    week
        The last week, by its Sunday.
    weeks
        How many, >= 1.
    titles
        Size of the catalogue in films and episodes, the most viewed works first, >= 1.
    sessions_per_day
        Mean, all regions together, > 0.
    progress
        Is told what was found.

    Returns
    -------
    Counts of titles, files, days, sessions and countries.

    Raises
    ------
    InputError
        With what is wrong with the files, the network or the arguments. Nothing is written then.
    """
    say = progress or (lambda _: None)
    _check_arguments(weeks, titles, sessions_per_day)
    network = read_network(folder)
    refuse_second_catalogue(folder)
    published = read_published(source)
    sundays, listed = _weeks(published.lists, week, weeks)
    places = locate(source, network, country, listed)
    countries = pd.Index(pd.unique(places.country))
    rank_laws, laws = fit_rank_laws(published.worldwide, published.engagement), load_laws()
    for kind, law in rank_laws.items():
        say(
            f"{kind}: hours by rank as (rank + {law.shift:.2f})^-{law.exponent:.2f}, R² {law.r2:.4f} over {law.weeks} weeks; "
            f"the ten first hold {law.top_share:.1%} of all hours"
        )
    works = list_works(published, countries, sundays)
    rows = listed_shares(published.lists, works, countries, week, rank_laws)
    launch = launches(works, rows)
    rng, tastes = np.random.default_rng([seed, 2]).spawn(2)
    taste = np.exp(laws.taste_sd * tastes.standard_normal((len(countries), len(works))) - laws.taste_sd**2 / 2)
    shares = weekly_shares(rows, works, launch, sundays, rank_laws, laws.ageing, taste)

    at = countries.get_indexer(pd.Index(places.country))
    people = np.bincount(at, places.subscribers, len(countries)) / places.subscribers.sum()
    cut = cut_into_titles(works, np.einsum("c,cwt->t", people, shares), titles, published.engagement)
    in_title = shares[:, :, cut.work] / cut.episodes
    say(
        f"{len(works):,} works are listed or in the report of {works['first'].iloc[0]:%Y-%m}; the {len(cut.work):,} titles of the first "
        f"{len(np.unique(cut.work)):,} hold {float((people @ in_title.sum(axis=2)).mean()):.1%} of the hours"
    )
    titles_table, ladder = title_table(works, cut), default_ladder()
    files = file_table(titles_table, ladder)
    regions = network.regions.assign(subscribers=places.subscribers, timezone=places.timezone)
    days = [sundays[0] - dt.timedelta(days=WEEK - 1 - i) for i in range(WEEK * weeks)]
    watched = laws.watching.mean_minutes(cut.runtime_minutes)
    wanted = ((share / watched)[at] for share in daily_shares(in_title, launch[cut.work], days, laws.ageing))
    log = draw_playback(
        rng, build_catalogue(titles_table, files), regions, days, laws, wanted, sessions_per_day=sessions_per_day
    )
    sessions = write_days(folder, log)
    if places.known:
        write_table(regions, find_table(folder, "regions") or folder / "regions.csv")
    write_table(files, folder / "files.csv")
    write_table(titles_table, folder / "titles.csv")
    return {
        "titles": len(titles_table), "files": len(files), "days": len(days), "sessions": sessions, "countries": len(countries),
    }  # fmt: skip


def _check_arguments(weeks: int, titles: int, sessions_per_day: float) -> None:
    named = {"--weeks": weeks, "--titles": titles, "--sessions-per-day": sessions_per_day}
    problems = [
        Problem(table="arguments", column=name, value=str(value), message="not a number of 1 or more", mend="give one")
        for name, value in named.items()
        if not 1 <= value < np.inf
    ]
    if problems:
        raise InputError(problems)


def _weeks(lists: pd.DataFrame, week: dt.date, weeks: int) -> tuple[list[dt.date], pd.Index]:
    """The Sundays, ascending, and the countries that have lists in all of them."""
    if week.isoweekday() != 7:
        near = week + dt.timedelta(days=7 - week.isoweekday())
        mend = f"weeks are named by the Sunday on which they end: --week {near}"
        raise InputError(
            Problem(table="arguments", column="--week", value=str(week), message="not a Sunday", mend=mend)
        )
    sundays = [week - dt.timedelta(weeks=weeks - 1 - i) for i in range(weeks)]
    there = lists[lists["week"].isin(pd.to_datetime(sundays))].groupby("country")["week"].nunique()
    known = lists["week"].drop_duplicates()
    if missing := [day for day in sundays if pd.Timestamp(day) not in set(known)]:
        mend = f"the file has weeks from {known.min():%Y-%m-%d} to {known.max():%Y-%m-%d}; choose --week and --weeks among them"
        raise InputError(
            Problem(
                table="arguments", column="--week", value=str(missing[0]), message="no lists of this week", mend=mend
            )
        )
    return sundays, pd.Index(there.index[there == weeks])
