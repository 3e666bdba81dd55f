"""What announcements make of demand, learned from the log: promotions, exposure, campaigns and holidays of the table ``events``.

A signal ``x`` counts as ``z = log2(1 + x / usual)``, ``usual`` being its mean where it is announced: 0 for none, 1 for a usual one. Demand with announcements is
demand without them times ``exp(b' z)``; rows that name a title and rows that hold for all titles have coefficients ``b`` of their own. They are learned from pairs
of consecutive days between which an announcement comes, goes or changes: of the ``n`` GB that a series has on both days, the second day has ``n * p`` with
``logit p = log(T2 / T1) + b' (z2 - z1)``, ``T`` being what else moves it: of a title the demand for all others times the law of its ageing, of a region its
weekday. What a series asks for as a rule cancels out (conditional
Poisson regression; Cameron and Trivedi 2013, 9.3). ``b ~ N(0, 1)`` beforehand, and chance is measured on the pairs between which nothing changes.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from demand.events import SIGNALS, Events
from demand.forecast.base import region_day_gb, weekdays
from demand.forecast.known import Known, titles_of
from demand.forecast.smoothing import weekday_factors
from demand.laws import load_laws
from demand.playback import History

STEPS = 20
"""Newton steps; the problem is convex."""
ROUNDS = 3
"""Times that what else moves a series is measured anew, without the announcements as they are known by then."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uplift:
    """Log factors (K,) of a usual announcement of a title, and of one for all titles; ``usual`` (K,) sizes of the signals."""

    events: Events
    usual: np.ndarray
    of_title: np.ndarray
    of_all: np.ndarray

    def of_titles(self, dates: Sequence[dt.date], regions: int) -> tuple[np.ndarray, np.ndarray]:
        """(E,) the titles that are announced on one of the dates, and (D, R, E) what their demand is multiplied by."""
        own = part_of(self.events, self.events.title >= 0)
        title = titles_on(own, dates)
        return title, np.exp(signals(own, dates, regions, title, self.usual) @ self.of_title)

    def of_regions(self, dates: Sequence[dt.date], regions: int) -> np.ndarray:
        """(D, R) what the demand for all titles is multiplied by."""
        whole = part_of(self.events, self.events.title < 0)
        made = signals(whole, dates, regions, np.zeros(1, np.int32), self.usual)[:, :, 0]
        return np.asarray(np.exp(made @ self.of_all))

    def taken_from(self, history: History) -> History:
        """The history as it would have been without announcements."""
        gb = history.gb / self.of_regions(history.dates, history.regions)[history.day, history.region]
        title, factor = self.of_titles(history.dates, history.regions)
        place = np.full(int(titles_of(history).max(initial=-1)) + 1, -1)
        place[title] = np.arange(len(title))
        at = place[titles_of(history)][history.file]
        some = at >= 0
        gb[some] /= factor[history.day[some], history.region[some], at[some]]
        return dataclasses.replace(history, gb=gb)


def fit_uplift(history: History, known: Known) -> Uplift | None:
    """Learn what announcements do from the days of a log; None where it saw none."""
    events = known.events
    if events is None:
        return None
    seen = part_of(events, np.isin(events.date, np.array(history.dates, "datetime64[D]")))
    if not len(seen.date):
        return None
    there = seen.signal > 0
    usual = seen.signal.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    usual = np.where(usual > 0, usual, 1.0)
    own, whole = part_of(seen, seen.title >= 0), part_of(seen, seen.title < 0)
    return Uplift(
        events=events, usual=usual, of_title=_title_factors(history, known, own, usual),
        of_all=_region_factors(history, whole, usual),
    )  # fmt: skip


def part_of(events: Events, rows: np.ndarray) -> Events:
    """Some rows (E,) bool of the events."""
    return Events(
        date=events.date[rows], region=events.region[rows], title=events.title[rows], signal=events.signal[rows]
    )


def titles_on(events: Events, dates: Sequence[dt.date]) -> np.ndarray:
    """The titles that rows of some dates name, ascending."""
    named = events.title[np.isin(events.date, np.array(dates, "datetime64[D]"))]
    return np.unique(named[named >= 0])


def signals(events: Events, dates: Sequence[dt.date], regions: int, title: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(D, R, E, K) float: ``z`` of what is announced for each day, region and title (E,)."""
    made = np.zeros((len(dates), regions * len(title), len(SIGNALS)))
    region, named = np.divmod(np.arange(regions * len(title)), max(len(title), 1))
    days = np.array(dates, "datetime64[D]")
    for d in np.flatnonzero(np.isin(days, events.date)).tolist():
        made[d] = np.log2(1 + events.on(days[d], region, title[named], regions) / usual)
    return made.reshape(len(dates), regions, len(title), len(SIGNALS))


def log_factors(gb: np.ndarray, offset: np.ndarray, z: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(K,) coefficients from the pairs of consecutive days of some series.

    Parameters
    ----------
    gb
        (N, D) GB >= 0 of each series and day.
    offset
        (N, D - 1) log of what is expected of the later day over that of the earlier, announcements aside.
    z
        (N, D, K) signals.
    usable
        (N, D - 1) bool: which pairs count.
    """
    change = np.diff(z, axis=1)
    both = gb[:, :-1] + gb[:, 1:]
    usable = usable & (both > 0)
    changed = usable & (change != 0).any(axis=2)
    if not changed.any():
        return np.zeros(z.shape[2])
    still = usable & ~changed
    n, p = both[still], expit(offset[still])
    chance = float(((gb[:, 1:][still] - n * p) ** 2).sum() / max(float((n * p * (1 - p)).sum()), 1e-300))
    if not chance > 0:
        chance = float(both[changed].mean())
    later, n = gb[:, 1:][changed] / chance, both[changed] / chance
    x, known = change[changed], offset[changed]
    found = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = expit(known + x @ found)
        slope = x.T @ (later - n * p) - found
        found = found + np.linalg.solve((x * (n * p * (1 - p))[:, None]).T @ x + np.eye(len(found)), slope)
    return found


def _title_factors(history: History, known: Known, own: Events, usual: np.ndarray) -> np.ndarray:
    title = np.unique(own.title)
    if not len(title):
        return np.zeros(len(SIGNALS))
    one = (
        history.regions if (own.region >= 0).any() else 1
    )  # without a row of one region the regions are taken together
    days, series = len(history.dates), one * len(title)
    place = np.full(known.titles, -1)
    place[title] = np.arange(len(title))
    at = place[titles_of(history)][history.file].astype(np.int64)
    some = at >= 0
    region = history.region[some].astype(np.int64) if one > 1 else np.zeros(int(some.sum()), np.int64)
    key = (region * len(title) + at[some]) * days + history.day[some]
    gb = np.bincount(key, history.gb[some], series * days).reshape(series, days)
    whole = region_day_gb(history)
    whole = (whole if one > 1 else whole.sum(axis=0, keepdims=True))[:, None]
    ordinal = np.array([day.toordinal() for day in history.dates], np.int64)
    launch = known.launch[title].astype("datetime64[D]")
    told = ~np.isnat(launch)
    first = np.where(told, launch.astype(np.int64) + dt.date(1970, 1, 1).toordinal(), ordinal[0])
    age = np.clip(ordinal - first[:, None], 0, None).astype(float)
    fade = np.where(told[:, None], load_laws().ageing.rate(age.ravel()).reshape(age.shape), 1.0)
    out = np.broadcast_to(ordinal >= first[:, None], (one, len(title), days)).reshape(series, days)
    z = signals(own, history.dates, one, title, usual).transpose(1, 2, 0, 3)
    by_title, found = gb.reshape(one, len(title), days), np.zeros(len(SIGNALS))
    for _ in range(ROUNDS):
        plain = by_title / np.exp(z @ found)
        others = whole - by_title.sum(axis=1, keepdims=True) + plain.sum(axis=1, keepdims=True) - plain
        base = (np.maximum(others, 0.0) * fade).reshape(series, days)
        usable = (base[:, :-1] > 0) & (base[:, 1:] > 0) & out[:, :-1] & (np.diff(ordinal) == 1)
        found = log_factors(gb, _log_ratio(base), z.reshape(series, days, len(SIGNALS)), usable)
    return found


def _region_factors(history: History, whole: Events, usual: np.ndarray) -> np.ndarray:
    if not len(whole.title):
        return np.zeros(len(SIGNALS))
    total, day = region_day_gb(history), weekdays(history.dates)
    follows = np.diff([date.toordinal() for date in history.dates]) == 1
    z = signals(whole, history.dates, history.regions, np.zeros(1, np.int32), usual)[:, :, 0].transpose(1, 0, 2)
    found = np.zeros(len(SIGNALS))
    for _ in range(ROUNDS):
        base = weekday_factors(history.dates, total / np.exp(z @ found))[:, day]
        found = log_factors(total, _log_ratio(base), z, (base[:, :-1] > 0) & (base[:, 1:] > 0) & follows)
    return found


def _log_ratio(base: np.ndarray) -> np.ndarray:
    safe = np.where(base > 0, base, 1.0)
    return np.asarray(np.log(safe[:, 1:]) - np.log(safe[:, :-1]))
