"""What the boosted model looks at: one row for a region and title, an origin and a day after it.

Nothing in it is later than the origin, but for what is known in advance.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np

from demand.events import SIGNALS
from demand.forecast.known import Known, titles_of
from demand.forecast.pooled import PooledState
from demand.forecast.world import NO_LAUNCH
from demand.playback import History

RECENT = (1, 3, 7)
"""Latest days whose demand is set against what the pooled model says of them."""
OLD = 400.0
"""Age given to titles whose launch nobody knows."""
NAMES = (
    "log_base", "log_taste", "log_volume", "lead", "weekday", "age_days", "runtime_minutes", "kind", "genre", "language", "country",
    *(f"own_{k}" for k in RECENT), *(f"world_{k}" for k in RECENT), *(f"region_{k}" for k in RECENT), "same_weekday",
    *SIGNALS, *(f"recent_{name}" for name in SIGNALS),
)  # fmt: skip
CATEGORIES = ("weekday", "kind", "genre", "language", "country")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Days:
    """GB of each region and title by day of the log: ``gb[day]`` is (R, T) float32 for the days that are held."""

    gb: dict[int, np.ndarray]

    @classmethod
    def of(cls, history: History, known: Known, first: int) -> "Days":
        """The days of a history from entry ``first`` of its dates on."""
        titles = known.titles
        cell = history.region.astype(np.int64) * titles + titles_of(history)[history.file]
        days = {}
        for day in range(max(first, 0), len(history.dates)):
            rows = history.day == day
            total = np.bincount(cell[rows], history.gb[rows], history.regions * titles)
            days[day] = total.reshape(history.regions, titles).astype(np.float32)
        return cls(gb=days)


def candidate_rows(base: np.ndarray, limit: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a (R, T) forecast to learn from, about ``limit`` of them, and the weight that each stands for.

    Large forecasts are all taken; of small ones as many as their volume deserves, so that the weighted rows stand for all.
    """
    cells = np.flatnonzero(base > 0)
    if len(cells) <= limit:
        return cells, np.ones(len(cells))
    size = np.sqrt(base.ravel()[cells])
    low, high = 0.0, float(1 / size.min())
    for _ in range(50):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(1, scale * size).sum() < limit else (low, scale)
    chance = np.minimum(1, low * size)
    taken = rng.random(len(cells)) < chance
    return cells[taken], 1 / chance[taken]


def feature_rows(
    state: PooledState, days: Days, dates: tuple[dt.date, ...], base: np.ndarray, date: dt.date, cells: np.ndarray
) -> np.ndarray:  # fmt: skip
    """(N, len(NAMES)) float32.

    Parameters
    ----------
    dates
        The days up to the origin.
    base
        (R, T) the pooled forecast of ``date``.
    cells
        (N,) places in the flattened (R, T).
    """
    origin, titles = len(dates), base.shape[1]
    region, title = np.divmod(cells, titles)
    regional, known = state.regional, state.known
    noise = regional.taste.noise_gb
    launch = state.attention.launch[known.group_of]
    age = np.where(launch > NO_LAUNCH, date.toordinal() - launch, OLD)
    facts = known.features
    columns = [
        np.log(base.ravel()[cells]), np.log(regional.taste.lean.ravel()[cells]), np.log(np.maximum(regional.volume[region], 1e-9)),
        np.full(len(cells), (date - dates[-1]).days), np.full(len(cells), date.weekday()), age[title],
        known.runtime_minutes[title], facts[title, 0], facts[title, 1], facts[title, 2], known.country_of[region],
    ]  # fmt: skip
    came, meant = np.zeros_like(base), np.zeros_like(base)
    ratios: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for back in range(1, max(RECENT) + 1):
        day = origin - back
        if day in days.gb:
            came += days.gb[day]
            meant += state.titles(dates[day])
        if back in RECENT:
            own = np.log((came.ravel()[cells] + noise) / (meant.ravel()[cells] + noise))
            world = np.log((came.sum(axis=0) + noise) / (meant.sum(axis=0) + noise))
            whole = np.log((came.sum(axis=1) + noise) / (meant.sum(axis=1) + noise))
            ratios[back] = own, world[title], whole[region]
    for part in range(3):
        columns += [ratios[back][part] for back in RECENT]
    week_before = date - dt.timedelta(days=7 * -(-(date - dates[-1]).days // 7))
    at = dates.index(week_before) if week_before in dates else -1
    if at in days.gb:
        meant_then = state.titles(week_before).ravel()[cells]
        columns.append(np.log((days.gb[at].ravel()[cells] + noise) / (meant_then + noise)))
    else:
        columns.append(np.full(len(cells), np.nan))
    columns += _announced(known, dates, date, region, title, base.shape[0])
    return np.column_stack([np.asarray(c, np.float32) for c in columns])


def _announced(
    known: Known, dates: tuple[dt.date, ...], date: dt.date, region: np.ndarray, title: np.ndarray, regions: int
) -> list[np.ndarray]:
    """The announcements of the day, and their mean over the last week of the log, which the recent demand already holds."""
    if known.events is None:
        return [np.zeros(len(region))] * (2 * len(SIGNALS))
    there = known.events.on(np.datetime64(date), region, title, regions)
    past = np.zeros_like(there)
    for day in dates[-7:]:
        past += known.events.on(np.datetime64(day), region, title, regions) / len(dates[-7:])
    return [*there.T, *past.T]
