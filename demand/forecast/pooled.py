"""Region x title demand as what the world watches, times the size of the region, times its taste: nothing but NumPy, and the default.

A region's own log of a title is too thin to smooth: most titles are asked for a few times a day in a region. But a title rises and fades
everywhere at once (``world``), regions swell and shrink as a whole, and what sets a region apart lasts. So

    gb[r, t] = volume[r] * attention[t] * taste[r, t]        taste[r, t] = (a + asked[r, t]) / (a + expected[r, t])

where ``asked`` is the GB of the last weeks and ``expected`` what they would have been at a taste of 1. That is the posterior mean of a Gamma
prior of mean 1 and Poisson-like demand; ``a`` is the variance of a session's worth of demand over the variance of tastes, both measured from
all pairs at once. The same rule is applied three times: to the groups of titles that are watched as a whole (a season launched in one day), to
the part of each title in its group, and to what sets a region's part apart. Files share a title's demand by the region's encode mix, shrunk alike.

References
----------
Bühlmann and Gisler 2005, "A Course in Credibility Theory", chapter 4.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from demand.demand import Demand
from demand.forecast.bands import (
    YOUNG_DAYS,
    Bands,
    Errors,
    band_origins,
    bands_as_arrays,
    bands_from_arrays,
    learn_bands,
)
from demand.forecast.base import Learned, day_ages, forecast_demand, region_day_gb, require_history, weekdays
from demand.forecast.known import Known, known_from, offered, titles_of
from demand.forecast.smoothing import weekday_factors
from demand.forecast.world import NO_LAUNCH, Attention, World, attention, world_of
from demand.playback import History

VOLUME_HALF_LIFE, VOLUME_DAYS = 3.0, 14
"""Smoothing of a region's total."""
TASTE_HALF_LIFE = 20.0
"""Age at which a day counts half in a region's taste, which changes slowly."""
MIX_SESSIONS = 20.0
"""Sessions' worth of demand by which the encode mix of a title is drawn to that of its region."""
RAKES = 3
"""Rounds in which tastes and what a region's titles draw together are brought into line."""
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
    lean
        (R, T) the title's part in its group's attention, times the region's taste.
    asked
        (R, F) GB of the weighted days.
    noise_gb
        A session's worth.
    profile_mix
        (R, P) share of each encode profile in a region.
    """

    volume: np.ndarray
    factor: np.ndarray
    lean: np.ndarray
    asked: np.ndarray
    noise_gb: float
    profile_mix: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledState:
    """A fitted moment: everything a prediction needs but the calendar of what is offered."""

    attention: Attention
    regional: Regional
    title_of: np.ndarray
    profile_of: np.ndarray
    group_of: np.ndarray

    def titles(self, date: dt.date, rows: slice = slice(None)) -> np.ndarray:
        """(rows, T) GB of each region and title on a day."""
        own = self.regional
        volume = own.volume[rows] * own.factor[rows, date.weekday()]
        wanted = self.attention.on(date.toordinal())[self.group_of] * own.lean[rows]
        drawn = wanted.sum(axis=1, keepdims=True)
        return np.asarray(volume[:, None] * wanted / np.where(drawn > 0, drawn, 1.0) ** DISPLACED)

    def mix(self, rows: slice = slice(None)) -> np.ndarray:
        """(rows, F) share of each file in its title's demand; the shares of a title add up to 1."""
        own = self.regional
        base = own.profile_mix[rows][:, self.profile_of]
        base_sum = by_title(base, self.title_of, own.lean.shape[1])
        prior = MIX_SESSIONS * own.noise_gb * base / np.where(base_sum > 0, base_sum, 1.0)[:, self.title_of]
        weight = own.asked[rows] + prior
        total = by_title(weight, self.title_of, own.lean.shape[1])
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
        known = self._facts(history)
        n = len(history.dates)
        origins = band_origins(n, self.horizon)
        errors: list[Errors] = []
        for u, state in pooled_states(history, known, self.world, [*sorted(origins), n]):
            if u == n:
                self._state = state
                continue
            errors += _errors(history, known, state, u, origins[u])
        self._bands = learn_bands(errors)
        return self

    def refresh(self, history: History) -> Self:
        """Bring world, regions and tastes up to date; the bands stay."""
        self._history = require_history(history)
        ((_, self._state),) = pooled_states(history, self._facts(history), self.world, [len(history.dates)])
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
        lead = int(day_ages(history, date).min())
        region, file, gb = file_entries(state, self._facts(history), date)
        if self._bands is None:
            return forecast_demand(history, date, region, file, gb)
        rng = np.random.default_rng([self.seed, date.toordinal()])
        low, high = self._bands.around(gb, young(state, file, date), lead, rng)
        return forecast_demand(history, date, region, file, gb, low, high)

    def learned(self) -> Learned:
        """The bands; all else is measured anew from each history."""
        return Learned(arrays=bands_as_arrays(self._bands), numbers={"horizon": self.horizon, "seed": self.seed})

    def recall(self, learned: Learned) -> Self:
        """Take up the bands."""
        self._bands = bands_from_arrays(learned.arrays)
        self.horizon, self.seed = int(learned.numbers["horizon"]), int(learned.numbers["seed"])
        return self

    def _facts(self, history: History) -> Known:
        return known_from(history) if self.known is None else self.known


def pooled_states(
    history: History, known: Known, world: World | None, origins: Sequence[int]
) -> Iterator[tuple[int, PooledState]]:
    """The state after the first ``u`` days of a history, for each ``u`` of ascending ``origins`` (>= 1)."""
    title_of = titles_of(history).astype(np.int64)
    world = world_of(history, known) if world is None else world
    total = region_day_gb(history)
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
        yield u, _state(history.dates[:u], total[:, :u], faded, asked.reshape(R, F), world.until(u), known, title_of)


def _state(
    dates: tuple[dt.date, ...], total: np.ndarray, faded: np.ndarray, asked: np.ndarray, world: World, known: Known,
    title_of: np.ndarray,
) -> PooledState:  # fmt: skip
    group = known.group_of
    share = world.gb / np.maximum(world.gb.sum(axis=0), np.finfo(float).tiny)
    by_titles = by_title(asked, title_of, known.titles)
    lean, noise = _lean(total * faded, share, by_titles, group)
    profiles = int(known.profile_of.max(initial=0)) + 1
    by_profile = by_title(asked, known.profile_of, profiles)
    everywhere = by_profile.sum(axis=0)
    everywhere = everywhere / everywhere.sum() if everywhere.sum() > 0 else np.full(profiles, 1 / profiles)
    mix = by_profile + MIX_SESSIONS * noise * everywhere
    factor, volume = _volume(dates, total)
    regional = Regional(
        volume=volume,
        factor=factor,
        lean=lean,
        asked=asked.copy(),
        noise_gb=noise,
        profile_mix=mix / np.maximum(mix.sum(axis=1, keepdims=True), np.finfo(float).tiny),
    )
    return PooledState(
        attention=attention(world), regional=regional, title_of=title_of, profile_of=known.profile_of, group_of=group
    )


def _lean(total: np.ndarray, share: np.ndarray, asked: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, float]:
    """(R, T) a title's part in its group times the taste of the region, and a session's worth of GB.

    Parameters
    ----------
    total
        (R, D) GB of each region on each day, weighted.
    share
        (G, D) share of each group on each day.
    asked
        (R, T) GB of each title.
    group
        (T,) the group of each title.
    """
    groups = len(share)
    of_group = by_title(asked, group, groups)
    taste = np.ones_like(of_group)
    for _ in range(RAKES):  # a region's titles share its volume: what it gives to those of its taste, the others lose
        drawn = taste @ share
        expected = (total / np.where(drawn > 0, drawn, 1.0)) @ share.T
        noise, spread = noise_and_spread(expected, of_group)
        taste = (noise / spread + of_group) / (noise / spread + expected)
    size = np.bincount(group, minlength=groups)
    together = np.flatnonzero(size[group] > 1)
    lean = taste[:, group]
    if not len(together):
        return lean, noise
    of = group[together]
    whole, own = of_group.sum(axis=0)[of], asked[:, together].sum(axis=0)
    even = 1 / size[of]
    n, s = noise_and_spread(whole * even, own)
    part = (n / s * even + own) / (n / s + whole)
    part /= np.bincount(of, part, groups)[of]
    usual = expected[:, of] * taste[:, of] * part
    n, s = noise_and_spread(usual, asked[:, together])
    lean[:, together] *= part * (n / s + asked[:, together]) / (n / s + usual)
    return lean, noise


def by_title(values: np.ndarray, title_of: np.ndarray, titles: int) -> np.ndarray:
    """(R, T) sums of (R, F) values over the files of each title (or of any other grouping of the columns)."""
    files = len(title_of)
    belongs = csr_array((np.ones(files), (np.arange(files), title_of)), shape=(files, titles))
    return np.asarray(values @ belongs)


def file_entries(
    state: PooledState, known: Known, date: dt.date, titles: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Region, file and GB of every entry worth naming on a day, region by region; of (R, T) ``titles``, or else of the state's own forecast."""
    regions, files = state.regional.asked.shape
    open_ = offered(known, regions, np.datetime64(date))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = max(1, CELLS // max(files, 1))
    for start in range(0, regions, step):
        rows = slice(start, min(start + step, regions))
        gb = state.titles(date, rows) if titles is None else titles[rows]
        if open_ is not None:
            gb = gb * open_[rows]
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
    launch = state.attention.launch[state.group_of[state.title_of[file]]]
    return np.asarray((launch > NO_LAUNCH) & (date.toordinal() - launch < YOUNG_DAYS))


def _errors(history: History, known: Known, state: PooledState, origin: int, lead: int) -> Iterator[Errors]:
    date = history.dates[origin - 1] + dt.timedelta(days=lead)
    if date not in history.dates:
        return
    on_day = history.day == history.dates.index(date)
    came = np.bincount(
        history.region[on_day].astype(np.int64) * history.files + history.file[on_day],
        history.gb[on_day],
        history.regions * history.files,
    )
    region, file, gb = file_entries(state, known, date)
    yield Errors(lead=lead, forecast=gb, came=came[region * history.files + file], young=young(state, file, date))


def _volume(dates: Sequence[dt.date], total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, 7) weekday factors, and (R,) the smoothed volume without them."""
    factor = weekday_factors(dates, total)
    days = np.array([day.toordinal() for day in dates], np.int64)
    age = days[-1] - days
    weight = np.where(age < VOLUME_DAYS, 0.5 ** (age / VOLUME_HALF_LIFE), 0.0)
    plain = total / factor[:, weekdays(dates)]
    return factor, plain @ weight / weight.sum()


def noise_and_spread(expected: np.ndarray, asked: np.ndarray) -> tuple[float, float]:
    """GB of noise per GB expected, and the variance of tastes, from ``variance(asked) = noise * expected + spread * expected ** 2``.

    Weighted least squares over the pairs of region and title, the weights being those of the last answer: five rounds from a rough start.
    """
    m, y = expected.ravel(), asked.ravel()
    some = np.flatnonzero(m > 0)
    some = some[:: max(1, len(some) // 200_000)]
    if not len(some):
        return 1.0, 1.0
    m, squares = m[some], (y[some] - m[some]) ** 2
    least = 1e-9 * float(m.mean())
    noise, spread = max(float(squares.sum() / m.sum()), least), 1.0
    for _ in range(5):
        weight = (noise * m + spread * m**2) ** -2.0
        a11, a12, a22 = (float((weight * m**k).sum()) for k in (2, 3, 4))
        b1, b2 = float((weight * squares * m).sum()), float((weight * squares * m**2).sum())
        determinant = a11 * a22 - a12 * a12
        if not determinant > 1e-12 * a11 * a22:
            break
        noise = max((b1 * a22 - b2 * a12) / determinant, least)
        spread = max((b2 * a11 - b1 * a12) / determinant, 1e-4)
    return noise, spread
