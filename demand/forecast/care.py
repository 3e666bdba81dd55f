"""What is wrong with a log that can be read, named and mended before anything is forecast from it.

Rows that are no sound rows at all (negative, not finite, unknown names) are refused when the log is read, each with its row. What is left are logs that are
sound row by row and still cannot be right as a whole. :func:`mend_history` names each case as a :class:`~topology.errors.Problem` and returns the
history that forecasters should see; the log itself stays as it is.
"""

import dataclasses
import datetime as dt
import itertools

import numpy as np
import pandas as pd

from demand.catalogue import Catalogue
from demand.forecast.base import region_day_gb
from demand.forecast.clocks import one_clock
from demand.playback import HOURS, History
from topology.errors import Problem

ABSURD = 10.0
"""One file asked for this many times what its whole region asks for on a usual day is a fault of the log."""
SILENT_ENTRIES = 20
"""A region that usually asks for as many files a day does not ask for none by chance: a Poisson count of 20 is 0 once in 500 million days."""
BRIDGE_DAYS = 7
"""Silent days of a region that are filled from the week before; what is silent longer is gone. Of days in another unit likewise: what is so for longer is how it is."""
FLAT_DAYS = 5
"""A region that asks for the very same GB on as many days is copied or made up."""
MOST_NAMED = 20


def mend_history(history: History, regions: pd.Index, catalogue: Catalogue) -> tuple[History, list[Problem]]:
    """A history to forecast from, and what was found on the way.

    Days that the log lacks are named and stay unknown. A renamed title hands its past to its new name. Values that cannot be are replaced, silent days of
    a region are filled for a week, and hours before a change of clocks are moved to the new one.
    """
    found: list[Problem] = []
    if not history.dates:
        return history, found
    _name_gaps(history, found)
    _name_silent_log(history, found)
    _name_flat_regions(history, regions, found)
    history = _join_renamed(history, catalogue, found)
    history = without_absurd(history, regions, catalogue, found)
    history = _bridged(history, regions, found)
    return _same_clock(history, regions, found), found


def _say(found: list[Problem], column: str, value: object, message: str, mend: str) -> None:
    found.append(Problem(table="playback", column=column, value=str(value), message=message, mend=mend))


def _name_gaps(history: History, found: list[Problem]) -> None:
    first, last = history.dates[0], history.dates[-1]
    missing = [d for i in range((last - first).days) if (d := first + dt.timedelta(days=i)) not in set(history.dates)]
    if missing:
        days = ", ".join(map(str, missing[:MOST_NAMED])) + (" …" if len(missing) > MOST_NAMED else "")
        _say(
            found,
            "start",
            days,
            f"{len(missing)} day{'s' if len(missing) > 1 else ''} without a log; taken as unknown, not as silent",
            "import them",
        )


def _name_silent_log(history: History, found: list[Problem]) -> None:
    if len(history.gb) and history.gb.sum() <= 0:
        _say(found, "gb", 0, "the log holds sessions, but not one byte; nothing is forecast", "check the size column")


def _name_flat_regions(history: History, regions: pd.Index, found: list[Problem]) -> None:
    """Regions that ask for nothing at all, or for the very same on every day."""
    total = region_day_gb(history)
    if total.sum() <= 0:
        return
    for r in np.flatnonzero(total.sum(axis=1) <= 0).tolist():
        message = "not one byte of the region in the whole log; nothing is forecast for it"
        _say(found, "region", regions[r], message, "import its sessions, or remove the region")
    for r in np.flatnonzero((total > 0).all(axis=1) & (np.ptp(total, axis=1) <= 1e-9 * total.max(axis=1))).tolist():
        if len(history.dates) >= FLAT_DAYS:
            message = f"the region asks for the same {total[r, 0]:.6g} GB on every day of the log; forecast as it is"
            _say(found, "gb", regions[r], message, "import each day's own sessions")


def _join_renamed(history: History, catalogue: Catalogue, found: list[Problem]) -> History:
    """Titles of one display name, kind and release day: where the second begins after the first ends, it is the first under a new identifier."""
    titles = catalogue.titles
    if "name" not in titles:
        return history
    name = titles["name"].fillna("").astype(str).str.casefold().str.replace(r"[\W_]+", "", regex=True)
    keys = pd.DataFrame({"name": name})
    for column in ("kind", "release_date", "series"):
        if column in titles:
            keys[column] = titles[column].astype(str)
    twins = keys[(name != "").to_numpy() & keys.duplicated(keep=False).to_numpy()]
    if twins.empty:
        return history
    title = catalogue.title_of[history.file]
    days = len(history.dates)
    first, last = np.full(len(titles), days), np.full(len(titles), -1)
    np.minimum.at(first, title, history.day)
    np.maximum.at(last, title, history.day)
    new_file = np.arange(history.files)
    place = {
        (t, p): f for f, (t, p) in enumerate(zip(catalogue.title_of.tolist(), catalogue.files["profile"], strict=True))
    }
    for _, group in twins.groupby(list(keys.columns), sort=False):
        order = sorted(group.index.tolist(), key=lambda t: first[t])
        for a, b in itertools.pairwise(order):
            names = f"{catalogue.title_ids[a]}, {catalogue.title_ids[b]}"
            if last[a] < 0 or last[b] < 0 or last[a] >= first[b]:
                _say(
                    found,
                    "title",
                    names,
                    "two titles have the same name; they are counted as two",
                    "make them one, if they are",
                )
                continue
            _say(
                found,
                "title",
                names,
                "the same name, the second from the day the first ends; its past is handed on",
                "keep one identifier a title",
            )
            for f in np.flatnonzero(catalogue.title_of == a).tolist():
                target = place.get((b, catalogue.files["profile"].iloc[f]))
                if target is not None:
                    new_file[new_file == f] = target
    if (new_file == np.arange(history.files)).all():
        return history
    return _sorted(history, history.day, history.region, new_file[history.file].astype(np.int32), history.gb)


def without_absurd(history: History, regions: pd.Index, catalogue: Catalogue, found: list[Problem]) -> History:
    """The history with the median of its other days for each value that cannot be, and days in another unit as usual ones; each is appended to ``found``."""
    days, R = len(history.dates), history.regions
    cell = history.region.astype(np.int64) * days + history.day
    total = region_day_gb(history)
    usual = np.array([np.median(row[row > 0]) if (row > 0).any() else 0.0 for row in total])
    history = _in_one_unit(history, regions, total, usual, found)
    wrong = np.flatnonzero((history.gb > ABSURD * usual[history.region]) & (days > 2))
    if not len(wrong):
        return history
    gb = history.gb.copy()
    hourly = history.hourly_gb.copy()
    series = history.file.astype(np.int64) * R + history.region
    for i in wrong.tolist():
        alike = gb[np.searchsorted(series, series[i]) : np.searchsorted(series, series[i], side="right")]
        sound = alike[alike <= ABSURD * usual[history.region[i]]]
        gb[i] = float(np.median(sound)) if len(sound) else 0.0
    for i in wrong[:MOST_NAMED].tolist():
        where = f"{history.dates[history.day[i]]}, {regions[history.region[i]]}, {catalogue.file_ids[history.file[i]]}"
        times = history.gb[i] / usual[history.region[i]]
        message = f"{history.gb[i]:.6g} GB of one file, {times:.3g} times what the region asks for on a usual day; taken as {gb[i]:.6g}"
        more = (
            f" (and {len(wrong) - MOST_NAMED} more)" if len(wrong) > MOST_NAMED and i == wrong[MOST_NAMED - 1] else ""
        )
        _say(found, "gb", where, message + more, "correct the log")
    for r, d in {(int(history.region[i]), int(history.day[i])) for i in wrong}:
        curve = np.delete(hourly[:, r], [int(history.day[i]) for i in wrong if history.region[i] == r], axis=0).sum(
            axis=0
        )
        now = float(gb[cell == r * days + d].sum())
        hourly[d, r] = now * (curve / curve.sum() if curve.sum() > 0 else np.full(HOURS, 1 / HOURS))
    return dataclasses.replace(history, gb=gb, hourly_gb=hourly)


def _in_one_unit(
    history: History, regions: pd.Index, total: np.ndarray, usual: np.ndarray, found: list[Problem]
) -> History:
    """Days on which a region asks for :data:`ABSURD` times as much as usual or as little, and so for its files one by one, brought to a usual day's GB.

    A day of few sessions is none of them: what is seldom asked for is then not asked for, or as much as ever.

    Parameters
    ----------
    total, usual
        (R, D) GB of each region and day, and (R,) the median of its days.
    """
    days, least = total.shape[1], usual[:, None] / ABSURD
    odd = [] if days <= 2 else [total > ABSURD * usual[:, None], (total > 0) & (total < least)]
    if not any(days_of.any() for days_of in odd):
        return history
    gb, hourly = history.gb.copy(), history.hourly_gb.copy()
    for r, at in [
        (r, np.flatnonzero(days_of[r])) for days_of in odd for r in np.flatnonzero(days_of.any(axis=1)).tolist()
    ]:
        own = np.flatnonzero(history.region == r)
        files, of = np.unique(history.file[own], return_inverse=True)
        table = np.full((len(files), days), np.nan)
        table[of, history.day[own]] = np.where(history.gb[own] > 0, history.gb[own], np.nan)
        for run in np.split(at, np.flatnonzero(np.diff(at) >= BRIDGE_DAYS) + 1):
            others = np.delete(table, run, axis=1)
            both = np.isfinite(table[:, run]).any(axis=1) & np.isfinite(others).any(axis=1)
            if run[-1] - run[0] >= BRIDGE_DAYS or not both.any():
                continue
            times = float(np.median(np.nanmedian(table[both][:, run], axis=1) / np.nanmedian(others[both], axis=1)))
            if 1 / ABSURD <= times <= ABSURD:
                continue
            for d in run.tolist():
                part = usual[r] / total[r, d]
                gb[own[history.day[own] == d]] *= part
                hourly[d, r] *= part
            what = f"{history.dates[run[0]]} to {history.dates[run[-1]]}, {regions[r]}"
            message = f"the region asks for {times:.3g} times as much of its files as on other days; taken as {usual[r]:.6g} GB a day"
            _say(found, "gb", what, message, "correct the log: is it in another unit?")
    return dataclasses.replace(history, gb=gb, hourly_gb=hourly)


def _bridged(history: History, regions: pd.Index, found: list[Problem]) -> History:
    """Silent days of regions that are never silent, filled with the same weekday of the week before, or the day before."""
    days, R = len(history.dates), history.regions
    entries = np.bincount(history.region.astype(np.int64) * days + history.day, minlength=R * days).reshape(R, days)
    index = {date: i for i, date in enumerate(history.dates)}
    parts = [(history.day, history.region, history.file, history.gb)]
    hourly = history.hourly_gb.copy()
    for r in np.flatnonzero((entries == 0).any(axis=1) & (entries > 0).any(axis=1)).tolist():
        there = np.flatnonzero(entries[r] > 0)
        if np.median(entries[r, there]) < SILENT_ENTRIES:
            continue
        silent = np.flatnonzero((entries[r] == 0) & (np.arange(days) > there[0]))
        if not len(silent):
            continue
        runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1)
        for run in runs:
            gone = int(run[-1]) == days - 1
            filled = run[:BRIDGE_DAYS]
            what = f"{history.dates[run[0]]} to {history.dates[run[-1]]}, {regions[r]}"
            rest = "" if len(run) <= BRIDGE_DAYS else f"; silent since, it counts as gone after {BRIDGE_DAYS} days"
            vanished = "vanished from the log" if gone else "is silent"
            message = f"the region {vanished} for {len(run)} days; filled from the week before{rest}"
            _say(found, "region", what, message, "import its sessions, or remove the region")
            for d in filled.tolist():
                week_before = index.get(history.dates[d] - dt.timedelta(days=7), -1)
                source = week_before if week_before >= 0 and entries[r, week_before] > 0 else int(there[there < d][-1])
                rows = np.flatnonzero((history.region == r) & (history.day == source))
                parts.append(
                    (np.full(len(rows), d, np.int32), history.region[rows], history.file[rows], history.gb[rows])
                )
                hourly[d, r] = history.hourly_gb[source, r]
    if len(parts) == 1:
        return history
    day, region, file, gb = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _sorted(dataclasses.replace(history, hourly_gb=hourly), day, region, file, gb)


def _same_clock(history: History, regions: pd.Index, found: list[Problem]) -> History:
    """Hours of days before a region's clock was changed, moved to where they are now; the bytes of the days stay."""
    hourly, changes = one_clock(history.hourly_gb)
    for day, region, hours in changes:
        message = f"from this day on the hours of the region lie {hours:+d} h off; earlier days were moved alike"
        _say(found, "start", f"{history.dates[day]}, {regions[region]}", message, "write all times in UTC")
    return dataclasses.replace(history, hourly_gb=hourly) if changes else history


def _sorted(history: History, day: np.ndarray, region: np.ndarray, file: np.ndarray, gb: np.ndarray) -> History:
    """A history of other entries, sorted; entries of one day, region and file are added up."""
    key = (file.astype(np.int64) * history.regions + region) * len(history.dates) + day
    keys, inverse = np.unique(key, return_inverse=True)
    series, new_day = np.divmod(keys, len(history.dates))
    new_file, new_region = np.divmod(series, history.regions)
    return dataclasses.replace(
        history, day=new_day.astype(np.int32), region=new_region.astype(np.int32), file=new_file.astype(np.int32),
        gb=np.bincount(inverse, gb, len(keys)),
    )  # fmt: skip
