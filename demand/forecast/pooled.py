"""Region x title demand as what the world watches, times the size of the region, times its taste: nothing but NumPy, and the default.

A region's own log of a title is too thin to smooth: most titles are asked for a few times a day in a region. But a title rises and fades
everywhere at once (``world``), regions swell and shrink as a whole, and what sets a region apart lasts. So

    gb[r, t] = volume[r] * attention[t] * taste[r, t]

with the attention of :mod:`demand.forecast.world` (of titles that are new, :mod:`demand.forecast.premieres`) and the taste of :mod:`demand.forecast.taste`: posterior
means, each drawn to what the whole makes expect as far as chance asks for. The same rule is applied to the groups of titles that are watched as a whole
(a season launched in one day), to the part of each title in its group, and to what sets a region's part apart. Files share a title's demand by the
region's encode mix, shrunk alike.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demand.demand import Demand
from demand.forecast.announced import Uplift, fit_uplift
from demand.forecast.bands import (
    YOUNG_DAYS,
    Bands,
    Errors,
    band_origins,
    bands_as_arrays,
    bands_from_arrays,
    learn_bands,
)
from demand.forecast.base import Learned, banded_demand, region_day_gb, require_history, weekdays
from demand.forecast.known import Known, closed_days, known_or_told, offered, titles_of
from demand.forecast.premieres import launch_band, session_sizes
from demand.forecast.smoothing import weekday_factors
from demand.forecast.taste import Shut, Taste, by_title, measure_taste
from demand.forecast.world import NO_LAUNCH, Attention, World, attention, world_of
from demand.playback import History

VOLUME_HALF_LIFE, VOLUME_DAYS = 3.0, 14
"""Smoothing of a region's total."""
TASTE_HALF_LIFE = 20.0
"""Age at which a day counts half in a region's taste, which changes slowly."""
MIX_SESSIONS = 20.0
"""Sessions' worth of demand by which the encode mix of a title is drawn to that of its region."""
DISPLACED = 0.5
"""Part of a launch's demand that would have gone to other titles; the rest comes on top. See docs/daily-forecasts.md."""
LEAST_SHARE = 1e-8
"""Part of a region's volume below which an entry is left out."""
CELLS = 4_000_000
"""Region x file cells that are worked on at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regional:
    """What sets regions apart at the end of a log.

    Parameters
    ----------
    volume
        (R,) GB of a day without its weekday factor; ``factor`` (R, 7) are the weekday's.
    taste
        What sets their titles apart.
    asked
        (R, F) GB of the weighted days.
    profile_mix
        (R, P) share of each encode profile in a region.
    """

    volume: np.ndarray
    factor: np.ndarray
    taste: Taste
    asked: np.ndarray
    profile_mix: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledState:
    """A fitted moment, and what is known of the days to come; ``uplift`` is what announcements do, None where the log saw none."""

    attention: Attention
    regional: Regional
    title_of: np.ndarray
    known: Known
    uplift: Uplift | None = None

    def titles(self, date: dt.date, rows: slice = slice(None)) -> np.ndarray:
        """(rows, T) GB of each region and title on a day; 0 where it is not offered."""
        own = self.regional
        volume = own.volume[rows] * own.factor[rows, date.weekday()]
        wanted = self.attention.on(date.toordinal())[self.known.group_of] * own.taste.lean[rows]
        open_ = offered(self.known, len(own.volume), np.datetime64(date), rows)
        if open_ is not None:
            wanted *= open_
        if self.uplift is not None:
            volume = volume * self.uplift.of_regions([date], len(own.volume))[0, rows]
            title, factor = self.uplift.of_titles([date], len(own.volume))
            wanted[:, title] *= factor[0, rows]
        drawn = wanted.sum(axis=1, keepdims=True)
        return np.asarray(volume[:, None] * wanted / np.where(drawn > 0, drawn, 1.0) ** DISPLACED)

    def mix(self, rows: slice = slice(None)) -> np.ndarray:
        """(rows, F) share of each file in its title's demand; the shares of a title add up to 1."""
        own = self.regional
        base = own.profile_mix[rows][:, self.known.profile_of]
        base_sum = by_title(base, self.title_of, self.known.titles)
        prior = MIX_SESSIONS * own.taste.noise_gb * base / np.where(base_sum > 0, base_sum, 1.0)[:, self.title_of]
        weight = own.asked[rows] + prior
        total = by_title(weight, self.title_of, self.known.titles)
        return np.asarray(weight / np.where(total > 0, total, 1.0)[:, self.title_of])


@dataclass(slots=True, kw_only=True, eq=False)
class Pooled:
    """World attention x region volume x regional taste, with conformal bands.

    Parameters
    ----------
    known
        What is known in advance: launch dates, rights, profiles; None: what the log alone tells.
    world
        The world's demand, where the history fitted holds some of its regions only; None: the history is the world.
    horizon
        Days ahead the bands are made for.
    seed
        Of the draws in the bands of rarely watched series.
    """

    known: Known | None = None
    world: World | None = None
    horizon: int = 1
    seed: int = 0
    name: str = "pooled"
    _history: History | None = field(default=None, repr=False)
    _state: PooledState | None = field(default=None, repr=False)
    _bands: Bands | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Measure world, regions and tastes, and learn the bands from the errors on the last days."""
        self._history = require_history(history)
        known = known_or_told(self.known, history)
        n = len(history.dates)
        origins = band_origins(n, self.horizon)
        errors: list[Errors] = []
        for u, state in pooled_states(history, known, self.world, [*sorted(origins), n]):
            if u == n:
                self._state = state
                continue
            errors += errors_of(history, state, u, origins[u])
        self._bands = learn_bands(errors)
        return self

    def refresh(self, history: History) -> Self:
        """Bring world, regions and tastes up to date; the bands stay."""
        self._history = require_history(history)
        ((_, self._state),) = pooled_states(
            history, known_or_told(self.known, history), self.world, [len(history.dates)]
        )
        return self

    def predict(self, date: dt.date) -> Demand:
        """A day's demand, with a band where the log has two days or more.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history, state = require_history(self._history), self._state
        assert state is not None
        return state_demand(history, state, date, self._bands, self.seed)

    def learned(self) -> Learned:
        """The bands; all else is measured anew from each history."""
        return Learned(arrays=bands_as_arrays(self._bands), numbers={"horizon": self.horizon, "seed": self.seed})

    def recall(self, learned: Learned) -> Self:
        """Take up the bands."""
        self._bands = bands_from_arrays(learned.arrays)
        self.horizon, self.seed = int(learned.numbers["horizon"]), int(learned.numbers["seed"])
        return self


def pooled_states(
    history: History, known: Known, world: World | None, origins: Sequence[int]
) -> Iterator[tuple[int, PooledState]]:
    """The state after the first ``u`` days of a history, for each ``u`` of ascending ``origins`` (>= 1).

    What announcements do is learned once, from all days, and taken out of the log before anything else is measured; by batches of regions (``world``) it is not
    looked for, since the world's sums hold no regions to take it out of.
    """
    uplift = fit_uplift(history, known) if world is None else None
    history = history if uplift is None else uplift.taken_from(history)
    title_of = titles_of(history).astype(np.int64)
    world = world_of(history, known) if world is None else world
    total = region_day_gb(history)
    shut = _shut(known, history.dates)
    days = np.array([day.toordinal() for day in history.dates], np.int64)
    R, F = history.regions, history.files
    asked, done = np.zeros(R * F), 0
    cell = history.region.astype(np.int64) * F + history.file
    for u in origins:
        faded = 0.5 ** ((days[u - 1] - days[:u]) / TASTE_HALF_LIFE)
        if done:
            asked *= faded[done - 1]
        new = (history.day >= done) & (history.day < u)
        asked += np.bincount(cell[new], faded[history.day[new]] * history.gb[new], R * F)
        done = u
        by_file = asked.reshape(R, F)
        seen = world.until(u)
        by_titles = by_title(by_file, title_of, known.titles)
        taste = measure_taste(total[:, :u] * faded, seen.share, by_titles, known.group_of, shut.until(u))
        factor, volume = _volume(history.dates[:u], total[:, :u])
        mix = _profile_mix(by_file, known, taste.noise_gb)
        regional = Regional(volume=volume, factor=factor, taste=taste, asked=by_file.copy(), profile_mix=mix)
        yield (
            u,
            PooledState(attention=attention(seen), regional=regional, title_of=title_of, known=known, uplift=uplift),
        )


def _shut(known: Known, dates: Sequence[dt.date]) -> Shut:
    parts = [
        (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(dates)), bool)),
        *closed_days(known, dates),
    ]
    region, title, days = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Shut(region=region, title=title, days=days)


def _profile_mix(asked: np.ndarray, known: Known, noise_gb: float) -> np.ndarray:
    profiles = int(known.profile_of.max(initial=0)) + 1
    by_profile = by_title(asked, known.profile_of, profiles)
    everywhere = by_profile.sum(axis=0)
    everywhere = everywhere / everywhere.sum() if everywhere.sum() > 0 else np.full(profiles, 1 / profiles)
    mix = by_profile + MIX_SESSIONS * noise_gb * everywhere
    return np.asarray(mix / np.maximum(mix.sum(axis=1, keepdims=True), np.finfo(float).tiny))


def state_demand(
    history: History,
    state: PooledState,
    date: dt.date,
    bands: Bands | None,
    seed: int,
    titles: np.ndarray | None = None,
) -> Demand:
    """A day's demand, with bands where there are any; of (R, T) ``titles``, or else of the state's own forecast.

    What nobody has watched yet has a band of its own: that of the launch, its slips and its chance.
    """
    region, file, gb = file_entries(state, date, titles)
    premiere = None
    if bands is not None:
        premiere = _premiere_bands(history, state, file, gb, date, np.random.default_rng([seed, date.toordinal(), 1]))
    return banded_demand(history, date, region, file, gb, young(state, file, date), bands, seed, premiere)


def _premiere_bands(
    history: History, state: PooledState, file: np.ndarray, gb: np.ndarray, date: dt.date, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N,) of the entries of titles that nobody has watched, and the two ends of their bands."""
    premieres, taste = state.attention.premieres, state.regional.taste
    place = np.full(len(state.attention.level), -1)
    place[premieres.title] = np.arange(len(premieres.title))
    of = place[state.known.group_of[state.title_of[file]]]
    rows = np.flatnonzero(of >= 0)
    low, high = np.zeros((2, len(rows)))
    if not len(rows):
        return rows, low, high
    sessions = session_sizes(history, state.known.profile_of, taste.noise_gb)
    worth = sessions.gb[state.known.profile_of[file[rows]]]
    for n in np.unique(of[rows]).tolist():
        at = of[rows] == n
        chance, out = premieres.outcomes(n, date.toordinal(), state.attention.curve)
        low[at], high[at] = launch_band(
            gb[rows[at]], chance, out, float(premieres.belief.log_variance[n]), taste.spread, worth[at], sessions.variation, rng,
            upper=premieres.belief.upper,
        )  # fmt: skip
    return rows, low, high


def file_entries(
    state: PooledState, date: dt.date, titles: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Region, file and GB of every entry worth naming on a day, region by region; of (R, T) ``titles``, or else of the state's own forecast."""
    regions, files = state.regional.asked.shape
    open_ = None if titles is None else offered(state.known, regions, np.datetime64(date))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = max(1, CELLS // max(files, 1))
    for start in range(0, regions, step):
        rows = slice(start, min(start + step, regions))
        gb = state.titles(date, rows) if titles is None else titles[rows] * (1 if open_ is None else open_[rows])
        parts.append(split_titles(state, gb, rows))
    region, file, gb = (np.concatenate(column) for column in zip(*parts, strict=True))
    return region, file, gb


def split_titles(state: PooledState, titles: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Region, file and GB of (rows, T) title demands, by each region's encode mix."""
    gb = titles[:, state.title_of] * state.mix(rows)
    region, file = np.nonzero(gb > LEAST_SHARE * np.maximum(titles.sum(axis=1, keepdims=True), np.finfo(float).tiny))
    return region + (rows.start or 0), file, gb[region, file]


def young(state: PooledState, file: np.ndarray, date: dt.date) -> np.ndarray:
    """(N,) bool: whether a file's title was launched in the days before."""
    launch = state.attention.launch[state.known.group_of[state.title_of[file]]]
    return np.asarray((launch > NO_LAUNCH) & (date.toordinal() - launch < YOUNG_DAYS))


def errors_of(
    history: History, state: PooledState, origin: int, lead: int, titles: np.ndarray | None = None
) -> Iterator[Errors]:
    """How far the forecast made after ``origin`` days was off ``lead`` days on; nothing where the log lacks that day."""
    date = history.dates[origin - 1] + dt.timedelta(days=lead)
    if date not in history.dates:
        return
    on_day = history.day == history.dates.index(date)
    cell = history.region[on_day].astype(np.int64) * history.files + history.file[on_day]
    came = np.bincount(cell, history.gb[on_day], history.regions * history.files)
    region, file, gb = file_entries(state, date, titles)
    yield Errors(lead=lead, forecast=gb, came=came[region * history.files + file], young=young(state, file, date))


def _volume(dates: Sequence[dt.date], total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, 7) weekday factors, and (R,) the smoothed volume without them."""
    factor = weekday_factors(dates, total)
    days = np.array([day.toordinal() for day in dates], np.int64)
    age = days[-1] - days
    weight = np.where(age < VOLUME_DAYS, 0.5 ** (age / VOLUME_HALF_LIFE), 0.0)
    plain = total / factor[:, weekdays(dates)]
    return factor, plain @ weight / weight.sum()
